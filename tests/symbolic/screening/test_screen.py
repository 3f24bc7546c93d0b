"""Batch screening: the grammar's own distribution, right values, right merges, the same in every process."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sugar_search.symbolic.canonical import canonical
from sugar_search.symbolic.fingerprint import Known, fingerprint, same
from sugar_search.symbolic.grammar.derivation import Derivation, expression, formula, is_sentence, sample, size
from sugar_search.symbolic.grammar.grammar import Constant, Grammar, Production
from sugar_search.symbolic.screening import field
from sugar_search.symbolic.screening.confirm import programs
from sugar_search.symbolic.screening.draws import draw
from sugar_search.symbolic.screening.screen import SAME_KEY, SCREEN_GRID, SURVIVOR, TOO_LARGE, _Stock, screen
from sugar_search.symbolic.tape import Tape

RULES = {
    "surrogate": (
        Production("where(x > 0, 1, negative)", 2.0),
        Production("step + (x + shift)*bump", 3.0),
        "max(step, weight*bump)",
        "(surrogate + surrogate)/2",
        "surrogate*step",
        "step",
    ),
    "negative": ("weight*exp(scale*x)", "weight*bump", "weight*step", "weight"),
    "step": ("sigmoid(argument)", "normal_cdf(argument)", "0.5 + 0.5*tanh(argument)", "min(1, max(0, 0.5 + argument))"),
    "bump": ("sigmoid(argument)*(1 - sigmoid(argument))", "normal_pdf(argument)", "recip(1 + square(argument))"),
    "argument": ("x", "scale*x", "x + shift"),
}
CONSTANTS = {
    "scale": Constant(0.2, 5.0, log=True),
    "shift": Constant(-2.0, 2.0),
    "weight": Constant(grid=(0.05, 0.1, 1 / 3, 2.0)),
}
GRAMMAR = Grammar("surrogate", 4, RULES, CONSTANTS, max_size=40)


class _Subject:
    def __init__(self, e):
        self.canonical, self.tape = canonical(e), Tape.of(e)


@pytest.mark.parametrize("sizes", ["grammar", "uniform"])
def test_draws_are_sentences_in_the_grammars_own_distribution(sizes):
    grammar = replace(GRAMMAR, sizes=sizes)
    plan = draw(grammar, 20_000, np.random.default_rng(0))
    kept = np.flatnonzero(plan.top.sizes <= grammar.max_size)
    mine = [plan.derivation(i) for i in kept[::4]]
    assert all(is_sentence(grammar, d) for d in mine)
    assert [size(grammar, d) for d in mine] == plan.top.sizes[kept[::4]].tolist()
    rng = random.Random(0)
    theirs = [sample(grammar, rng) for _ in range(len(mine))]
    for feature in (lambda d: size(grammar, d), lambda d: d.index, _shape):
        a, b = Counter(map(feature, mine)), Counter(map(feature, theirs))
        for value in a.keys() | b.keys():
            # Two counts of one chance differ by less than five of their standard deviations.
            assert abs(a[value] - b[value]) <= 5 * np.sqrt(a[value] + b[value] + 1), value


def _shape(d):
    """Productions two levels down."""
    return (d.index, *(c.index for c in d.children if isinstance(c, Derivation)))


def test_children_of_one_derivation_are_independent():
    # All from one bank of 8,000: drawn from it blindly, two of the eight would be one and the same entry 14 times.
    rules = {"sum": ("+".join(["one"] * 8),), "one": ("sigmoid(scale*x)",)}
    grammar = Grammar("sum", 2, rules, {"scale": Constant(1e-3, 1e3, log=True)})
    plan = draw(grammar, 4000, np.random.default_rng(1))
    assert len(plan.banks["one", 1].classes) == 8000
    twins = sum(8 - len(set(plan.derivation(i).children)) for i in range(4000))
    assert twins <= 7  # about 2, as 4 digits leave 54,000 values


def test_constants_are_drawn_evenly_to_four_digits():
    plan = draw(GRAMMAR, 30_000, np.random.default_rng(2))
    group = next(g for g in plan.banks["argument", 2].groups if g.index == 2)
    values = group.children[0]
    assert all(float(f"{v:.4g}") == v for v in values[:500])
    assert abs(np.mean(values)) < 5 * 1.155 / np.sqrt(len(values))
    assert abs(np.mean(values < -1) - 0.25) < 5 * 0.44 / np.sqrt(len(values))


def test_values_and_keys_are_those_of_the_derivations():
    plan = draw(GRAMMAR, 400, np.random.default_rng(3))
    with np.errstate(all="ignore"):
        stock = _Stock(plan, programs(GRAMMAR))
        blocks = [(rows.copy(), block.copy()) for rows, block in stock.blocks(plan.top)]
    structural = stock.keys_of(plan.top)
    equal = 0
    for rows, block in blocks:
        for row, values in zip(rows[::5], block[::5]):
            tape = Tape.of(expression(GRAMMAR, plan.derivation(int(row))))
            exact = tape.numpy(SCREEN_GRID)
            assert np.allclose(values, exact, rtol=0, atol=1e-13 * (1 + np.abs(exact).max()))
            equal += int(structural[row]) == field.key(tape)
    # Nearly always: sympy's own folding (of nested conditions, say) goes beyond the rules of a ring.
    assert equal >= 0.9 * sum(len(rows[::5]) for rows, _ in blocks)


def test_duplicates_are_the_same_functions_and_survivors_are_not():
    result = screen(GRAMMAR, 12_000, np.random.default_rng(4))
    merged = [(a, b) for a, b in result.merged() if result.derivation(a) != result.derivation(b)]
    assert len(merged) > 50
    assert {int(result.verdicts[a]) == SAME_KEY for a, _ in merged} == {True, False}
    for a, b in merged[:: max(1, len(merged) // 60)]:
        one, other = (Tape.of(expression(GRAMMAR, result.derivation(i))) for i in (a, b))
        assert same(fingerprint(one), fingerprint(other)), formula(GRAMMAR, result.derivation(a))
        assert result.verdicts[b] == SURVIVOR
    known = Known()
    for i in result.survivors[:200].tolist():
        subject = _Subject(expression(GRAMMAR, result.derivation(i)))
        assert known.find(subject) is None, formula(GRAMMAR, result.derivation(i))
        known.add(subject, i)
    counts = result.counts()
    assert sum(counts[k] for k in counts if k not in ("generated", "too_large")) == counts["generated"]
    assert counts["generated"] + counts["too_large"] == 12_000


def test_a_bump_that_tops_a_step_between_grid_points_is_not_lost():
    narrow = (
        ("max(0.3989421, normal_pdf(x - 0.9137))", "0.3989421 + 0*x", "max(0.3989421, 0.3*step)"),  # within 0.001
        ("max(ramp, 0.05*max(0, 1 - abs(1.98*x)))", "ramp", "ramp + 0*x"),  # from -0.505 on
    )
    for top, *one in narrow:
        rules = {"start": (top, *one), "step": ("sigmoid(x)",), "ramp": ("min(1, max(0, 0.5 + x))",)}
        grammar = Grammar("start", 2, rules, {})
        result = screen(grammar, 300, np.random.default_rng(5))
        kept = [result.derivation(i).index for i in result.survivors]
        assert 0 in kept
        assert len(set(kept) - {0}) == 1, top  # the other two are one function


P = Constant(-2.0, 2.0)


@pytest.mark.parametrize(
    ("text", "constants"),
    [
        ("where(x > p, 1, sigmoid(x))", {"p": P}),
        ("where(tanh(x) > tanh(p), 1, sigmoid(x))", {"p": P}),
        ("sigmoid(x) + where(abs(x - p) < w, 1, 0)", {"p": P, "w": Constant(0.001, 0.5)}),
        ("sigmoid(x) + 0.001*sign(x - p)", {"p": P}),
        ("sigmoid(1e5*(x - p))", {"p": P}),
        ("sigmoid(x) + exp(-square(1000*(x - p)))", {"p": P}),
        ("sigmoid(x) + max(0, 1 - abs(40*(x - p)))", {"p": P}),
        ("min(1, max(0, k*(x - 0.51)))", {"k": Constant(100.0, 1e5)}),
        ("sigmoid(x) + 1e-14*recip(1e-14 + square(x - p))", {"p": P}),
    ],
)
def test_functions_that_differ_between_two_points_are_not_merged(text, constants):
    result = screen(Grammar("s", 1, {"s": (text,)}, constants), 3000, np.random.default_rng(0))
    wrong = [(a, b) for a, b in result.merged() if result.derivation(a) != result.derivation(b)]
    assert wrong == []


def test_spellings_with_a_jump_are_merged():
    rules = {
        "s": (
            "where(x > p, 1, sigmoid(x))",
            "where(2*x > 2*p, 1, 0.5 + 0.5*tanh(x/2))",
            "where(x > p, 0.5, 0.25 + 0.25*tanh(x/2)) + where(x > p, 0.5, sigmoid(x)/2)",
        )
    }
    grammar = Grammar("s", 1, rules, {"p": Constant(grid=(0.5, 0.503))})  # one cell holds both
    result = screen(grammar, 400, np.random.default_rng(0))
    assert result.counts()["survivors"] == 3  # the third of them with both numbers, as it draws two
    # A jump where the function is 0 is none.
    rules = {"s": ("ramp", "ramp*where(x > 0.5, 1, 0.25)"), "ramp": ("min(1, max(0, x - 1.03))",)}
    assert screen(Grammar("s", 2, rules, {}), 50, np.random.default_rng(0)).counts()["survivors"] == 1


def test_invalid_ones_are_told():
    rules = {"start": ("1/(x - x/2 - 0.1*scale*0)", "exp(scale*x)", "0*x", "sigmoid(scale*x)")}
    grammar = Grammar("start", 1, rules, {"scale": Constant(1.0, 2.0)})
    result = screen(grammar, 400, np.random.default_rng(6))
    kept = {result.derivation(i).index for i in result.survivors}
    assert kept == {3}
    assert result.counts()["invalid"] == sum(result.derivation(i).index != 3 for i in range(400))


def test_the_limit_on_size_is_kept():
    grammar = replace(GRAMMAR, max_size=20)
    result = screen(grammar, 2000, np.random.default_rng(7))
    large = [size(grammar, result.derivation(i)) > 20 for i in range(2000)]
    assert (result.verdicts == TOO_LARGE).tolist() == large
    assert any(large)


_SCRIPT = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_screen import GRAMMAR
from sugar_search.symbolic.grammar.derivation import formula
from sugar_search.symbolic.screening.screen import screen
result = screen(GRAMMAR, 1500, np.random.default_rng(8))
print(json.dumps([result.counts(), formula(GRAMMAR, result.derivation(result.survivors[77]))]))
"""


def test_the_same_in_another_process():
    result = screen(GRAMMAR, 1500, np.random.default_rng(8))
    here = [result.counts(), formula(GRAMMAR, result.derivation(result.survivors[77]))]
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(Path(__file__).parent)],
        env={**os.environ, "PYTHONHASHSEED": "11"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(run.stdout) == here


@pytest.mark.long
def test_a_hundred_thousand_a_second():
    screen(GRAMMAR, 2000, np.random.default_rng(9))
    start = time.perf_counter()
    screen(GRAMMAR, 262_144, np.random.default_rng(9))
    assert time.perf_counter() - start < 2.6
