"""Steps: sharing, stable forms, float against 50 digits, the clamp bound, torch source."""

import time

import mpmath
import numpy as np
import pytest
import sympy
import torch
from formulas import FORMULAS, REPEATABLE
from hypothesis import given, settings

from sugar_search import catalog
from sugar_search.activation.exact import compile_tape
from sugar_search.errors import FormulaError
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.points import values_at
from sugar_search.symbolic.primitives import X as X_SYMBOL
from sugar_search.symbolic.source import torch_source
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.symbolic.tape import MAX_CLAMP, Tape, clamp_bound

X = np.linspace(-6, 6, 25)


def _tape(text):
    return Tape.of(parse(text))


def _run(tape, x):
    """Executes the torch source."""
    lines, result = torch_source(tape)
    body = "\n".join(f"    {line}" for line in [*lines, f"return {result}"])
    scope = {"torch": torch}
    exec(f"def f(x):\n{body}", scope)
    return scope["f"](x)


@settings(max_examples=100, **REPEATABLE)
@given(FORMULAS)
def test_numpy_torch_source_and_50_digits_agree(text):
    try:
        tape = _tape(text)
    except FormulaError:
        return
    exact = np.array([float(tape.mpmath(x, 20)) for x in X])
    sizes = np.array([_largest_register(tape, x) for x in X])
    # Rounding grows with the largest intermediate value and, in powers and exponentials, with its logarithm.
    fine = np.isfinite(exact) & (sizes < 1e30)
    tolerance = 1e-11 * (1 + sizes)
    jumps = "sign" in text or "where" in text or "min" in text or "max" in text
    for values in (tape.numpy(X), _run(tape, torch.tensor(X, dtype=torch.float64)).numpy()):
        assert values.dtype == np.float64
        assert values.shape == X.shape
        bad = fine & ~(np.abs(values - exact) <= tolerance)
        assert not bad.any() or jumps, (X[bad], values[bad], exact[bad])


def _largest_register(tape, x):
    one = np.array([x])
    return max(float(np.abs(Tape(tape.steps[: i + 1]).numpy(one)).max()) for i in range(len(tape.steps)))


def test_shared_subexpressions_are_computed_once():
    steps = _tape("sigmoid(x)*(x + sigmoid(x))/(1 + sigmoid(x)*(x + sigmoid(x)))").steps
    assert sum(step.op == "sigmoid" for step in steps) == 1
    assert len(set(steps)) == len(steps)


def test_integer_powers_are_squares():
    steps = _tape("x**8").steps
    assert [step.op for step in steps] == ["x", "square", "square", "square"]
    assert "pow" not in {step.op for step in _tape("(1 + x**2)**-3.5").steps}


@pytest.mark.parametrize(
    "text",
    [
        "x*(1 - sigmoid(x))",
        "x*(1 - tanh(x)**2)",
        "x*(2 - 2*normal_cdf(x))",
        "x*(1 - erf(x))",
        "x*(1 - tanh(x))",
        "x*(sigmoid(x) - sigmoid(x)**2)",
        "x*softplus(-x)",
    ],
)
def test_complements_keep_relative_precision(text):
    tape = _tape(text)
    for x in (8.0, 12.0, 17.0):
        exact = float(tape.mpmath(x))
        for kind, bound in ((np.float32, 3e-5), (np.float64, 1e-13)):
            if abs(exact) > np.finfo(kind).tiny:
                assert abs(float(tape.numpy(np.array([x], dtype=kind))[0]) / exact - 1) < bound * x, x


def test_constants_are_exact_at_50_digits():
    with mpmath.workdps(60):
        third, root = mpmath.mpf(1) / 3, mpmath.sqrt(2) * mpmath.pi
        assert abs(_tape("x/3").mpmath(1) - third) < mpmath.mpf(10) ** -50
        assert abs(_tape("x*sqrt(2)*pi").mpmath(1) - root) < mpmath.mpf(10) ** -49
        assert abs(_tape("0.1*x").mpmath(10, 55) - 1) < mpmath.mpf(10) ** -54


def test_mpmath_survives_towers_of_exponentials():
    start = time.perf_counter()
    assert _tape("exp(-exp(exp(x)))").mpmath(1e30) == 0
    assert _tape("tanh(exp(x*x))").mpmath(1e30) == 1
    assert _tape("normal_cdf(x) + erf(x)").mpmath(-1e30) == -1
    assert time.perf_counter() - start < 0.2


def test_constant_derivatives_keep_the_shape_and_dtype():
    tape = _tape("1")
    for kind in (np.float32, np.float64):
        values = tape.numpy(np.zeros((2, 3), dtype=kind))
        assert values.shape == (2, 3)
        assert values.dtype == kind
    assert _run(tape, torch.zeros(2, 3, dtype=torch.float64)).dtype == torch.float64
    assert _run(_tape("where(x > 0, 1, 0)"), torch.zeros(2, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("name", catalog.names("surrogates"))
def test_torch_source_of_families_is_short_and_right(name):
    s = surrogate(name)
    lines, result = torch_source(s.tape)
    assert all(len(line) <= 88 for line in [*lines, result])
    x = torch.linspace(-9, 9, 101, dtype=torch.float64)
    assert np.allclose(_run(s.tape, x).numpy(), s.tape.numpy(x.numpy()), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "text", ["x/(abs(x)*tanh(x))", "2/(x*atan(x))", "3 - (x - 1)/(atan(x)/2)", "-(x - 1)**2", "-2**0.5*x"]
)
def test_source_keeps_brackets(text):
    x = torch.linspace(0.3, 3, 7, dtype=torch.float64)
    expected = [float(_tape(text).mpmath(v)) for v in x.tolist()]
    assert _run(_tape(text), x).tolist() == pytest.approx(expected, rel=1e-12)


def test_source_takes_other_names():
    lines, result = torch_source(_tape("sigmoid(x)*(1 - sigmoid(x))"), "z", "s")
    assert "z" in "".join(lines) + result
    assert "x" not in ("".join(lines) + result).replace("torch", "").replace("exp", "")


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("sigmoid(x)", MAX_CLAMP),
        ("1/(1 + x**2)", MAX_CLAMP),
        ("x**2/(1 + x**2)", 2.0**63),
        ("x**4*exp(-x**2)", 2.0**31),
        ("x*exp(-x)", 2.0**6),
        ("sqrt(1 + x*x) - abs(x)", 2.0**9),  # cancels: finite, but wrong in float32
    ],
)
def test_clamp_bound(text, bound):
    assert clamp_bound(_tape(text)) == bound


@settings(max_examples=60, **REPEATABLE)
@given(FORMULAS)
def test_clamp_bound_is_a_power_of_two_that_keeps_float32_finite(text):
    try:
        tape = _tape(text)
    except FormulaError:
        return
    bound = clamp_bound(tape)
    assert 1 <= bound <= MAX_CLAMP
    assert np.log2(bound) == int(np.log2(bound))
    if bound > 1:
        edge = np.array([-bound, bound, -bound / 2, bound / 2], dtype=np.float32)
        assert np.isfinite(tape.numpy(edge)).all()


def test_clamp_bound_is_fast():
    tape = surrogate("bsilu").tape
    assert min(_seconds(clamp_bound, tape) for _ in range(5)) < 2e-3


def _seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def test_evaluation_is_silent(recwarn):
    tape = _tape("exp(x)*exp(x*x)/(1 + exp(x*x)) + sqrt(x) + log1p(x)")
    tape.numpy(np.array([-1e30, -2.0, 0.0, 1e30], dtype=np.float32))
    assert not recwarn.list


AWKWARD = [
    "exp(x)/(1 + exp(x))",
    "exp(x)/(1 + exp(x))**2",
    "exp(2*x)/(1 + exp(x))**3",
    "1/(1 + exp(x))",
    "3/(2 + 2*exp(-2*x))",
    "exp(x)*(1 - sigmoid(x))",
    "exp(x)*normal_pdf(x)",
    "exp(x)*exp(-x*x)",
    "x*exp(x*x)/(1 + exp(x*x))**2",
    "(exp(x) - exp(-x))/(exp(x) + exp(-x))",
    "1 - tanh(x)**2",
    "max(x, 0)*(1 - erf(x))",
    "log1p(exp(x))/(1 + abs(x))",
    "log1p(3*exp(x))/(1 + abs(x))",
    "log1p(exp(x) - 1)/(1 + abs(x))",
    "exp(-x)*softplus(x)",
    "x**2/(1 + x**2)",
    "x/sqrt(1 + x*x)",
    "x**8*exp(-abs(x))/1000",
    "tanh(softplus(x)) + x*sigmoid(x)*(1 - tanh(softplus(x))**2)",
    "where(x > 0, 1, x*exp(x))",
]


def _stable_error(tape, x):
    """Worst error of the float32 emission over max |g|, against ball arithmetic; and that it is never nan."""
    exact, _ = values_at(tape, x.astype(np.float64))
    got = tape.stable(x)
    assert got.dtype == x.dtype
    assert np.isfinite(got).all()
    known = np.isfinite(exact)
    assert known.mean() > 0.9
    scale = np.abs(exact[known]).max()
    rounding = np.abs(exact) * 2.0**-11 + 2.0**-24 if x.dtype == np.float16 else 0.0
    return float((np.maximum(0.0, np.abs(got - exact) - rounding)[known]).max() / scale)


def _half_values(kind):
    bits = np.arange(2**16, dtype=np.uint16)
    x = bits.view(np.float16) if kind == "float16" else (bits.astype(np.uint32) << 16).view(np.float32)
    return x[np.isfinite(x)]


@pytest.mark.parametrize("text", AWKWARD)
def test_stable_code_on_half_values(text):
    tape = _tape(text)
    for kind in ("float16", "bfloat16"):
        # bfloat16 numbers are computed in float32; every 16th here, all of them in the long test.
        assert _stable_error(tape, _half_values(kind)[::16]) < 2e-5, kind
        x = torch.from_numpy(_half_values(kind).astype(np.float32)).to(getattr(torch, kind))
        assert not compile_tape(tape)(x).isnan().any()
    ends = np.array([-np.inf, np.inf, np.nan, -3e38, 3e38], dtype=np.float32)
    assert np.isnan(tape.stable(ends)).tolist() == [False, False, True, False, False]


@pytest.mark.long
@pytest.mark.parametrize("text", AWKWARD)
def test_stable_code_on_every_half_value_and_densely_in_float32(text):
    tape = _tape(text)
    for kind in ("float16", "bfloat16"):
        assert _stable_error(tape, _half_values(kind)) < 2e-5, kind
    rng = np.random.default_rng(0)
    size = 10 ** rng.uniform(-38, 38, 20_000)
    x = np.concatenate([size, -size, rng.uniform(-30, 30, 60_000)]).astype(np.float32)
    assert _stable_error(tape, x) < 2e-5


@pytest.mark.parametrize(
    ("text", "ops"),
    [
        ("exp(x)/(1 + exp(x))", ["x", "sigmoid"]),
        ("1/(1 + exp(x))", ["x", "neg", "sigmoid"]),
        ("exp(x)*(1 - sigmoid(x))", ["x", "sigmoid"]),
        ("log1p(exp(x))", ["x", "softplus"]),
        ("log1p(exp(x) - 1)", ["x"]),
        ("exp(x)*exp(-x*x)", ["x", "square", "sub", "exp"]),
    ],
)
def test_factors_that_overflow_against_each_other_are_joined(text, ops):
    assert [step.op for step in _tape(text).steps] == ops


def test_inputs_are_given_when_the_tape_runs():
    a, b = sympy.symbols("_0 _1", real=True)
    tape = Tape.of(parse("sigmoid(x)").subs(X_SYMBOL, a * X_SYMBOL) + b, ("_0", "_1"))
    assert {(step.op, step.name) for step in tape.steps if step.name} == {("input", "_0"), ("input", "_1")}
    scale, offset = np.array([[1.0], [2.5]]), np.array([[0.0], [0.3]])
    values = tape.numpy(X, {"_0": scale, "_1": offset})
    assert values.shape == (2, len(X))
    assert np.allclose(values[1], _tape("sigmoid(2.5*x) + 0.3").numpy(X), rtol=0, atol=1e-15)
    with mpmath.workdps(60):
        exact = tape.mpmath(0.7, 50, {"_0": mpmath.mpf("2.5"), "_1": mpmath.mpf("0.3")})
        assert abs(exact - _tape("sigmoid(2.5*x) + 0.3").mpmath(0.7)) < mpmath.mpf(10) ** -45
    with pytest.raises(ValueError, match="unbound"):
        Tape.of(a * b, ("_0",))
    with pytest.raises(ValueError, match="has no values"):
        values_at(tape, X)
