"""Writes a surrogate as one stand-alone Python file that needs torch alone and checks itself.

The file is `_template.py` with its docstring, its code and its table of exact values replaced. Text that comes from
outside (results, provenance, formulas) only ever lands in the docstring, escaped.
"""

import contextlib
import os
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from sugar_search.activation.accuracy import code_errors
from sugar_search.activation.exact import compile_tape
from sugar_search.activation.table.words import table_facts
from sugar_search.errors import FileError
from sugar_search.symbolic.certificates.certificate import certificate
from sugar_search.symbolic.certificates.words import certificate_lines
from sugar_search.symbolic.source import torch_source
from sugar_search.symbolic.surrogate import Surrogate
from sugar_search.symbolic.tape import Tape, clamp_bound

__all__ = ["export", "source"]

# Points that float64, float32, bfloat16 and float16 all hold exactly: at most 8 significant bits, 2**-14 to 65504.
_POSITIVE = (
    *(2.0**-14, 2.0**-7, 0.0625, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0, 1.125, 1.25, 1.375, 1.5, 1.75),
    *(2.0, 2.25, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0, 32.0, 100.0, 59392.0),
)
POINTS = (*(-x for x in reversed(_POSITIVE)), 0.0, *_POSITIVE)

# Errors over the largest |g| that the self-check allows where the formula itself is not worse conditioned.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 4e-3, torch.float16: 5e-4}

_WIDTH = 100


def export(
    surrogate: Surrogate,
    path: str | os.PathLike[str],
    *,
    results: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Writes `surrogate` as a stand-alone module with `SugarReLU`, `convert` and a self-check.

    Args:
        surrogate: what to write.
        path: the file; an existing one is replaced in one step.
        results: what was measured, by name; becomes part of the docstring.
        provenance: where the surrogate comes from (study, arch, dataset, versions, date), likewise.

    Returns:
        The path written.

    Raises:
        FileError: the file cannot be written.
    """
    target = Path(path)
    if not target.name:
        raise FileError("the exported file must have a name", str(path), "give one such as best_surrogate.py")
    text = source(surrogate, results=results, provenance=provenance)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        remedy = "give a file in an existing folder you may write to"
        raise FileError(f"the exported file must be writable ({error.strerror})", str(target), remedy) from error
    return target


def source(
    surrogate: Surrogate, *, results: Mapping[str, Any] | None = None, provenance: Mapping[str, Any] | None = None
) -> str:
    """The text that `export` writes."""
    template = Path(__file__).with_name("_template.py").read_text(encoding="utf-8")
    _, _, body = template.partition("\nimport sys\n")
    blocks = {
        "clamp": _clamp(surrogate.tape),
        "code": _code(surrogate.tape),
        "points": _points(surrogate.tape),
        "tolerance": _tolerance(surrogate.tape),
    }
    for name, block in blocks.items():
        before, rest = re.split(rf"(?m)^ *# <{name}>\n", body)
        body = before + block + re.split(rf"(?m)^ *# </{name}>\n", rest)[1]
    return f'"""{_docstring(surrogate, results or {}, provenance or {})}\n"""\n\nimport sys\n{body}'


def _clamp(tape: Tape) -> str:
    bound = repr(clamp_bound(tape)).replace("e+", "e")
    return (
        "    # Beyond this bound intermediate steps may overflow; the derivative has settled before.\n"
        f"    x = x.clamp(-{bound}, {bound})\n"
    )


def _code(tape: Tape) -> str:
    lines, result = torch_source(tape)
    return "".join(f"    {line}\n" for line in (*lines, f"result = {result}"))


def _exact(tape: Tape) -> list[tuple[float, float]]:
    """The points where the clamp does nothing, with the float64 nearest to the 50-digit value."""
    bound = clamp_bound(tape)
    return [(x, float(tape.mpmath(x, 50))) for x in POINTS if abs(x) <= bound]


def _points(tape: Tape) -> str:
    rows = "".join(f"    ({x!r}, {g!r}),\n" for x, g in _exact(tape))
    return (
        "# (x, derivative at x), computed with 50 digits; every floating type from float64 to float16 holds these x.\n"
        f"POINTS = (\n{rows})\n"
    )


def _tolerance(tape: Tape) -> str:
    """The allowed errors: the usual ones, or eight times the measured ones where the formula cancels badly."""
    function, pairs = compile_tape(tape), _exact(tape)
    x, wanted = torch.tensor(pairs, dtype=torch.float64).T
    scale = wanted.abs().max()
    rows = []
    for dtype, usual in TOLERANCE.items():
        measured = float((function(x.to(dtype)).double() - wanted).abs().max() / scale)
        rows.append(f"    {dtype}: {max(usual, float(f'{8 * measured:.1e}')) if measured > usual else usual!r},\n")
    return "# Largest error over the largest |derivative|.\nTOLERANCE = {\n" + "".join(rows) + "}\n"


def _docstring(surrogate: Surrogate, results: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """Formula, parameters, provenance and results as text that cannot end the docstring."""
    facts: dict[str, Any] = {"derivative": surrogate.text}
    if surrogate.activation_text is not None:
        facts["activation"] = surrogate.activation_text
    facts |= {"value at 0": repr(surrogate.value_at_zero)}
    facts |= {f"parameter {name}": repr(value) for name, value in surrogate.parameters}
    facts |= {"region": surrogate.region, "source": surrogate.source}
    lines = [f"ReLU with a surrogate gradient: {surrogate.title}"[:_WIDTH] + ".", ""]
    lines += _section("Surrogate", facts) + _section("Certificate", _proven(surrogate))
    lines += _section("Provenance", provenance) + _section("Results", results)
    lines += ["Use: `from <this file> import SugarReLU, convert`. Run this file to check it."]
    return "\n".join(_escaped(line).rstrip() for line in lines)


def _proven(surrogate: Surrogate) -> dict[str, str]:
    """What is proven of the derivative, and how far its table and this code stray from it."""
    rows: dict[str, list[str]] = {}
    label = ""
    for name, text in certificate_lines(certificate(surrogate.tape)):
        label = name or label
        rows.setdefault(label, []).append(text)
    errors = ", ".join(f"{name} {value:.1e}" for name, value in code_errors(surrogate).items())
    rows["table in training"] = [str(table_facts(surrogate.tape))]
    rows["code errors"] = [f"{errors} (worst |code - g| over max |g|)"]
    return {name: "; ".join(texts) for name, texts in rows.items()}


def _section(title: str, facts: Mapping[str, Any]) -> list[str]:
    if not facts:
        return []
    lines = [f"{title}:"]
    for name, value in facts.items():
        lines += textwrap.wrap(f"{name}: {_flat(value)}", _WIDTH, initial_indent="    ", subsequent_indent="        ")
    return [*lines, ""]


def _flat(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_flat(inner)}" for name, inner in value.items())
    return value if isinstance(value, str) else repr(value)


def _escaped(line: str) -> str:
    """`line` for a docstring: backslashes, triple quotes and whatever does not print become escapes."""

    def pieces() -> Iterator[str]:
        for character in line.replace("\\", "\\\\").replace('"""', r"\"\"\""):
            yield character if character.isprintable() else character.encode("unicode_escape").decode()

    return "".join(pieces())
