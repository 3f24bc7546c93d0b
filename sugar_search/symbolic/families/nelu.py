"""NeLU: a small dip for x <= 0, the paper's surrogate for Swin and Conv2NeXt."""

from sugar_search.symbolic.family import Family, Parameter

FAMILY = Family(
    title="NeLU",
    derivative="where(x > 0, 1, 2*alpha*x/(1 + x**2)**2)",
    activation="where(x > 0, x, alpha*x**2/(1 + x**2))",
    parameters=(Parameter("alpha", "α", 0.01, 0.0, 10.0, "size of the dip; its minimum is -0.6495 alpha at -0.577"),),
    at_zero="0",
    source="Horuz et al. 2025, The Resurrection of the ReLU, arXiv 2505.22074",
)
