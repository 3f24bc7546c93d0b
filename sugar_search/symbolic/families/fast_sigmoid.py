"""Fast sigmoid: the SuperSpike surrogate of spiking networks."""

from sugar_search.symbolic.family import Family, Parameter

FAMILY = Family(
    title="FastSigmoid",
    derivative="1/(1 + slope*abs(x))**2",
    activation="x/(1 + slope*abs(x))",
    parameters=(Parameter("slope", "k", 25.0, 0.01, 1000.0, "steepness"),),
    at_zero="1",
    source="Zenke and Ganguli 2018, arXiv 1705.11146; snnTorch's default slope",
    aliases=("superspike",),
)
