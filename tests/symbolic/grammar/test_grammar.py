"""The grammar: productions, constants, the one-sided form, and every fault told at once."""

import math
import pickle

import pytest
from formulas import REPEATABLE
from hypothesis import given, settings
from hypothesis import strategies as st

from sugar_search.errors import InputError
from sugar_search.search.space import load_space
from sugar_search.symbolic.grammar.grammar import MAX_MAX_SIZE, Constant, Grammar, Production
from sugar_search.symbolic.limits import MAX_NODES
from sugar_search.symbolic.parse import parse

K = {"k": Constant(0.1, 5.0, log=True)}


def test_children_are_the_words_that_are_no_primitives_in_order():
    production = Production("step + (x + shift)*bump - 1e-5*step*pi*e*sigmoid(bump) if x > 0 else shift")
    assert production.children == ("step", "shift", "bump", "step", "bump", "shift")
    assert str(Production("a*x + b/exp(a)").template) == "_0*x + _1*exp(-_2)"


def test_cost_counts_names_numbers_and_operations_but_not_children():
    for formula, cost in [("x", 1), ("a", 0), ("sigmoid(x)", 3), ("sigmoid(a)", 2), ("a + b*x - 2", 5), ("-a", 1)]:
        assert Production(formula).cost == cost, formula
    # A sentence of the largest size still parses.
    assert MAX_MAX_SIZE < MAX_NODES


def test_children_are_bracketed_only_where_the_meaning_needs_it():
    production = Production("2*a + sigmoid(b)/c")
    assert production.filled(["x + 1", "x + 2", "x + 3"], [False] * 3) == "2*(x + 1) + sigmoid(x + 2)/(x + 3)"
    assert production.filled(["x", "-x", "exp(x)"], [True, False, True]) == "2*x + sigmoid(-x)/exp(x)"
    assert [Production(t).is_atom for t in ("x", "exp(x)", "2", "-2", "x + 1", "a*b")] == [True] * 3 + [False] * 3


@settings(max_examples=200, **REPEATABLE)
@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(0, 1))
def test_a_constant_of_a_range_has_four_digits_and_stays_inside(a, b, share):
    low, high = sorted((a, b))
    if low == high:
        return
    constant = Constant(low, high)
    value = constant.rounded(low + share * (high - low))
    assert low <= value <= high
    assert constant.holds(value)
    assert value in (low, high) or float(f"{value:.4g}") == value


def test_a_constant_holds_nothing_else():
    assert not Constant(0.1, 1.0).holds(0.12345)
    assert not Constant(0.1, 1.0).holds(1.5)
    grid = Constant(grid=(1.0507009873554805, 2))
    assert grid.holds(1.0507009873554805) and grid.rounded(1.0507009873554805) == 1.0507009873554805
    assert grid.holds(2.0) and not grid.holds(1.051)
    assert math.copysign(1, Constant(-1.0, 1.0).rounded(-0.0)) == 1


def test_one_sided_puts_the_start_below_zero():
    grammar = Grammar("s", 3, {"s": ["k*exp(x)"], "one_sided": ["1 - exp(-x)"]}, K)
    start = grammar.one_sided("one")
    assert start.start not in grammar.rules
    assert [p.formula for p in start.rules[start.start]] == ["where(x > 0, 1, s)"]
    assert start.rules["s"] == grammar.rules["s"]
    above = grammar.one_sided("one_sided")
    assert above.checked().rules[above.start][0].formula == "where(x > 0, one_sided, s)"


def test_all_faults_are_told_at_once():
    grammar = Grammar(
        "missing",
        0,
        {"a": ("sigmod(x)", "b +"), "exp": ("x",), "b": (), "c": ("x", "x"), "w": (Production("x", math.nan),)},
        {
            "c": Constant(2.0, 1.0),
            "d": Constant(0.0, 1.0, log=True),
            "f": Constant(grid=(float("nan"),)),
            "g": Constant(grid=(1, 1.0)),
            "region": Constant(parameter=True),
            "bsilu": Constant(parameter=True),
        },
        max_size=MAX_MAX_SIZE + 1,
        sizes="large",
    )
    faults = "\n".join(grammar.faults())
    for part in ("max_depth", "max_size", "sizes must", "start must", "'exp'", "rule or a constant"):
        assert part in faults
    for part in ("constant c: low must be under high", "constant d: low must be positive", "constant f:"):
        assert part in faults
    for part in ("constant g: its grid must not repeat", "'region' of a parameter", "'bsilu' of a parameter"):
        assert part in faults
    for part in ("did you mean sigmoid", "well formed", "rule b must have a production", "must not repeat a prod"):
        assert part in faults
    assert "rule w, 'x': its weight must be a number from 0.001 to 1000" in faults
    with pytest.raises(InputError, match="well formed"):
        grammar.checked()


@pytest.mark.parametrize("weight", [0, -1.0, math.inf, 1e9, "2", True])
def test_weights_must_be_positive_numbers(weight):
    assert any("weight" in fault for fault in Grammar("s", 1, {"s": (Production("x", weight),)}, {}).faults())


def test_faults_of_shape():
    endless = Grammar("s", 3, {"s": ("sigmoid(s)",)}, {}).faults()
    assert any("able to end" in fault for fault in endless)
    shallow = Grammar("s", 2, {"s": ("sigmoid(t)",), "t": ("exp(u)",), "u": ("x",)}, {}).faults()
    assert any("max_depth must be at least 3" in fault for fault in shallow)
    unused = Grammar("s", 2, {"s": ("x",), "t": ("x",)}, {"k": Constant()}).faults()
    assert sum("must be used" in fault for fault in unused) == 2
    assert Grammar("s", 1, {"s": ("k*sigmoid(x)",)}, {"k": Constant(low="a")}).faults()
    assert Grammar("if", 1, {"if": ("x",)}, {}).faults()


def test_a_production_that_never_fits_is_a_fault():
    rules = {"s": ("x", "sigmoid(t)"), "t": ("exp(u)", "x"), "u": ("x + 1",)}
    # sigmoid(exp(x + 1)) has 7 names, numbers and operations in 3 nested productions.
    assert Grammar("s", 3, rules, {}, max_size=7).faults() == []
    assert any("'exp(u)': must fit" in fault for fault in Grammar("s", 3, rules, {}, max_size=6).faults())
    assert any("'exp(u)': must fit" in fault for fault in Grammar("s", 2, rules, {}, max_size=7).faults())


@pytest.mark.parametrize("name", ["grammar", "one_sided"])
def test_the_shipped_grammars_are_well_formed_and_their_templates_are_their_text(name):
    grammar = load_space(name).content.grammar
    assert grammar.faults() == []
    for productions in grammar.rules.values():
        for production in productions:
            names = [f"_{i}" for i in range(len(production.children))]
            assert parse(production.filled(names, [False] * len(names)), names) == production.template


@pytest.mark.parametrize("name", ["grammar", "one_sided"])
def test_a_space_that_was_used_can_be_sent_to_another_process(name):
    space = load_space(name)
    grammar = space.content.grammar
    texts = [p.filled(p.children, [True] * len(p.children)) for ps in grammar.rules.values() for p in ps]
    again = pickle.loads(pickle.dumps(space)).content.grammar
    assert again.rules == grammar.rules
    assert [p.filled(p.children, [True] * len(p.children)) for ps in again.rules.values() for p in ps] == texts
