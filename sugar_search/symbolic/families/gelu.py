"""GELU: Gaussian error linear unit, exact form."""

from sugar_search.symbolic.family import Family

FAMILY = Family(
    title="GELU",
    derivative="normal_cdf(x) + x*normal_pdf(x)",
    activation="x*normal_cdf(x)",
    parameters=(),
    at_zero="0.5",
    source="Hendrycks and Gimpel 2016, arXiv 1606.08415",
)
