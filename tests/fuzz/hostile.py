"""What must hold for any text: only our errors, at once, and nothing executed."""

import gc
import json
import re
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import sympy

from sugar_search import catalog
from sugar_search.errors import InputError
from sugar_search.report.notation import latex, pretty
from sugar_search.symbolic.integration.antiderivative import antiderivative
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import Surrogate, surrogate
from sugar_search.symbolic.text import to_text

CORPUS = Path(__file__).with_name("corpus")
PARSE_SECONDS, SURROGATE_SECONDS, SHOWN_SECONDS = 0.05, 0.5, 0.3
SEARCH_SECONDS = 0.2  # that sympy may search for an activation; what comes before and after it takes another 0.9 s
VALUES = (0.5, 1.67, 2.0, 3.0, 0.25, -1.5, 1e-3, 1 / 3, 2 / 3, 7.7, 1.2345, 1.23456789, 0.0, -2.0)

# Libraries that import parts of themselves when first used; nothing else may be imported.
_TRUSTED = ("sympy", "mpmath", "scipy", "numpy", "flint", "sugar_search", "pydantic", "annotated_types", "encodings")
_BAD = ("open", "exec", "import", "compile", "os.", "subprocess.", "socket.", "ctypes.", "shutil.", "marshal.", "pty.")
_seen: list[str] | None = None  # events while watching, else None
_readable: set[str] | None = None


def _hook(event, arguments):
    if _seen is None or not event.startswith(_BAD):
        return
    if event == "compile" and arguments[1] == "<unknown>":  # what ast.parse asks for: a tree, no code
        return
    if event == "import" and arguments[0].partition(".")[0] in _TRUSTED:
        return
    if event == "open" and _readable is not None and arguments[1] == "r" and str(arguments[0]) in _readable:
        return
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):  # of a trusted module: others are seen above
            return
        # Sympy makes functions of exponents from a template of its own and the number of symbols, not from our text.
        if frame.f_code.co_filename.endswith("sympy/polys/monomials.py"):
            return
        frame = frame.f_back
    _seen.append(f"{event} {arguments!r}"[:300])


sys.addaudithook(_hook)


@contextmanager
def nothing_executed(readable=None):
    """Fails if the block runs code, opens a file (but to read one of `readable`), imports or starts anything."""
    global _seen, _readable
    events = []
    _seen, _readable = events, readable
    try:
        yield
    finally:
        _seen = _readable = None
    assert not events, events


def corpus(name="hostile.jsonl"):
    """The texts of a file of the corpus: a string, or pieces with how often each is repeated."""
    lines = (CORPUS / name).read_text(encoding="utf-8").splitlines()
    for value in map(json.loads, lines):
        yield value if isinstance(value, str) else "".join(piece * count for piece, count in value)


def stored():
    """The formulas of corpus/parameters.jsonl with the values of their parameters."""
    return [tuple(json.loads(line)) for line in (CORPUS / "parameters.jsonl").read_text(encoding="utf-8").splitlines()]


def timed(call, text):
    """The result, or the error if it is one of ours, and the CPU time."""
    start = time.process_time()
    try:
        result = call(text)
    except InputError as error:
        result = error
    return result, time.process_time() - start


def within(call, text, seconds):
    """The result, or our error; a slow call is tried again without sympy's memory, as the clock may lie."""
    result, took = timed(call, text)
    for _ in range(2):
        if took <= seconds:
            break
        sympy.core.cache.clear_cache()
        gc.collect()
        result, again = timed(call, text)
        took = min(took, again)
    assert took <= seconds, f"{took:.3f} s for {text[:2000]!r}"
    if isinstance(result, InputError):
        message = str(result)
        assert len(message) < 1500 and "\n" not in message, message
    return result


def check_formula(text):
    """Parses at once or is refused in place; its text means the same again."""
    with nothing_executed():
        found = within(parse, text, PARSE_SECONDS)
        if isinstance(found, InputError):
            assert found.rule.startswith("column "), found
        else:
            assert parse(to_text(found)) == found, text
    return found


def check_surrogate(text):
    """A surrogate or our error, within half a second; its text gives the same one."""
    with nothing_executed():
        found = within(surrogate, text, SURROGATE_SECONDS)
        if not isinstance(found, InputError):
            assert surrogate(found.text).id == found.id, text
    return found


def with_parameters(text, rng, names="ab"):
    """The text with some of its numbers replaced by names, and the values of those that occur."""
    parts = re.split(r"(?<![\w.])(\d[\d.e-]*)(?![\w.])", text)
    for i in range(1, len(parts), 2):
        if rng.random() < 0.5:
            parts[i] = rng.choice(names)
    text = "".join(parts)
    return text, {name: rng.choice(VALUES) for name in names if re.search(rf"\b{name}\b", text)}


def check_bound(text, values, derived=False):
    """A surrogate with parameters, by its derivative or its activation: as `check_surrogate`, and it can be stored."""

    def build(text):
        return surrogate(activation=text, **values) if derived else surrogate(text, **values)

    with nothing_executed():
        found = within(build, text, SURROGATE_SECONDS)
        if not isinstance(found, InputError):
            assert surrogate(found.text).id == found.id, (text, values)
            again = Surrogate.from_dict(json.loads(json.dumps(found.to_dict())))
            assert again.id == found.id and again.to_dict() == found.to_dict(), (text, values)
    return found


def check_shown(text):
    """A legal formula is written in both notations, within the time limit."""
    try:
        expression = parse(text)
    except InputError:
        return
    for draw in (latex, pretty):
        assert within(lambda _, draw=draw: draw(expression), text, SHOWN_SECONDS)


def check_activation(text):
    """An activation is found or not, within the time limit."""
    try:
        expression = parse(text)
    except InputError:
        return
    start = time.monotonic()
    antiderivative(expression, SEARCH_SECONDS)
    took = time.monotonic() - start
    assert took <= SEARCH_SECONDS + 0.9, f"{took:.3f} s for {text[:2000]!r}"


def check_space(content, path):
    """A search space's bytes: loaded, or one error line that names the file."""
    from sugar_search.search.space import load_space

    path.write_bytes(content)
    # A mixed space names shipped ones.
    with nothing_executed({str(path), *map(str, catalog.find("spaces").values())}):
        found, took = timed(lambda _: load_space(str(path)), None)
    assert took <= SURROGATE_SECONDS, f"{took:.3f} s for {content[:300]!r}"
    if isinstance(found, InputError):
        assert "\n" not in str(found), found
    return found


class Chance:
    """A chooser by chance."""

    def __init__(self, rng):
        self.rng = rng

    def categorical(self, name, options, weights=None):
        return self.rng.choices(list(options), weights)[0]

    def float(self, name, low, high, log):
        return low * (high / low) ** self.rng.random() if log else self.rng.uniform(low, high)


def check_draws(space, rng, count=3):
    """What a space that loads may propose: surrogates, or our error; never anything else."""
    for _ in range(count):
        with nothing_executed(set(map(str, catalog.find("spaces").values()))):
            found, took = timed(lambda _: space.draw(Chance(rng)), None)
        assert took <= 4 * SURROGATE_SECONDS, f"{took:.3f} s"
        if isinstance(found, InputError):
            assert "\n" not in str(found), found
