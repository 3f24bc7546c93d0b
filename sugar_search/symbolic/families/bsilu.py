"""B-SiLU: bounded SiLU, the paper's surrogate for ResNet and VGG."""

from sugar_search.symbolic.family import Family, Parameter

FAMILY = Family(
    title="B-SiLU",
    derivative="sigmoid(x) + (x + alpha)*sigmoid(x)*(1 - sigmoid(x))",
    activation="(x + alpha)*sigmoid(x) - alpha/2",
    parameters=(Parameter("alpha", "α", 1.67, 0.0, 100.0, "shift; 0 gives SiLU"),),
    at_zero="0.5 + alpha/4",
    source="Horuz et al. 2025, The Resurrection of the ReLU, arXiv 2505.22074",
)
