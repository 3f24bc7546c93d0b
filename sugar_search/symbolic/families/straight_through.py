"""Straight-through: the gradient passes unchanged."""

from sugar_search.symbolic.family import Family

FAMILY = Family(
    title="Straight-through",
    derivative="1",
    activation="x",
    parameters=(),
    at_zero="1",
    source="Bengio et al. 2013, arXiv 1308.3432",
    aliases=("ste", "identity"),
)
