"""SiLU (Swish): x times the logistic function."""

from sugar_search.symbolic.family import Family, Parameter

FAMILY = Family(
    title="SiLU",
    derivative="sigmoid(beta*x)*(1 + beta*x*(1 - sigmoid(beta*x)))",
    activation="x*sigmoid(beta*x)",
    parameters=(Parameter("beta", "β", 1.0, 0.01, 100.0, "steepness"),),
    at_zero="0.5",
    source="Elfwing et al. 2018, arXiv 1702.03118; Ramachandran et al. 2017, arXiv 1710.05941",
    aliases=("swish",),
)
