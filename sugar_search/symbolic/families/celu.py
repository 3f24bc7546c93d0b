"""CELU: continuously differentiable ELU."""

from sugar_search.symbolic.family import Family, Parameter

FAMILY = Family(
    title="CELU",
    derivative="where(x > 0, 1, exp(x/alpha))",
    activation="where(x > 0, x, alpha*(exp(x/alpha) - 1))",
    parameters=(Parameter("alpha", "α", 1.0, 0.01, 100.0, "width of the exponential"),),
    at_zero="1",
    source="Barron 2017, arXiv 1704.07483",
)
