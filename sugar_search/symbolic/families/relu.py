"""ReLU: the plain gradient, 1 for x > 0 and 0 elsewhere."""

from sugar_search.symbolic.family import Family

FAMILY = Family(
    title="ReLU",
    derivative="where(x > 0, 1, 0)",
    activation="where(x > 0, x, 0)",
    parameters=(),
    at_zero="0",
    source="Nair and Hinton 2010; gradient 0 at x = 0 as in PyTorch",
)
