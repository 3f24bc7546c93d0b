"""Contract of every surrogate family: a new file in families/ is tested as soon as it exists."""

import mpmath
import numpy as np
import pytest
import sympy

from sugar_search import catalog
from sugar_search.errors import FileError, InputError, UnknownNameError
from sugar_search.symbolic import family as families
from sugar_search.symbolic.functions import X, differentiate
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.primitives import number
from sugar_search.symbolic.surrogate import Surrogate, surrogate
from sugar_search.symbolic.tape import Tape, clamp_bound

NAMES = catalog.names("surrogates")
POINTS = [-200.0, -37.5, -9.1, -3.765, -3.0001, -2.3, -1.0, -0.577, -0.3, -1e-3, -1e-9]
POINTS += [1e-9, 1e-3, 0.25, 0.9, 1.4915, 2.2, 2.9999, 3.3, 7.7, 16.3, 40.0, 150.0]


def _variants(name):
    """The defaults, and each parameter near the ends of a moderate part of its range."""
    family = families.load(name)
    yield surrogate(name)
    for p in family.parameters:
        for value in (max(p.low, p.default / 7), min(p.high, p.default * 3.3)):
            yield surrogate(name, **{p.name: value})


def test_the_families_of_the_paper_exist():
    paper = {"relu", "leakyrelu", "elu", "selu", "gelu", "silu", "mish", "bsilu", "nelu"}
    assert paper | {"celu", "softplus", "hardswish", "straight_through", "atan", "fast_sigmoid"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_derivative_is_the_derivative_of_the_activation(name):
    for s in _variants(name):
        assert s.activation is not None
        by_rule = Tape.of(differentiate(s.activation))
        for x in POINTS:
            assert abs(by_rule.mpmath(x) - s.tape.mpmath(x)) < 1e-45, (s.title, x)
    # Against a difference quotient too, which shares no rule with the symbolic derivative.
    for x in (-2.2, -0.7, 0.6, 1.9):
        with mpmath.workdps(60):
            h = mpmath.mpf(10) ** -20
            quotient = (s.activation_tape.mpmath(x + h, 60) - s.activation_tape.mpmath(x - h, 60)) / (2 * h)
        assert abs(quotient - s.tape.mpmath(x)) < 1e-18, (s.title, x)


@pytest.mark.parametrize("name", NAMES)
def test_float_tapes_agree_with_50_digits(name):
    for s in _variants(name):
        exact = np.array([float(s.tape.mpmath(x)) for x in POINTS])
        scale = max(1e-300, np.abs(exact).max())
        assert np.abs(s.tape.numpy(np.array(POINTS)) - exact).max() <= 1e-15 * 40 * scale, s.title
        x32 = np.array(POINTS, dtype=np.float32)
        exact32 = np.array([float(s.tape.mpmath(float(x))) for x in x32])
        single = s.tape.numpy(x32)
        assert single.dtype == np.float32
        assert np.abs(single - exact32).max() <= 2e-6 * scale, s.title


@pytest.mark.parametrize("name", NAMES)
def test_value_at_zero_is_the_stated_one(name):
    family = families.load(name)
    for s in _variants(name):
        values = {k: families.exact(v) for k, v in s.parameters}
        stated = float(number(parse(family.at_zero, values=values)))
        assert s.value_at_zero == pytest.approx(stated, abs=1e-15)
        assert s.tape.numpy(np.array([0.0, -0.0])) == pytest.approx(stated, abs=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_round_trips(name):
    for s in _variants(name):
        assert surrogate(s.text) == s
        assert surrogate(s.title).to_dict() == s.to_dict()
        again = Surrogate.from_dict(s.to_dict())
        assert (again, again.title, again.activation_text) == (s, s.title, s.activation_text)
        restricted = s.restricted("negative")
        assert Surrogate.from_dict(restricted.to_dict()) == restricted == surrogate(restricted.text)


@pytest.mark.parametrize("name", NAMES)
def test_ranges_defaults_and_documents(name):
    family = families.load(name)
    assert catalog.summary("surrogates", name)
    assert family.source
    for p in family.parameters:
        assert p.low <= p.default <= p.high
        assert p.doc and p.symbol
        for bad in (np.nextafter(p.low, -np.inf), np.nextafter(p.high, np.inf), float("nan"), float("inf"), "a", None):
            with pytest.raises(InputError, match=p.name):
                surrogate(name, **{p.name: bad})
        for end in (p.low, p.high):
            try:
                surrogate(name, **{p.name: end})
            except InputError as error:
                pytest.fail(f"{p.name}={end} is in range but refused: {error}")
    with pytest.raises(InputError, match="must be known"):
        surrogate(name, nothing=1.0)


@pytest.mark.parametrize("name", NAMES)
def test_no_input_gives_nan_within_the_clamp_bound(name):
    for s in _variants(name):
        bound = clamp_bound(s.tape)
        for kind in (np.float32, np.float64):
            everything = np.array([-np.inf, -3e38, -1e30, -1e-40, -0.0, 0.0, 1e-45, 1e19, 3e38, np.inf], dtype=kind)
            values = s.tape.numpy(np.clip(everything, -bound, bound))
            assert np.isfinite(values).all(), s.title


# The paper's formulas, written here from facts.md section 7 without the package.
def _sigma(x):
    return 1 / (1 + mpmath.exp(-x))


def _one_sided(negative):
    return lambda x: mpmath.mpf(1) if x > 0 else negative(x)


_M = mpmath.mpf
with mpmath.workdps(50):
    _L, _A = _M("1.0507009873554805"), _M("1.6732632423543772")
REFERENCE = {
    "relu": _one_sided(lambda x: _M(0)),
    "elu": _one_sided(mpmath.exp),
    "selu": lambda x: _L if x > 0 else _L * _A * mpmath.exp(x),
    "leakyrelu": _one_sided(lambda x: _M("0.01")),
    "gelu": lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x),
    "silu": lambda x: _sigma(x) * (1 + x * (1 - _sigma(x))),
    "mish": lambda x: mpmath.diff(lambda u: u * mpmath.tanh(mpmath.log(1 + mpmath.exp(u))), x),
    "bsilu": lambda x: _sigma(x) + (x + _M("1.67")) * _sigma(x) * (1 - _sigma(x)),
    "nelu": _one_sided(lambda x: 2 * _M("0.01") * x / (1 + x * x) ** 2),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_paper_families_equal_independent_formulas(name):
    s = surrogate(name)
    for x in POINTS[3:-3]:
        with mpmath.workdps(50):
            expected = REFERENCE[name](mpmath.mpf(x))
        tolerance = 1e-20 if name == "mish" else 1e-45  # the difference quotient is the less exact side
        assert abs(s.tape.mpmath(x) - expected) < tolerance, x


@pytest.mark.parametrize(
    ("name", "values", "at", "extreme"),
    [
        ("gelu", {}, -1.414, -0.1289),
        ("silu", {}, -2.399, -0.0998),
        ("mish", {}, -2.256, -0.1125),
        ("bsilu", {}, -3.765, -0.0237),
        ("bsilu", {}, 1.4915, 1.2904),
        ("nelu", {"alpha": 1.0}, -0.577, -0.6495),
    ],
)
def test_extremes_printed_in_the_paper(name, values, at, extreme):
    tape = surrogate(name, **values).tape
    x = np.linspace(at - 0.5, at + 0.5, 20_001)
    g = tape.numpy(x)
    index = g.argmax() if extreme > 0 else g.argmin()
    assert g[index] == pytest.approx(extreme, abs=6e-5)
    assert x[index] == pytest.approx(at, abs=1.1e-3)


def test_bsilu_at_zero():
    assert surrogate("bsilu").value_at_zero == 0.9175


def test_names_aliases_and_near_names():
    assert surrogate("swish") == surrogate("SiLU") == surrogate("silu", beta=1.0)
    assert surrogate("STE").name == "straight_through"
    assert surrogate("B-SiLU").name == surrogate(" b_silu ").name == "bsilu"
    assert surrogate("nelu(alpha=0.05)").title == "NeLU(α=0.05)"
    with pytest.raises(UnknownNameError, match="did you mean bsilu"):
        surrogate("bsilux")
    with pytest.raises(UnknownNameError):
        families.load("nothing at all")


def test_two_families_must_not_share_an_alias(monkeypatch):
    family = families.load("silu")
    twin = families.Family("Twin", "1", None, (), "1", "nowhere", aliases=("STE",))
    real = catalog.load_module
    fake = type("Module", (), {"FAMILY": twin})
    monkeypatch.setattr(catalog, "load_module", lambda kind, name: fake if name == "silu" else real(kind, name))
    families.aliases.cache_clear()
    try:
        with pytest.raises(FileError, match=r"ste in .*silu"):
            families.aliases()
    finally:
        monkeypatch.undo()
        families.aliases.cache_clear()
    assert families.load("silu") is family


def test_restricted_keeps_gradient_one_and_a_continuous_activation():
    s = surrogate("bsilu", region="negative")
    assert [float(s.tape.mpmath(x)) for x in (1e-9, 5.0)] == [1.0, 1.0]
    assert s.value_at_zero == 0.9175
    assert float(s.tape.mpmath(-1)) == float(surrogate("bsilu").tape.mpmath(-1))
    assert differentiate(s.activation).subs(X, sympy.Rational(1, 2)) == 1
    gap = s.activation_tape.mpmath(1e-30) - s.activation_tape.mpmath(-1e-30)
    assert abs(gap) < 1e-29
