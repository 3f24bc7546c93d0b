"""Surrogate families, one file each; see `sugar_search.symbolic.family`."""
