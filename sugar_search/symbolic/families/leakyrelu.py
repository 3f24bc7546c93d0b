"""LeakyReLU: a constant slope for x <= 0."""

from sugar_search.symbolic.family import Family, Parameter

FAMILY = Family(
    title="LeakyReLU",
    derivative="where(x > 0, 1, slope)",
    activation="where(x > 0, x, slope*x)",
    parameters=(Parameter("slope", "s", 0.01, 0.0, 1.0, "gradient for x <= 0"),),
    at_zero="slope",
    source="Maas et al. 2013; slope at x = 0 as in PyTorch",
    aliases=("lrelu",),
)
