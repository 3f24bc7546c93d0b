"""Gaussian: a normal density, a surrogate of spiking networks."""

from sugar_search.symbolic.family import Family, Parameter

FAMILY = Family(
    title="Gaussian",
    derivative="normal_pdf(x/sigma)/sigma",
    activation="normal_cdf(x/sigma)",
    parameters=(Parameter("sigma", "σ", 0.5, 0.01, 100.0, "standard deviation"),),
    at_zero="1/(sigma*sqrt(2*pi))",
    source="Yin et al. 2021, arXiv 2103.12593",
)
