"""The grammar: names and distributions, depth, faults, and the shipped grammar space."""

import random
import re

import pytest

from sugar_search import catalog
from sugar_search.errors import FormulaError, InputError
from sugar_search.symbolic.grammar import Constant, Grammar, RandomChooser, derive, derive_text, sample
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.symbolic.text import to_text


def _shipped() -> Grammar:
    table = catalog.load_toml(catalog.find("spaces")["grammar"])
    constants = {name: Constant(**fields) for name, fields in table["constants"].items()}
    rules = {name: tuple(productions) for name, productions in table["rules"].items()}
    return Grammar(table["start"], table["max_depth"], rules, constants)


class Recorder:
    """Chooses at random and remembers what each name was asked with."""

    def __init__(self, rng):
        self.inner, self.asked, self.now = RandomChooser(rng), {}, []

    def categorical(self, name, options):
        self._note(name, options)
        return self.inner.categorical(name, options)

    def float(self, name, low, high, log):
        self._note(name, (low, high, log))
        return self.inner.float(name, low, high, log)

    def _note(self, name, distribution):
        assert self.asked.setdefault(name, distribution) == distribution, name
        assert name not in self.now, f"{name} asked twice in one derivation"
        self.now.append(name)


def test_a_name_always_has_the_same_distribution():
    grammar, chooser = _shipped(), Recorder(random.Random(1))
    for _ in range(2000):
        chooser.now = []
        derive_text(grammar, chooser)
    assert len(chooser.asked) > 100
    assert all(re.fullmatch(r"grammar(\.\d+)*", name) for name in chooser.asked)


def test_most_samples_can_train_and_all_can_be_written():
    grammar, rng = _shipped(), random.Random(2)
    admitted, seen, refused = 0, set(), 0
    for _ in range(120):
        try:
            expression = sample(grammar, rng)
        except FormulaError:
            refused += 1
            continue
        assert parse(to_text(expression)) == expression
        try:
            seen.add(surrogate(to_text(expression)).id)
            admitted += 1
        except FormulaError:
            continue
    assert admitted >= 0.6 * 120
    assert refused <= 6
    assert len(seen) > 0.7 * admitted


class Follow:
    """Answers by production text per nonterminal path, then by value."""

    def __init__(self, answers):
        self.answers = list(answers)

    def categorical(self, name, options):
        answer = self.answers.pop(0)
        assert answer in options, (name, answer, options)
        return answer

    def float(self, name, low, high, log):
        answer = self.answers.pop(0)
        assert low <= answer <= high
        return answer


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [
        (["where(x > 0, 1, negative)", "leak*x/square(1 + square(scale*x))", 0.02, 1.0], surrogate("nelu")),
        (["where(x > 0, 1, negative)", "weight*exp(scale*x)", 1.0, 1.0], surrogate("elu")),
        (["where(x > 0, 1, negative)", "leak", 0.01], surrogate("leakyrelu")),
        (
            ["step + (x + shift)*bump", "sigmoid(argument)", "x", 1.67, "sigmoid(x)*(1 - sigmoid(x))"],
            surrogate("bsilu"),
        ),
        (
            ["step + (x + shift)*bump", "normal_cdf(argument)", "x", 0.0, "normal_pdf(argument)", "x"],
            surrogate("gelu"),
        ),
    ],
)
def test_the_papers_surrogates_can_be_reached(answers, wanted):
    assert surrogate(to_text(derive(_shipped(), Follow(answers)))) == wanted


def test_the_depth_is_a_bound():
    rules = {"s": ("sigmoid(s)", "x")}
    for depth in range(1, 8):
        grammar, rng = Grammar("s", depth, rules, {}), random.Random(depth)
        deepest = max(str(sample(grammar, rng)).count("sigmoid") for _ in range(300))
        assert deepest == depth - 1


def test_repeated_names_are_derived_apart_and_constants_are_short():
    grammar = Grammar("s", 1, {"s": ("exp(-c*abs(x)) + c*x/(1 + x*x)",)}, {"c": Constant(0.1, 5.0, log=True)})
    rng = random.Random(0)
    texts = [derive_text(grammar, RandomChooser(rng)) for _ in range(50)]
    pairs = [re.findall(r"[\d.]+(?=\*)", text) for text in texts]
    assert any(first != second for first, second in pairs)
    assert all(len(number.replace(".", "").lstrip("0")) <= 4 for pair in pairs for number in pair)


def test_grids_and_single_options():
    grammar = Grammar("s", 2, {"s": ("a",), "a": ("c*sigmoid(x)",)}, {"c": Constant(grid=[0.5, -2.0])})
    chooser = Recorder(random.Random(0))
    texts = {derive_text(grammar, chooser) for _ in range(30) if not setattr(chooser, "now", [])}
    assert texts == {"(0.5*sigmoid(x))", "((-2)*sigmoid(x))"}
    assert chooser.asked == {"grammar.0.0.0.0": (0.5, -2.0)}


def test_all_faults_are_told_at_once():
    grammar = Grammar(
        "missing",
        0,
        {"a": ("sigmod(x)", "b +"), "exp": ("x",), "b": (), "c": ("x", "x")},
        {"c": Constant(2.0, 1.0), "d": Constant(0.0, 1.0, log=True), "f": Constant(grid=(float("nan"),))},
    )
    faults = "\n".join(grammar.faults())
    for part in ("max_depth", "start must", "'exp'", "rule or a constant", "constant c: low must be under high"):
        assert part in faults
    for part in ("constant d: low must be positive", "constant f:", "did you mean sigmoid", "well formed"):
        assert part in faults
    assert "rule b must have a production" in faults
    assert "must not repeat" in faults
    with pytest.raises(InputError, match="well formed"):
        grammar.checked()


def test_faults_of_shape():
    endless = Grammar("s", 3, {"s": ("sigmoid(s)",)}, {}).faults()
    assert any("able to end" in fault for fault in endless)
    shallow = Grammar("s", 2, {"s": ("sigmoid(t)",), "t": ("exp(u)",), "u": ("x",)}, {}).faults()
    assert any("max_depth must be at least 3" in fault for fault in shallow)
    unused = Grammar("s", 2, {"s": ("x",), "t": ("x",)}, {"k": Constant()}).faults()
    assert sum("must be used" in fault for fault in unused) == 2
    assert Grammar("s", 1, {"s": ("k*sigmoid(x)",)}, {"k": Constant(low="a")}).faults()
    assert _shipped().faults() == []
