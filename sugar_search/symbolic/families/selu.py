"""SELU: scaled ELU, self-normalising constants."""

from sugar_search.symbolic.family import Family

FAMILY = Family(
    title="SELU",
    derivative="where(x > 0, 1.0507009873554805, 1.0507009873554805*1.6732632423543772*exp(x))",
    activation="1.0507009873554805*where(x > 0, x, 1.6732632423543772*(exp(x) - 1))",
    parameters=(),
    at_zero="1.0507009873554805*1.6732632423543772",
    source="Klambauer et al. 2017, arXiv 1706.02515; left derivative at x = 0 as in PyTorch",
)
