"""Tables of derivatives that are steep next to 0, where the octaves end: cut there by the error."""

import numpy as np
import pytest

from sugar_search import catalog
from sugar_search.activation.table.build import SAMPLED, build_table
from sugar_search.activation.table.evaluate import evaluate
from sugar_search.activation.table.layout import FIRST_OCTAVE, MAX_BREAKS, NUMBER_OF_BREAKS
from sugar_search.activation.table.proof import proven_error
from sugar_search.activation.table.served import served
from sugar_search.symbolic.family import load
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.symbolic.tape import Tape

ENDS = [
    (name, parameter.name, value)
    for name in catalog.names("surrogates")
    for parameter in load(name).parameters
    for value in (parameter.low, parameter.high)
]
# Nine cubics a side are all that the breaks of a table allow: these are too steep for them.
TOO_STEEP = [("fast_sigmoid", "slope", 1000.0)]
NEXT_TO_0 = 2.0**FIRST_OCTAVE


def gaps(tape, table, x):
    """|table - g| over max |g| at float32 points."""
    return np.abs(evaluate(table.words, x).astype(np.float64) - tape.numpy(x.astype(np.float64))) / table.scale


def dense(size=NEXT_TO_0):
    return np.linspace(-size, size, 40_001).astype(np.float32)


@pytest.mark.parametrize(("name", "parameter", "value"), [end for end in ENDS if end not in TOO_STEEP])
def test_families_have_a_table_at_both_ends_of_their_ranges(name, parameter, value):
    tape = surrogate(name, **{parameter: value}).tape
    table = build_table(tape)
    assert table.error <= SAMPLED
    assert max(gaps(tape, table, dense()).max(), gaps(tape, table, dense(6.0)).max()) <= SAMPLED


def test_the_error_tells_of_a_family_too_steep_for_the_table():
    tape = surrogate("fast_sigmoid", slope=1000.0).tape
    table = build_table(tape)
    seen = gaps(tape, table, dense()).max()
    assert SAMPLED < seen <= 1.1 * table.error and table.error < 5e-5


@pytest.mark.parametrize(
    "text",
    [
        "1/(1 + 130*abs(x))**2",
        "1/(1 + (150*x)**2)",
        "where(x > 0, 1/(1 + 100*x)**2, 0)",
        "where(x > 0.001, 1, exp(-(150*x)**2))",
        "where(x > 0, sigmoid(300*x), 0)",
        "x*exp(-(100*x)**2)",
        "1/(1 + (100*(x - 0.004))**2)",
    ],
)
def test_steep_next_to_0_with_and_without_breaks_there(text):
    tape = Tape.of(parse(text))
    table = build_table(tape)
    assert table.error <= SAMPLED and 0 < table.words[NUMBER_OF_BREAKS] <= MAX_BREAKS
    assert gaps(tape, table, dense()).max() <= SAMPLED


def test_the_bound_on_the_whole_line_of_a_steep_derivative_is_near_its_sampled_error():
    tape = surrogate("fast_sigmoid", slope=75.0).tape
    table = build_table(tape)
    proven = proven_error(tape, table)
    assert proven is not None and table.error <= proven <= SAMPLED


@pytest.mark.parametrize("name, parameter", [("fast_sigmoid", {"slope": 120.0}), ("atan", {"alpha": 95.0})])
def test_the_pieces_next_to_0_are_about_equally_far_off_and_use_all_breaks(name, parameter):
    """The first piece may be better: it is exact at 0."""
    tape = surrogate(name, **parameter).tape
    table = build_table(tape)
    parts = [part for part in served(table.words) if not part.edge and not part.tail and part.first != part.last]
    worst = [gaps(tape, table, np.linspace(part.first, part.last, 999).astype(np.float32)).max() for part in parts]
    assert len(parts) == MAX_BREAKS + 2 and table.words[NUMBER_OF_BREAKS] == MAX_BREAKS
    assert max(worst) <= 1.4 * min(worst)
