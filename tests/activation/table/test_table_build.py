"""Tables of derivatives: within 1e-6 of max |g| of 50-digit values, at breaks as exact as everywhere else."""

import random

import numpy as np
import pytest

from sugar_search import catalog
from sugar_search.activation.accuracy import DTYPES, inputs, reference
from sugar_search.activation.table.build import SAMPLED, build_table, with_range
from sugar_search.activation.table.evaluate import evaluate
from sugar_search.activation.table.layout import HIGH, LOW, MAX_PIECES, NUMBER_OF_PIECES, SCALE
from sugar_search.activation.table.values import values_of
from sugar_search.search.space import load_space
from sugar_search.symbolic.grammar.derivation import expression, sample
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.symbolic.tape import Tape, clamp_bound

# Every bfloat16 and float16 value, and 40,002 float32 values.
X = np.concatenate([inputs(dtype).double().numpy() for dtype in DTYPES.values()])

HARD_SWISH = "where(x < -3, 0, where(x <= 3, (2*x + 3)/6, 1))"
BROKEN = [
    HARD_SWISH,
    "where(x <= -3, 0, where(x < 3, (2*x + 3)/6, 1))",
    "where(x > 0.1, 1, 0)",
    "where(x >= 0, 1, 0.5)",
    "where(x > 1/3, 1, exp(-x*x))",
    "where(x > 0.3, where(x < 0.31, 0.5, 1), 0.2)",
    "where(x > 0.3, where(x < 0.3001, where(x < 0.30001, 0.7, 0.5), 1), 0.1)",
    "where(x > -0.3, where(x < -0.2999, where(x < -0.29999, 0.7, 0.5), 1), 0.1)",
    "where(x > 1, where(x < 1.0000001, 0, 1), 0.5)",
    "where(x >= 1, where(x < 1.0000002, 0, 1), 0.5)",
    "where(x >= 0.300048828125, where(x < 0.30004885, 0, 1), 0.5)",
    "sign(x - 0.300048828125) + where(x > 0.3000488579273223876953125, 1, 0.25)",
    "where(abs(x) > 0, 1, 0)",
    "sign(x) + sign(x - 1) + sign(x + 2)",
    "sign(x)*exp(-abs(x))",
    "where(x > 1, 1, x*exp(-x*x))",
    "where(x >= 1, 1, x*exp(-x*x))",
    "where(x > -1, 1, exp(x))",
    "where(x >= -1, 1, exp(x))",
    "where(x > 0.300048828125, 1, exp(x))",
    "where(x >= 0.300048828125, 1, exp(x))",
    "where(x > -0.300048828125, 1, exp(x))",
    "where(x >= -0.300048828125, 1, exp(x))",
    "where(x > 0.0001, 1, x*exp(x))",
    "where(x > -0.0001, 1, x*exp(x))",
    "where(x > 1e-40, 1, 0)",
    "where(x > -1e-40, 1, 0)",
    "where(x > 1e-50, 1, 0)",
    "where(x > 100000, 1, 0.5)",
    "where(x > -100000, 1, 0.5)",
    "where(x > 2097152.5, 1, 0.5)",
    "where(0.2*x > 0.05, 1, exp(-x*x))",
    "where(0.1*(x - 0.3) > 0.07, 1, exp(-x*x))",
    "min(1, max(0, 0.5 + x/7))",
    "abs(abs(x) - 1)*exp(-x*x)",
    "max(sigmoid(x), 0.8*exp(-x**2))",
    "where(x**2 > 2, 1, 0)",
    "where(x**3 > 0.001, 1, exp(x))",
    "where(sigmoid(x) > 0.5, 1, 0.1*exp(-x*x))",
    "where(exp(-x*x) > 0.9, 1, 0.1*exp(-x*x))",
]
SMOOTH = ["1/(1 + x**2)", "x/(1 + x**2)", "x**2/(1 + x**2)", "sqrt(1 - exp(-x**2))", "sigmoid(50*(x - 3))"]


def tape_of(text):
    return Tape.of(parse(text))


def beside(at, steps=3):
    """The float32 values around a point."""
    near = np.float32(at)
    found = [near]
    for towards in (-np.inf, np.inf):
        x = near
        for _ in range(steps):
            x = np.nextafter(x, np.float32(towards))
            found.append(x)
    return np.array(found)


def worst(tape, table):
    """The largest |table - g| over max |g| at X, jumps included."""
    got = evaluate(table.words, X).astype(np.float64)
    exact = reference(tape, X, got)
    assert np.isfinite(got).all()
    low, high = table.words.view(np.float32)[[LOW, HIGH]]
    assert low <= got.min() and got.max() <= high
    return np.abs(got - exact).max() / np.abs(exact).max()


@pytest.mark.parametrize("region", ["all", "negative"])
@pytest.mark.parametrize("name", catalog.names("surrogates"))
def test_families_are_within_the_error_of_their_50_digit_values(name, region):
    tape = surrogate(name, region=region).tape
    table = build_table(tape)
    assert table.error <= SAMPLED and worst(tape, table) <= SAMPLED


@pytest.mark.parametrize("text", SMOOTH + BROKEN)
def test_heavy_tails_jumps_and_kinks_are_within_the_error(text):
    tape = tape_of(text)
    table = build_table(tape)
    assert table.error <= SAMPLED and worst(tape, table) <= SAMPLED


def drawn(count, seed):
    grammar, rng = load_space("grammar").content.grammar, random.Random(seed)
    return [Tape.of(expression(grammar, sample(grammar, rng))) for _ in range(count)]


def test_random_derivatives_are_within_the_error():
    for tape in drawn(100, seed=2):
        table = build_table(tape)
        assert max(table.error, worst(tape, table)) <= SAMPLED, tape
        assert table.words[NUMBER_OF_PIECES] <= MAX_PIECES


@pytest.mark.long
def test_a_thousand_random_derivatives_are_as_near_as_their_error_tells():
    """Tails as slow as 20/x are not at their limit where the octaves end: rare, and told."""
    coarse = 0
    for tape in drawn(1000, seed=3):
        table = build_table(tape)
        coarse += table.error > SAMPLED
        assert worst(tape, table) <= max(SAMPLED, 1.1 * table.error), tape
        assert table.error < 2 * SAMPLED, tape
    assert coarse <= 3


@pytest.mark.parametrize("text", BROKEN)
def test_every_float_beside_a_break_has_the_value_of_its_own_side(text):
    tape = tape_of(text)
    words = build_table(tape).words
    points = [
        0.0,
        0.1,
        0.3,
        0.31,
        0.300048828125,
        1 / 3,
        0.25,
        1.0,
        1.0000002,
        3.0,
        1e-4,
        1e-40,
        1e-50,
        1e5,
        2097152.5,
        3.5,
        2**0.5,
    ]
    x = np.concatenate([beside(sign * at) for at in [*points, 0.3001, 0.30001, 0.2999, 0.29999] for sign in (1, -1)])
    exact = np.array([float(tape.mpmath(float(v))) for v in x])
    assert np.abs(evaluate(words, x) - exact).max() <= SAMPLED * np.abs(exact).max()


def test_the_break_is_where_50_digits_put_it_for_any_place():
    rng = np.random.default_rng(5)
    for at in np.concatenate([rng.normal(size=12), rng.choice([-1, 1], 12) * 10 ** rng.uniform(-12, 6, 12)]):
        tape = tape_of(f"where(x > {float(at)!r}, 1, 0.25)")
        x = beside(at)
        assert np.array_equal(evaluate(build_table(tape).words, x), np.where(x.astype(float) > at, 1, 0.25)), at


def test_relu_has_exact_values_and_an_exact_range():
    table = build_table(tape_of("where(x > 0, 1, 0)"))
    x = np.concatenate([X, [0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf]])
    assert np.array_equal(evaluate(table.words, x), (x.astype(np.float32) > 0).astype(np.float32))
    assert table.error == 0.0
    assert table.words.view(np.float32)[[SCALE, LOW, HIGH]].tolist() == [1.0, 0.0, 1.0]


def test_where_g_is_constant_its_value_is_exact():
    table = build_table(tape_of("where(x > 0, 1, 0.2*exp(x))"))
    assert (evaluate(table.words, X[X > 0]) == 1.0).all()
    leaky = build_table(surrogate("leakyrelu").tape)
    assert leaky.words.view(np.float32)[[LOW, HIGH]].tolist() == [np.float32(0.01), 1.0]


def test_g_at_0_is_exactly_rounded():
    odd = ["abs(x)*exp(-abs(x))", "where(x > 0, x, 2*x)*exp(-x*x)", "where(x >= 0, 0.7 + x, 0.3)*exp(-x*x)"]
    for made in map(surrogate, [*catalog.names("surrogates"), *odd]):
        got = evaluate(build_table(made.tape).words, np.array([0.0, -0.0], dtype=np.float32))
        assert (got == np.float32(made.value_at_zero)).all(), made


def test_special_inputs():
    words = build_table(surrogate("bsilu").tape).words
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -1e-45], dtype=np.float32)
    got = evaluate(words, x)
    assert np.isnan(got[:2]).all()
    assert np.allclose(got[2:6], [1, 0, 1, 0], atol=1e-6)
    assert np.allclose(got[6:], surrogate("bsilu").value_at_zero, atol=1e-6)


def test_the_error_tells_what_no_table_can_hold():
    assert build_table(tape_of("1/(1 + log1p(abs(x)))")).error > 0.02  # still 0.03 away from its limit at 2**127
    assert build_table(tape_of("where(x > 9000000, 1, 0)")).error >= 0.5  # a jump beyond the octaves
    assert build_table(tape_of("exp(-(1000*(x - 1.5))**2)")).error > 1e-3  # narrower than a cell
    stairs = "+".join(f"sign(x - {k})" for k in range(20))
    assert build_table(tape_of(stairs)).error == np.inf


def test_a_narrow_bump_between_two_samples_of_its_octave_is_seen():
    tape = tape_of("sigmoid(x) + exp(-(30*(x - 1.3))**2)")
    table = build_table(tape)
    x = np.linspace(1.2, 1.4, 999)
    assert np.abs(evaluate(table.words, x) - tape.numpy(x)).max() <= SAMPLED * table.scale


@pytest.mark.parametrize(
    ("place", "bump"),
    [
        (1.501, "exp(-(300*(x - 1.501))**2)"),
        (10.1, "exp(-(50*(x - 10.1))**2)"),
        (100.3, "exp(-(3*(x - 100.3))**2)"),
        (1000.0, "exp(-(x - 1000)**2)"),
        (0.693147, "exp(-(600*exp(-x) - 300)**2)"),
    ],
)
def test_the_error_tells_of_a_bump_too_narrow_for_the_cells(place, bump):
    tape = tape_of(f"sigmoid(x) + {bump}")
    table = build_table(tape)
    x = (place + np.linspace(-3, 3, 30_001)).astype(np.float32)
    got = evaluate(table.words, x).astype(np.float64)
    assert np.abs(got - tape.numpy(x.astype(np.float64))).max() / table.scale <= 1.1 * table.error


def test_far_out_values_are_those_of_50_digits_or_those_at_the_clamp():
    """Float32 overflows in the first, so exact code clamps x early; float64 cancels in the second."""
    for text, within in (("x**6/(1 + abs(x)**5 + x**6)", 1e-12), ("where(x > 0, x*(sqrt(1 + x*x) - x), 0)", 2e-4)):
        tape = tape_of(text)
        bound = clamp_bound(tape)
        assert bound < 2**22
        x = bound * 2.0 ** np.array([1, 3, 8, 20, 40, 60])
        exact = np.array([float(tape.mpmath(float(v))) for v in x])
        assert np.abs(values_of(tape)(x) - exact).max() <= within
    assert np.abs(values_of(tape_of("x**2/(1 + x**2)"))(np.array([1e300, -1e300])) - 1).max() == 0


def test_a_limit_is_reached_exactly():
    words = build_table(surrogate("atan").tape).words
    assert evaluate(words, np.array([1e30, -np.inf], dtype=np.float32)).tolist() == [0.0, 0.0]


def test_coarser_tables_have_fewer_pieces_and_larger_errors():
    tape = surrogate("bsilu").tape
    fine, coarse = build_table(tape), build_table(tape, within=1e-4)
    assert coarse.words[NUMBER_OF_PIECES] < fine.words[NUMBER_OF_PIECES]
    assert 1e-5 < coarse.error < 5e-4


def test_a_range_that_is_given_is_widened_to_hold_the_table():
    table = build_table(surrogate("bsilu").tape)
    low, high = with_range(table, -2.0, 1.0).words.view(np.float32)[[LOW, HIGH]].tolist()
    got = evaluate(table.words, X)
    assert low == -2.0 and got.max() <= high <= got.max() + 1e-4
    assert (with_range(table, -2.0, 1.0).words[16:] == table.words[16:]).all()


def test_words_cannot_be_written():
    table = build_table(surrogate("gelu").tape)
    assert table.words.dtype == np.int32 and table.words.shape == (4096,)
    with pytest.raises(ValueError):
        table.words[300] = 1
