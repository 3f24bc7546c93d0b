"""Random formula text for property tests."""

from hypothesis import strategies as st

# The same examples on every machine, and no files left in the checkout.
REPEATABLE = {"deadline": None, "derandomize": True, "database": None}

NUMBERS = st.one_of(
    st.integers(0, 20).map(str),
    st.floats(1e-3, 50, allow_nan=False).map(lambda v: f"{v:.6g}"),
    st.sampled_from(["pi", "e", "0.1", "1.67", "1e-5", "1/3", "2/7"]),
)
UNARY = ("exp", "sigmoid", "tanh", "softplus", "erf", "normal_cdf", "normal_pdf", "atan", "abs", "sign", "square")


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]}){t[1]}({t[2]})"),
        two.map(lambda t: f"({t[0]})/(1 + square({t[1]}))"),
        inner.map(lambda t: f"-({t})"),
        st.tuples(st.sampled_from(UNARY), inner).map(lambda t: f"{t[0]}({t[1]})"),
        inner.map(lambda t: f"sqrt(1 + ({t})**2)"),
        inner.map(lambda t: f"log1p(square({t}))"),
        st.tuples(inner, st.sampled_from(["2", "3", "-1", "-2", "0.5", "-0.5", "1/3", "1.7"])).map(
            lambda t: f"(1 + abs({t[0]}))**({t[1]})"
        ),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        st.tuples(inner, st.sampled_from([">", ">=", "<", "<="]), inner, inner, inner).map(
            lambda t: f"where({t[0]} {t[1]} {t[2]}, {t[3]}, {t[4]})"
        ),
    )


FORMULAS = st.recursive(st.one_of(st.just("x"), NUMBERS), _grow, max_leaves=8)
