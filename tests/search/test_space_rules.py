"""Grammar spaces in TOML, what a space admits, and which refusals are told with which reason."""

import contextlib
import dataclasses
import pickle
import random

import pytest

from sugar_search.errors import FileError, FormulaError
from sugar_search.search.pinned import load_baselines
from sugar_search.search.space import Refused, load_space
from sugar_search.search.space_table import AdmitTable
from sugar_search.symbolic.certificates.admission import Admit
from sugar_search.symbolic.grammar.derivation import RandomChooser
from sugar_search.symbolic.surrogate import surrogate

GRAMMAR = """
description = "x"
kind = "grammar"
start = "s"
max_depth = 2
[rules]
s = ["sigmoid(t)", { formula = "k*normal_pdf(t)", weight = 3 }]
t = ["x", "k*x"]
[constants]
k = { low = 0.5, high = 2.0 }
"""


@pytest.fixture
def write(tmp_path):
    """Writes a space and loads it; the pairs replace text."""

    def make(text, *pairs):
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "space.toml"
        path.write_text(text)
        return load_space(str(path))

    return make


def refusals(space, count=20):
    """The reasons of the draws that are refused, or None where one is admitted."""
    chooser, found = RandomChooser(random.Random(0)), []
    for _ in range(count):
        try:
            space.draw(chooser)
        except FormulaError as refused:
            found.append(refused.reason)
        else:
            found.append(None)
    return found


def test_a_plain_production_has_weight_one(write):
    a = write(GRAMMAR)
    b = write(GRAMMAR, ('"sigmoid(t)"', '{ formula = "sigmoid(t)" }'))
    assert a.content.grammar.rules["s"] == b.content.grammar.rules["s"]
    assert [p.weight for p in a.content.grammar.rules["s"]] == [1.0, 3.0]
    assert a.digest == b.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("weight = 3", "weight = 2"),
        ("max_depth = 2", "max_depth = 3"),
        ("max_depth = 2", "max_depth = 2\nmax_size = 30"),
        ("max_depth = 2", 'max_depth = 2\nsizes = "uniform"'),
        ("max_depth = 2", 'max_depth = 3\npositive = "one"'),
        ("high = 2.0", "high = 2.0, parameter = true"),
        ("low = 0.5, high = 2.0", "grid = [0.5, 2.0]"),
        ("[rules]", "[admit]\nmax_abs = 10.0\n[rules]"),
        ("[rules]", "[admit]\nmax_gain = 2.0\n[rules]"),
    ],
)
def test_the_digest_changes_with_whatever_changes_the_draws(write, old, new):
    assert write(GRAMMAR).digest != write(GRAMMAR, (old, new)).digest


def test_a_mixed_space_has_the_digest_of_its_parts_rules(write):
    mixed = 'description = "x"\nkind = "mixed"\nspaces = ["families", "grammar"]\n'
    assert write(mixed).digest == load_space("mixed").digest
    assert write(mixed + "[admit]\nmax_abs = 10.0\n").digest != load_space("mixed").digest


def test_positive_makes_every_draw_one_sided(write):
    rng = RandomChooser(random.Random(0))
    one = write(GRAMMAR, ("max_depth = 2", 'max_depth = 3\npositive = "one"'))
    rule = write(GRAMMAR, ("max_depth = 2", 'max_depth = 3\npositive = "t"'), ('["x", "k*x"]', '["k", "exp(-abs(x))"]'))
    assert all(float(one.draw(rng).tape.mpmath(x)) == 1 for _ in range(10) for x in (0.1, 5))
    values = {round(float(rule.draw(rng).tape.mpmath(50)), 3) for _ in range(20)}
    assert len(values) > 5 and 0 in values


@pytest.mark.parametrize("constant", ["low = 0.5, high = 2.0", "grid = [0.5, 0.7, 2.0]"])
def test_parameters_are_named_in_what_is_drawn(write, constant):
    space = write(GRAMMAR, ("low = 0.5, high = 2.0", f"{constant}, parameter = true"))
    chooser = RandomChooser(random.Random(0))
    drawn = [space.draw(chooser) for _ in range(30)]
    assert {name for s in drawn for name, _ in s.parameters} == {"k", "k_2"}
    # Two spellings of one function: the named one is found by the space that only knows numbers.
    assert all(write(GRAMMAR).choices(s) is not None for s in drawn)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('positive = "one"', 'positive = "two"', "positive must be one or the name of a rule, got 'two'"),
        ("weight = 3", "weight = -3", "weight must be a number from 0.001 to 1000, got -3"),
        ("weight = 3", "wait = 3", "wait: is unknown, allowed here are formula, weight"),
        ("weight = 3", 'weight = "much"', "rules.s.1.weight: must be a valid number"),
        ("low = 0.5, high = 2.0", "low = 0.5", "must have low and high, or a grid"),
        ("low = 0.5, high = 2.0", "low = 0.5, high = 2.0, grid = [1.0]", "either a grid or low, high and log"),
        ("low = 0.5, high = 2.0", "grid = []", "constants.k.grid"),
        ("low = 0.5, high = 2.0", "low = 0.5, hihg = 2.0", "hihg: is unknown, allowed here are low, high, log"),
        ("max_depth = 3", "max_depth = 3\nmax_size = 151", "max_size"),
        ("max_depth = 3", "max_depth = 3\nmax_size = 2", "must fit into max_depth 3 and max_size 2"),
        ("max_depth = 3", 'max_depth = 3\nsizes = "large"', "sizes: must be grammar or uniform"),
        ("max_depth = 3", "max_depth = 2", "max_depth must be at least 3"),
        ('t = ["x", "k*x"]', 't = "x"', "t must be a list of productions"),
        ("[rules]", "[admit]\nmax_abs = 0\n[rules]", "max_abs must be over 0"),
        ("[rules]", "[admit]\nmin_gain = 2.0\nmax_gain = 1.0\n[rules]", "min_gain must not exceed max_gain"),
        ("[rules]", '[admit]\nvanishing_tails = "left"\n[rules]', "admit.vanishing_tails: must be none, negative"),
        ("[rules]", "[admit]\nmax_again = 1.0\n[rules]", "max_again: is unknown"),
    ],
)
def test_faults_are_told_in_one_line(write, old, new, words):
    with pytest.raises(FileError) as caught:
        write(GRAMMAR, ("max_depth = 2", 'max_depth = 3\npositive = "one"'), (old, new))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_table_has_the_rules_of_admit_and_its_defaults():
    ours = {name: field.default for name, field in AdmitTable.model_fields.items()}
    assert ours == {field.name: field.default for field in dataclasses.fields(Admit)}
    assert AdmitTable().rules == Admit()


def test_a_refusal_carries_its_reason_through_pickling():
    refused = Refused("max_gain", "its gain is 3", "3*sigmoid(x)")
    again = pickle.loads(pickle.dumps(refused))
    assert (again.reason, again.detail, str(again)) == ("max_gain", "its gain is 3", str(refused))
    assert isinstance(again, FormulaError)


def test_what_a_space_does_not_admit_is_refused_with_the_reason(write):
    families = 'description = "x"\nkind = "families"\n[families.selu]\n[families.gelu]\n'
    assert set(refusals(write(families))) == {None}
    tight = write(families + "[admit]\nmax_abs = 1.2\n")
    assert set(refusals(tight)) == {None, "too large"}
    assert [s.name for s in load_baselines() if tight.choices(s) is not None] == ["gelu"]
    gain = write(families + "[admit]\nmax_gain = 1.5\n")
    assert set(refusals(gain)) == {None, "max_gain"}
    grammar = write(GRAMMAR, ("[rules]", '[admit]\nvanishing_tails = "positive"\n[rules]'))
    assert set(refusals(grammar)) == {None, "vanishing_tails"}


def test_a_mixed_space_obeys_its_own_rules_and_those_of_its_parts(write, monkeypatch):
    from sugar_search.search import space

    text = 'description = "x"\nkind = "mixed"\nspaces = ["families", "grammar"]\n'
    rules = "[admit]\nmax_abs = 1.0\n"
    assert {"too large", None} <= set(refusals(write(text + rules), 60))
    strict = space._parts("families").model_copy(update={"admit": AdmitTable(max_abs=1e-3)})
    parts = {"families": strict, "grammar": space._parts("grammar")}
    monkeypatch.setattr(space, "_parts", parts.__getitem__)
    mixed = write(text)
    assert {"too large", None} == set(refusals(mixed, 30))
    # A baseline that the first part refuses is still found in the second.
    assert all(mixed.choices(s)["space"] == "grammar" for s in load_baselines())


class _Names:
    """Notes what each name is asked for."""

    def __init__(self, rng):
        self.inner, self.asked = RandomChooser(rng), {}

    def categorical(self, name, options, weights=None):
        assert self.asked.setdefault(name, tuple(options)) == tuple(options), name
        return self.inner.categorical(name, options, weights)

    def float(self, name, low, high, log):
        assert self.asked.setdefault(name, (low, high, log)) == (low, high, log), name
        return self.inner.float(name, low, high, log)


def test_two_grammars_in_one_space_ask_by_names_of_their_own(write):
    space = write('description = "x"\nkind = "mixed"\nspaces = ["grammar", "one_sided", "families"]\n')
    names = _Names(random.Random(0))
    for _ in range(60):
        with contextlib.suppress(FormulaError):
            space.draw(names)
    assert any(name.startswith("grammar") for name in names.asked)
    assert any(name.startswith("one_sided.grammar") for name in names.asked)
    assert "family" in names.asked
    wanted = load_space("one_sided").draw(RandomChooser(random.Random(3)))
    choices = space.choices(wanted)
    assert choices["space"] in ("grammar", "one_sided")
    with pytest.raises(FileError, match="twice"):
        write('description = "x"\nkind = "mixed"\nspaces = ["grammar", "grammar"]\n')


def test_the_order_of_families_is_part_of_a_space(write):
    """It is the order of a choice's options, which a stored study keeps."""
    one = write('description = "x"\nkind = "families"\n[families.gelu]\n[families.mish]\n')
    two = write('description = "x"\nkind = "families"\n[families.mish]\n[families.gelu]\n')
    assert one.digest != two.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("weight = 3", "weight = true"),
        ("max_depth = 2", "max_depth = true"),
        ("low = 0.5, high = 2.0", "grid = [true, 2.0]"),
        ("[rules]", "[admit]\nmax_sign_changes = true\n[rules]"),
        ("[rules]", "[admit]\nmax_abs = 2000.0\n[rules]"),  # what trains is within 1000 anyway
    ],
)
def test_values_of_the_wrong_kind_are_refused(write, old, new):
    with pytest.raises(FileError):
        write(GRAMMAR, (old, new))


def test_the_reason_of_a_refusal_survives_a_process_border():
    with pytest.raises(FormulaError) as caught:
        surrogate("1500*sigmoid(x)")
    assert "exceeds 1000 in size" in str(caught.value)
    assert caught.value.reason == "too large"
    assert pickle.loads(pickle.dumps(caught.value)).reason == "too large"
