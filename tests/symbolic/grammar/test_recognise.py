"""From an expression back to a derivation: samples, the paper's surrogates, rewritten forms, and a bounded time."""

import random
import time

import pytest
from formulas import FORMULAS, REPEATABLE
from hypothesis import given, settings

from sugar_search.errors import FormulaError
from sugar_search.search.pinned import load_baselines
from sugar_search.search.space import load_space
from sugar_search.symbolic.canonical import canonical
from sugar_search.symbolic.grammar.derivation import Derivation, expression, formula, is_sentence, sample
from sugar_search.symbolic.grammar.grammar import Constant, Grammar, Production
from sugar_search.symbolic.grammar.recognise import recognise
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import surrogate


def shipped(name):
    return load_space(name).content.grammar


def share(name, count, seed):
    """Of the samples, those found again; every one that is found is checked."""
    grammar, rng, found = shipped(name), random.Random(seed), 0
    for _ in range(count):
        made = expression(grammar, sample(grammar, rng))
        derivation = recognise(grammar, made)
        if derivation is not None:
            assert is_sentence(grammar, derivation)
            assert canonical(expression(grammar, derivation)) == canonical(made)
            found += 1
    return found / count


@pytest.mark.parametrize(("name", "count"), [("grammar", 120), ("one_sided", 40)])
def test_nearly_all_samples_are_found_again(name, count):
    assert share(name, count, seed=0) >= 0.95


@pytest.mark.long
@pytest.mark.parametrize("name", ["grammar", "one_sided"])
def test_nearly_all_of_many_samples_are_found_again(name):
    assert share(name, 3000, seed=1) >= 0.98


@pytest.mark.parametrize("wanted", load_baselines(), ids=lambda s: s.title)
def test_every_surrogate_of_the_paper_is_a_sentence(wanted):
    grammar = shipped("grammar")
    derivation = recognise(grammar, wanted.derivative)
    assert surrogate(formula(grammar, derivation)) == wanted


def test_the_papers_surrogates_are_read_as_written():
    grammar = shipped("grammar")
    wanted = {
        "bsilu": "sigmoid(x) + (x + 1.67)*(sigmoid(x)*(1 - sigmoid(x)))",
        "gelu": "normal_cdf(x) + (x + 0)*normal_pdf(x)",
        "nelu": "where(x > 0, 1, 0.02*x/square(1 + square(1*x)))",
        "relu": "where(x > 0, 1, 0)",
    }
    for name, text in wanted.items():
        assert formula(grammar, recognise(grammar, surrogate(name).derivative)) == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("normal_pdf(-2*x - 1)", "normal_pdf(2*(x + 0.5))"),
        ("exp(-(0.3 - x)**2)", "exp(-square(x + (-0.3)))"),
        ("1/(2 + x**2 + 2*x)", None),  # 1 + (x + 1)**2, multiplied out: not undone
        ("0.25*exp(-abs(x)) + sigmoid(3*x)", "sigmoid(3*x) + 0.25*exp(-abs(x))"),
        ("sigmoid(x)**2", "sigmoid(x)*sigmoid(x)"),
        ("0.3*tanh(x)**2 - 0.3 + 1", None),
        ("where(x > 0, 1, 0.35 - 0.3*tanh(2*x)**2)", "where(x > 0, 1, 0.05 + 0.3*(1 - square(tanh(2*x))))"),
        ("where(x > 0, tanh(x + 1)**2, 0.01)", "where(x > 0, 1 - (1 - square(tanh(x + 1))), 0.01)"),
        ("max(sigmoid(x), 0.5*normal_pdf(x))", "max(sigmoid(x), 0.5*normal_pdf(x))"),
        ("where(x > 0, 0.5, 0.2 + 0.4*atan(x)/pi)", "where(x > 0, 0.5, 0.4*(0.5 + atan(x)/pi))"),
        ("sigmoid(x)/2 + normal_cdf(x)/2", "(normal_cdf(x) + sigmoid(x))/2"),
        ("where(x > 0, 1, 0.12345*exp(x))", None),  # five digits
        ("where(x > 0, 1, 3*exp(x))", None),  # beyond the range
        ("x*sigmoid(x)", None),
        ("sigmoid(exp(x))", None),
        ("2", None),
    ],
)
def test_other_spellings(text, found):
    grammar = shipped("grammar")
    derivation = recognise(grammar, parse(text))
    assert (None if derivation is None else formula(grammar, derivation)) == found
    if derivation is not None:
        assert canonical(expression(grammar, derivation)) == canonical(parse(text))


def test_a_child_that_a_template_repeats_is_matched_once():
    rules = {"s": ("max(t, k*u)",), "t": ("sigmoid(x)",), "u": ("exp(-abs(x))", "normal_pdf(x)")}
    grammar = Grammar("s", 2, rules, {"k": Constant(0.1, 1.0)})
    wanted = Derivation("s", 0, (Derivation("t", 0), 0.3, Derivation("u", 1)))
    assert recognise(grammar, expression(grammar, wanted)) == wanted
    # The condition of this one is another: no maximum.
    assert recognise(grammar, parse("where(sigmoid(x) - x > 0, sigmoid(x), 0.3*normal_pdf(x))")) is None


def test_what_matches_but_is_another_function_is_refused():
    # sqrt(square(x)) is |x|, though x is the root of the square of x.
    grammar = Grammar("s", 2, {"s": ("sqrt(t)",), "t": ("square(x)", "1 + square(x)")}, {})
    assert recognise(grammar, parse("x")) is None
    assert recognise(grammar, parse("sqrt(1 + x**2)")) == Derivation("s", 0, (Derivation("t", 1),))


K = {"k": Constant(0.1, 1.0), "c": Constant(-3.0, 3.0)}


@pytest.mark.parametrize(
    "rules",
    [
        {"s": ("where(x > 0, t, t)",), "t": ("exp(-abs(x))", "normal_pdf(x)")},  # equal branches merge
        {"s": ("exp(-abs(c*x + 1))",)},  # an even function takes the other sign of its argument
        {"s": ("square(c*x + 1)*exp(-square(x))",)},
        {"s": ("k*t",), "t": ("normal_pdf(x)/4", "square(sigmoid(x))/8")},  # two numbers become one
        {"s": ("k + t",), "t": ("0.5 + atan(x)/pi", "sigmoid(x)")},
        {"s": ("k*t + k*x*exp(x)",), "t": ("1", "sigmoid(x)")},  # a term without x joins the numbers
        {"s": ("t*exp(-square(x))",), "t": ("1 - square(tanh(x))", "k", "c")},
        {"s": ("where(x > 0, 0, k*x/square(1 + square(c*x)))",)},  # a constant inside a power
        {"s": ("(t + u)/2",), "t": ("sigmoid(x)", "normal_cdf(x)"), "u": ("sigmoid(x) + k*normal_pdf(x)",)},
    ],
)
def test_sentences_whose_parts_have_merged(rules):
    words = {word for each in rules.values() for p in each for word in Production(p).children}
    constants = {name: constant for name, constant in K.items() if name in words}
    grammar, rng = Grammar("s", 2, rules, constants).checked(), random.Random(0)
    for _ in range(12):
        made = expression(grammar, sample(grammar, rng))
        derivation = recognise(grammar, made)
        assert canonical(expression(grammar, derivation)) == canonical(made)


def test_a_number_between_two_children_is_not_guessed():
    grammar = Grammar("s", 2, {"s": ("(t + t)/2",), "t": ("k", "sigmoid(x)")}, {"k": Constant(0.1, 1.0)})
    assert recognise(grammar, parse("0.53215")) is None
    wanted = Derivation("s", 0, (Derivation("t", 0, (0.3,)), Derivation("t", 1)))
    found = recognise(grammar, expression(grammar, wanted))
    assert expression(grammar, found) == expression(grammar, wanted)


def test_limits_hold_for_what_is_found():
    rules = {"s": ("sigmoid(s)", "(s + s)/2", "x")}
    made = parse("sigmoid(sigmoid(sigmoid(x)))")
    assert recognise(Grammar("s", 4, rules, {}), made) is not None
    assert recognise(Grammar("s", 3, rules, {}), made) is None
    assert recognise(Grammar("s", 4, rules, {}, max_size=6), made) is None


@pytest.mark.parametrize("text", ["(sigmoid({0}*x) + 0.7)", "(sigmoid({0}*x) + {0})", "sigmoid({0}*x)"])
def test_a_product_of_many_factors_ends_soon(text):
    grammar = shipped("grammar")
    recognise(grammar, parse("sigmoid(x)"))
    made = parse("*".join(text.format(f"{i}.37") for i in range(1, 9)))
    start = time.process_time()
    assert recognise(grammar, made) is None
    assert time.process_time() - start < 2  # 0.1 s on a machine that does nothing else; steps are what is limited


def test_too_few_steps_find_nothing():
    grammar = shipped("grammar")
    assert recognise(grammar, surrogate("bsilu").derivative, limit=3) is None


@settings(max_examples=80, **REPEATABLE)
@given(FORMULAS)
def test_any_formula_ends_soon_and_what_is_found_is_right(text):
    try:
        made = parse(text)
    except FormulaError:
        return
    grammar = shipped("grammar")
    start = time.process_time()
    derivation = recognise(grammar, made)
    assert time.process_time() - start < 1.0  # 0.2 s on a machine that does nothing else
    if derivation is not None:
        assert canonical(expression(grammar, derivation)) == canonical(made)
