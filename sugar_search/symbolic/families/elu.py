"""ELU: exponential for x <= 0."""

from sugar_search.symbolic.family import Family, Parameter

FAMILY = Family(
    title="ELU",
    derivative="where(x > 0, 1, alpha*exp(x))",
    activation="where(x > 0, x, alpha*(exp(x) - 1))",
    parameters=(Parameter("alpha", "α", 1.0, 0.0, 10.0, "gradient at x = 0"),),
    at_zero="alpha",
    source="Clevert et al. 2016, arXiv 1511.07289; alpha at x = 0 as in PyTorch",
)
