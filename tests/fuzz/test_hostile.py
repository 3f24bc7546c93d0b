"""Hostile text in a short form: the corpus, and some seconds of random and nearly valid text, files and grammars."""

import random
import subprocess
import sys

import hostile
import pytest
from hypothesis import HealthCheck, given, settings
from mutations import REPEATABLE, TOML, letters, loosened, mutated, soup, spaces, tree, wild

from sugar_search.errors import FileError, InputError

SETTINGS = REPEATABLE | {"suppress_health_check": list(HealthCheck)}


@pytest.fixture(scope="module", autouse=True)
def warm():
    """Everything that is imported at first use, before anybody watches."""
    for text in ("bsilu", "where(x > 0, tanh(x)*sqrt(1 + x*x), x*exp(x))", "(1 + abs(x))**-1.7*erf(x)", "1/x", "bsil"):
        for check in (hostile.parse, hostile.surrogate):
            try:
                hostile.to_text(check(text)) if check is hostile.parse else check(text).id
            except InputError:
                continue


@pytest.mark.parametrize("text", list(hostile.corpus()), ids=lambda t: ascii(t)[1:31])
def test_the_corpus(text):
    hostile.check_formula(text)
    hostile.check_surrogate(text)
    hostile.check_shown(text)


@pytest.mark.parametrize("text", list(hostile.corpus("shown.jsonl")))
def test_formulas_that_once_could_not_be_shown(text):
    assert not isinstance(hostile.check_formula(text), InputError)
    hostile.check_surrogate(text)
    hostile.check_shown(text)
    hostile.check_activation(text)


@pytest.mark.parametrize("stored", hostile.stored(), ids=lambda s: s[0][:30])
def test_formulas_whose_parameters_were_once_refused(stored):
    assert not isinstance(hostile.check_bound(*stored), InputError)


@pytest.mark.parametrize("seed", range(2))
def test_wild_formulas_with_parameters_are_stored_or_refused(seed):
    rng = random.Random(seed)
    for _ in range(25):
        text, values = hostile.with_parameters(f"({tree(rng, rng.randint(1, 4))})*normal_pdf(x)", rng)
        hostile.check_bound(text, values, derived=rng.random() < 0.2)


@pytest.mark.parametrize("seed", range(2))
def test_wild_formulas_are_shown_in_time(seed):
    rng = random.Random(seed)
    for _ in range(100):
        hostile.check_shown(tree(rng, rng.randint(2, 7)))
    for _ in range(6):
        hostile.check_activation(f"({tree(rng, 2)})*normal_pdf(x)")


@pytest.mark.parametrize("seed", range(4))
def test_well_formed_but_wild_formulas_are_read_or_refused_at_once(seed):
    rng = random.Random(seed)
    for _ in range(250):
        hostile.check_formula(tree(rng, rng.randint(2, 7)))


@pytest.mark.long
def test_many_wild_formulas_and_surrogates():
    rng = random.Random(99)
    for _ in range(20_000):
        hostile.check_formula(tree(rng, rng.randint(2, 7)))
    for _ in range(3_000):
        hostile.check_surrogate(f"({tree(rng, rng.randint(2, 5))})*normal_pdf(x)")
        hostile.check_bound(*hostile.with_parameters(f"({tree(rng, rng.randint(2, 4))})*normal_pdf(x)", rng))
        hostile.check_shown(tree(rng, rng.randint(2, 7)))
    for _ in range(100):
        hostile.check_activation(f"({tree(rng, rng.randint(1, 3))})*normal_pdf(x)")


@settings(max_examples=600, **SETTINGS)
@given(soup | wild | letters | mutated())
def test_any_text_is_read_or_refused_at_once(text):
    hostile.check_formula(text)


@settings(max_examples=60, **SETTINGS)
@given(mutated() | soup)
def test_any_text_is_a_surrogate_or_refused(text):
    hostile.check_surrogate(text)


@settings(max_examples=120, **SETTINGS)
@given(mutated(seeds=tuple(map(loosened, spaces())), pieces=tuple(TOML)))
def test_any_search_space_file_loads_or_is_refused_in_one_line(tmp_path_factory, text):
    found = hostile.check_space(text.encode("utf-8", "surrogatepass"), tmp_path_factory.getbasetemp() / "space.toml")
    if isinstance(found, InputError):
        assert isinstance(found, FileError)
    else:
        hostile.check_draws(found, random.Random(1))


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[" * 100_000, b"a.b" * 3_000, b"x = [" * 5_000, b"a = 9" * 9999]
)
def test_broken_files_are_refused(tmp_path, content):
    assert isinstance(hostile.check_space(content, tmp_path / "space.toml"), FileError)


def test_the_watch_sees_what_it_is_there_for(tmp_path):
    """Each check that nothing is executed would fail if something were."""
    for code in ("import this_is_nothing", "open('/etc/hostname')", "eval('1 + 1')", "__import__('os').system('true')"):
        with pytest.raises(AssertionError, match=r"open|exec|import|compile|os"), hostile.nothing_executed():
            try:
                exec(code)
            except ImportError:
                continue
    with hostile.nothing_executed():
        hostile.parse("x")


def test_a_slow_parse_is_seen(monkeypatch):
    monkeypatch.setattr(
        hostile, "parse", lambda text: [i for i in range(4_000_000)] and hostile.InputError("a", 1, "b")
    )
    with pytest.raises(AssertionError, match="s for"):
        hostile.check_formula("x")


def test_the_command_line_gives_the_place_and_runs_nothing(tmp_path):
    command = [sys.executable, "-c", "from sugar_search.cli import main; main()", "show"]
    done = subprocess.run(
        [*command, "1 + __import__('os').system('touch hacked')"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and "column 5" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
