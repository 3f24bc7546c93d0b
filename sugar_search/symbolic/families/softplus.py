"""Softplus: the logistic function as gradient."""

from sugar_search.symbolic.family import Family, Parameter

FAMILY = Family(
    title="Softplus",
    derivative="sigmoid(beta*x)",
    activation="softplus(beta*x)/beta",
    parameters=(Parameter("beta", "β", 1.0, 0.01, 100.0, "steepness"),),
    at_zero="0.5",
    source="Dugas et al. 2001; Glorot et al. 2011",
    aliases=("sigmoid", "logistic"),
)
