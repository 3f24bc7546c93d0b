"""Hard-swish: piecewise quadratic SiLU."""

from sugar_search.symbolic.family import Family

FAMILY = Family(
    title="Hard-swish",
    derivative="where(x < 3, where(x > -3, x/3 + 0.5, 0), 1)",
    activation="where(x < 3, where(x > -3, x*(x + 3)/6, 0), x)",
    parameters=(),
    at_zero="0.5",
    source="Howard et al. 2019, arXiv 1905.02244; at -3 and 3 the outer pieces hold, as in PyTorch",
)
