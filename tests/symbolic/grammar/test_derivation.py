"""Derivations: named choices, replay, formula and expression, parameters, and ids that hold in every process."""

import ast
import os
import random
import re
import subprocess
import sys
from collections import Counter

import pytest

from sugar_search.errors import FormulaError
from sugar_search.search.space import load_space
from sugar_search.symbolic.canonical import identifier
from sugar_search.symbolic.grammar.derivation import (
    Derivation,
    DerivationError,
    RandomChooser,
    choices,
    depth,
    derive,
    expression,
    formula,
    is_sentence,
    sample,
    size,
    subtree,
    surrogate_of,
)
from sugar_search.symbolic.grammar.grammar import Constant, Grammar, Production
from sugar_search.symbolic.limits import syntax_tree
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import MAX_PARAMETERS
from sugar_search.symbolic.text import to_text

SHIPPED = ("grammar", "one_sided")


def shipped(name):
    return load_space(name).content.grammar


def samples(name, count, seed=0):
    grammar, rng = shipped(name), random.Random(seed)
    return grammar, [sample(grammar, rng) for _ in range(count)]


class Recorder:
    """Chooses at random and remembers what each name was asked with."""

    def __init__(self, rng):
        self.inner, self.asked, self.now = RandomChooser(rng), {}, []

    def categorical(self, name, options, weights=None):
        assert weights is None or (len(weights) == len(options) and min(weights) > 0)
        self._note(name, (options, weights))
        return self.inner.categorical(name, options, weights)

    def float(self, name, low, high, log):
        self._note(name, (low, high, log))
        return self.inner.float(name, low, high, log)

    def _note(self, name, distribution):
        assert self.asked.setdefault(name, distribution) == distribution, name
        assert name not in self.now, f"{name} asked twice in one derivation"
        self.now.append(name)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_name_always_has_the_same_distribution(name):
    grammar, chooser = shipped(name), Recorder(random.Random(1))
    for _ in range(2000):
        chooser.now = []
        try:
            derive(grammar, chooser)
        except DerivationError:
            continue
    assert len(chooser.asked) > 100
    assert all(re.fullmatch(r"grammar(\.[sr]?\d+)*(\.size)?", name) for name in chooser.asked)


@pytest.mark.parametrize("name", SHIPPED)
def test_samples_are_sentences_and_replay_from_their_choices(name):
    grammar, drawn = samples(name, 150)
    assert len(set(drawn)) > 100
    for derivation in drawn:
        assert is_sentence(grammar, derivation)
        named = choices(grammar, derivation)

        class Replay:
            def categorical(self, name, options, weights=None, named=named):
                assert named[name] in options
                return named[name]

            def float(self, name, low, high, log, named=named):
                assert low <= named[name] <= high
                return named[name]

        assert derive(grammar, Replay()) == derivation


@pytest.mark.parametrize("name", SHIPPED)
def test_size_is_that_of_the_formula_and_depth_that_of_the_tree(name):
    grammar, drawn = samples(name, 150, seed=1)
    for derivation in drawn:
        text = formula(grammar, derivation)
        minus = len(re.findall(r"\(-\d", text))  # a negative constant counts as one
        nodes = sum(isinstance(node, ast.expr) for node in ast.walk(syntax_tree(text)[2]))
        assert size(grammar, derivation) == nodes - minus <= grammar.max_size
        assert depth(derivation) <= grammar.max_depth


@pytest.mark.parametrize("name", SHIPPED)
def test_brackets_left_out_do_not_change_the_meaning(name):
    grammar, drawn = samples(name, 100, seed=2)

    def bracketed(node):
        production = grammar.rules[node.rule][node.index]
        below = [bracketed(c) if isinstance(c, Derivation) else repr(c) for c in node.children]
        return production.filled([f"({text})" for text in below], [True] * len(below))

    for derivation in drawn:
        assert parse(bracketed(derivation)) == expression(grammar, derivation)


def test_a_child_that_stands_alone_keeps_the_brackets_of_what_is_below():
    grammar = Grammar("s", 3, {"s": ("2*t",), "t": ("u",), "u": ("x + 1", "-x")}, {})
    texts = {formula(grammar, sample(grammar, random.Random(seed))) for seed in range(20)}
    assert texts == {"2*(x + 1)", "2*(-x)"}


def _round_trip(name, count, seed):
    """The ids of samples; on the way each goes through text and back."""
    found = []
    grammar, drawn = samples(name, count, seed)
    for derivation in drawn:
        made = expression(grammar, derivation)
        again = parse(to_text(made))
        assert again == made
        found.append(identifier(again))
    return found


_ELSEWHERE = """
import sys, random
from sugar_search.search.space import load_space
from sugar_search.symbolic.canonical import identifier
from sugar_search.symbolic.grammar.derivation import expression, sample
grammar, rng = load_space(sys.argv[1]).content.grammar, random.Random(int(sys.argv[3]))
for _ in range(int(sys.argv[2])):
    print(identifier(expression(grammar, sample(grammar, rng))))
"""


def _elsewhere(name, count, seed):
    environment = os.environ | {"PYTHONHASHSEED": "4711"}
    command = [sys.executable, "-c", _ELSEWHERE, name, str(count), str(seed)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("name", SHIPPED)
def test_text_keeps_the_id(name):
    count = {"grammar": 300, "one_sided": 30}[name]
    ids = _round_trip(name, count, seed=3)
    assert len(set(ids)) > 0.8 * count
    assert ids[:30] == _elsewhere(name, 30, seed=3)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_text_keeps_the_id_of_ten_thousand_samples():
    assert _round_trip("grammar", 10_000, seed=4) == _elsewhere("grammar", 10_000, seed=4)


def test_the_depth_is_a_bound():
    rules = {"s": ("sigmoid(s)", "x")}
    for most in range(1, 8):
        grammar, rng = Grammar("s", most, rules, {}), random.Random(most)
        deepest = max(formula(grammar, sample(grammar, rng)).count("sigmoid") for _ in range(300))
        assert deepest == most - 1


def test_weights_decide_how_often_a_production_is_drawn():
    rules = {"s": (Production("exp(-abs(x))", 1), Production("normal_pdf(x)", 8), Production("sigmoid(x)", 1))}
    for sizes in ("grammar", "uniform"):
        grammar, rng = Grammar("s", 1, rules, {}, sizes=sizes), random.Random(0)
        drawn = Counter(sample(grammar, rng).index for _ in range(3000))
        if sizes == "grammar":
            assert abs(drawn[1] / 3000 - 0.8) < 0.03
        else:  # sizes 3 and 6: each half
            assert abs(drawn[0] / 3000 - 0.5) < 0.04 and abs(drawn[1] / 3000 - 4 / 9) < 0.04


def test_too_large_a_derivation_is_refused_with_a_reason_and_sample_draws_again():
    grammar = Grammar("s", 6, {"s": (Production("(s + s)/2", 3), "sigmoid(x)")}, {}, max_size=20)
    assert grammar.faults() == []
    rng, refused = random.Random(0), 0
    for _ in range(100):
        try:
            assert size(grammar, derive(grammar, RandomChooser(rng))) <= 20
        except DerivationError as error:
            refused += 1
            assert error.reason == "max_size" and "at most 20" in str(error)
    assert refused > 30
    assert all(size(grammar, sample(grammar, rng)) <= 20 for _ in range(50))


def test_a_derivation_is_given_up_as_soon_as_it_must_be_too_large():
    grammar, recorder = Grammar("s", 12, {"s": (Production("s + s", 1000), "x")}, {}, 8), Recorder(random.Random(0))
    with pytest.raises(DerivationError, match="at most 8"):
        derive(grammar, recorder)
    assert len(recorder.asked) <= 8


def test_repeated_names_are_derived_apart():
    grammar = Grammar("s", 1, {"s": ("exp(-c*abs(x)) + c*x/(1 + x*x)",)}, {"c": Constant(0.1, 5.0, log=True)})
    rng = random.Random(0)
    assert all(len(set(sample(grammar, rng).children)) == 2 for _ in range(20))


def test_grids_and_single_options_are_asked_for_only_when_there_is_a_choice():
    rules = {"s": ("a",), "a": ("c*sigmoid(x)*d",)}
    grammar = Grammar("s", 2, rules, {"c": Constant(grid=[0.5, -2.0]), "d": Constant(grid=[3])})
    chooser = Recorder(random.Random(0))
    texts = {formula(grammar, derive(grammar, chooser)) for _ in range(30) if not setattr(chooser, "now", [])}
    assert texts == {"0.5*sigmoid(x)*3", "(-2)*sigmoid(x)*3"}
    assert chooser.asked == {"grammar.0.0.0.0": ((0.5, -2.0), None)}


def test_what_is_no_sentence_has_no_choices():
    grammar = Grammar("s", 2, {"s": ("k*x*t",), "t": ("exp(-square(x))",)}, {"k": Constant(0.1, 1.0)})
    good = Derivation("s", 0, (0.5, Derivation("t", 0)))
    assert choices(grammar, good) == {"grammar.0.0": 0.5}
    below = Derivation("t", 0)
    for bad in [
        below,
        Derivation("s", 1, (0.5, below)),
        Derivation("s", 0, (0.5,)),
        Derivation("s", 0, (2.0, below)),
        Derivation("s", 0, (0.12345, below)),
        Derivation("s", 0, (0.5, good)),
        Derivation("s", 0, (below, below)),
    ]:
        assert not is_sentence(grammar, bad)
        with pytest.raises(FormulaError, match="must be a sentence"):
            choices(grammar, bad)


def test_no_sentence_is_deeper_or_larger_than_the_limits():
    tree = Derivation("s", 1)
    for levels in range(2, 5):
        tree = Derivation("s", 0, (tree,))
        for most in (levels - 1, levels):
            grammar = Grammar("s", most, {"s": ("sigmoid(s)", "x")}, {}, max_size=5)
            assert is_sentence(grammar, tree) == (most == levels and size(grammar, tree) <= 5)


def test_subtrees_have_the_size_asked_for():
    grammar, rng = shipped("grammar"), random.Random(0)
    for _ in range(50):
        found = subtree(grammar, "surrogate", 3, 20, 25, rng)
        assert found.rule == "surrogate" and depth(found) <= 3 and 20 <= size(grammar, found) <= 25
    assert subtree(grammar, "bump", 1, 1, 60, rng) is not None  # sigmoid(x)*(1 - sigmoid(x))
    assert subtree(grammar, "argument", 1, 8, 60, rng) is None


def test_parameters_keep_a_name_and_a_value():
    constants = {"alpha": Constant(0.1, 2.0, parameter=True), "width": Constant(0.5, 2.0)}
    grammar = Grammar("s", 1, {"s": ("alpha*exp(-abs(width*x)) + alpha*normal_pdf(x)",)}, constants)
    made = surrogate_of(grammar, Derivation("s", 0, (0.3, 1.5, 0.7)))
    assert made.parameters == (("alpha", 0.3), ("alpha_2", 0.7))
    assert {str(s) for s in made.template.free_symbols} == {"x", "alpha", "alpha_2"}
    assert made.id == identifier(parse("0.3*exp(-abs(1.5*x)) + 0.7*normal_pdf(x)"))


def test_parameters_that_do_nothing_are_dropped():
    constants = {"a": Constant(0.1, 2.0, parameter=True)}
    grammar = Grammar("s", 1, {"s": ("a/a*sigmoid(x) + a*0",)}, constants)
    assert surrogate_of(grammar, Derivation("s", 0, (0.3, 0.3, 0.7))).parameters == (("a", 0.3), ("a_2", 0.3))
    grammar = Grammar("s", 1, {"s": ("sigmoid(x) + a*0",)}, constants)
    assert surrogate_of(grammar, Derivation("s", 0, (0.3,))).parameters == ()
    many = " + ".join(f"a*exp(-square(x + {i}))" for i in range(MAX_PARAMETERS + 2))
    grammar = Grammar("s", 1, {"s": (many,)}, constants, max_size=150)
    made = surrogate_of(grammar, Derivation("s", 0, tuple(0.1 + i / 100 for i in range(MAX_PARAMETERS + 2))))
    assert len(made.parameters) == MAX_PARAMETERS


@pytest.mark.parametrize("name", SHIPPED)
def test_most_samples_can_train(name):
    grammar, drawn = samples(name, 50, seed=5)
    made = [surrogate_of(grammar, derivation) for derivation in drawn]
    assert all(s.id == identifier(expression(grammar, d)) for s, d in zip(made, drawn))
    assert len({s.id for s in made}) > 40
    if name == "one_sided":
        assert all(float(s.tape.mpmath(3)) == 1 for s in made)
        assert all(any(key.startswith("alpha") for key, _ in s.parameters) for s in made)
