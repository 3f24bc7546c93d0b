"""Its presence puts this folder on the path: `formulas` serves the folders below too."""
