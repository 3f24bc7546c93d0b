"""Coverage-guided fuzzing of the parser, surrogates, search-space files and the grammar, by atheris.

    python tests/fuzz/target.py FOLDER -max_total_time=600 -dict=tests/fuzz/corpus/formula.dict -timeout=10

The first byte picks what is tried, the rest is its text. FOLDER collects inputs that reach new code. A fault stops the
run with exit code 77 and prints the text; add it to corpus/hostile.jsonl.
"""

import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["sugar_search.symbolic", "sugar_search.search.space", "sugar_search.schema"]):
    import hostile

    from sugar_search import catalog
    from sugar_search.errors import InputError
    from sugar_search.search import space as _  # noqa: F401

from mutations import SEEDS

SLOWDOWN = 8  # what instrumentation may cost, beside which the limits hold
FORMULA, SURROGATE, SPACE = b"f", b"s", b"t"


def one(data: bytes) -> None:
    """One input."""
    kind, text = data[:1], data[1:]
    if kind == SPACE:
        found = hostile.check_space(text, PATH)
        if not isinstance(found, InputError):
            hostile.check_draws(found, random.Random(0), 1)
        return
    check = hostile.check_surrogate if kind == SURROGATE else hostile.check_formula
    check(text.decode("utf-8", "replace"))


def seeds(folder: Path) -> None:
    """Writes valid inputs to start from."""
    spaces = [path.read_bytes() for path in catalog.find("spaces").values()]
    known = [kind + text.encode() for text in SEEDS for kind in (FORMULA, SURROGATE)]
    for index, data in enumerate([*known, *(SPACE + text for text in spaces)]):
        (folder / f"seed-{index}").write_bytes(data)


if __name__ == "__main__":
    seeds(Path(sys.argv[1]))
    hostile.PARSE_SECONDS *= SLOWDOWN
    hostile.SURROGATE_SECONDS *= SLOWDOWN
    with tempfile.TemporaryDirectory() as scratch:
        PATH = Path(scratch) / "space.toml"
        for path in sorted(Path(sys.argv[1]).glob("seed-*")):  # whatever is imported and listed at first use
            try:
                one(path.read_bytes())
            except AssertionError as error:
                print(f"warming up: {error}")
        atheris.Setup(sys.argv, one)
        atheris.Fuzz()
