"""Arctan: the default surrogate of spiking networks."""

from sugar_search.symbolic.family import Family, Parameter

FAMILY = Family(
    title="Arctan",
    derivative="alpha/2/(1 + (pi/2*alpha*x)**2)",
    activation="atan(pi/2*alpha*x)/pi",
    parameters=(Parameter("alpha", "α", 2.0, 0.01, 100.0, "steepness; the height is alpha/2"),),
    at_zero="alpha/2",
    source="Fang et al. 2021, arXiv 2007.05785; SpikingJelly and snnTorch",
)
