"""Mish: x times tanh of softplus."""

from sugar_search.symbolic.family import Family

FAMILY = Family(
    title="Mish",
    derivative="tanh(softplus(x)) + x*sigmoid(x)*(1 - tanh(softplus(x))**2)",
    activation="x*tanh(softplus(x))",
    parameters=(),
    at_zero="0.6",
    source="Misra 2019, arXiv 1908.08681; tanh(log 2) = 3/5 at x = 0",
)
