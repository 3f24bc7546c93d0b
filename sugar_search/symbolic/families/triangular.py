"""Triangular: a tent of height 1, a surrogate of spiking networks."""

from sugar_search.symbolic.family import Family, Parameter

FAMILY = Family(
    title="Triangular",
    derivative="where(abs(x) < width, 1 - abs(x)/width, 0)",
    activation="where(abs(x) < width, x - x*abs(x)/(2*width), sign(x)*width/2)",
    parameters=(Parameter("width", "w", 1.0, 0.01, 100.0, "half-width of the tent"),),
    at_zero="1",
    source="Esser et al. 2016, arXiv 1603.08270",
    aliases=("triangle", "tent"),
)
