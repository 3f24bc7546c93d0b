"""What `convert` says: how many activations it replaced, and which it did not."""

import logging
from collections import Counter
from collections.abc import Sequence

from torch import nn

from sugar_search.activation.kinds import KINDS
from sugar_search.activation.module import SugarReLU
from sugar_search.activation.survey import Part
from sugar_search.errors import InputError

__all__ = ["nothing_found", "report", "report_leftover"]

log = logging.getLogger("sugar_search")


def _count(parts: Sequence[Part], unit: str = "site") -> str:
    """ "17 ReLU and 2 GELU sites"."""
    counts = Counter(part.kind for part in parts)
    total = sum(counts.values())
    return f"{' and '.join(f'{n} {KINDS[kind].title}' for kind, n in counts.items())} {unit}{'' if total == 1 else 's'}"


def _where(parts: Sequence[Part]) -> str:
    """ "(15 modules, 2 functional calls)"; nothing when all are modules."""
    modules = sum(not part.place for part in parts)
    calls = len(parts) - modules
    words = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((modules, "module"), (calls, "functional call")) if n]
    return f" ({', '.join(words)})" if calls else ""


def report(template: SugarReLU, chosen: Sequence[Part], blocked: Sequence[Part], others: Sequence[Part]) -> None:
    """Logs what was replaced, what was not, and where the forward changes."""
    title = template.surrogate.title
    log.info("converted %s%s to %s", _count(chosen), _where(chosen), title)
    to = "ReLU" if template.sugar else f"the activation of {title}"
    for kind, n in Counter(p.kind for p in chosen if p.kind != "relu" and not p.converted).items():
        log.warning("forward changes from %s to %s at %d site%s", KINDS[kind].title, to, n, "" if n == 1 else "s")
    if blocked:
        log.warning("not converted: %s; they keep their own gradient", _obstacles(blocked))
    left = [part for part in others if not part.converted]
    if left:
        log.info("left alone: %s; %s", _count(left), _remedy([*chosen, *left], "to convert them too"))


def report_leftover(counts: dict[str, int]) -> None:
    """Logs the calls that a run still made of plain activations, by kind."""
    for kind, n in counts.items():
        log.warning(
            "%d %s call%s stay%s plain: the code that makes them could not be found; use a module such as nn.%s or a "
            "function such as F.relu in forward itself, or surrogate_gradients(...) around the model",
            *(n, KINDS[kind].title, *(("", "s") if n == 1 else ("s", "")), KINDS[kind].title),
        )


def _obstacles(parts: Sequence[Part]) -> str:
    return ", ".join(
        f"{KINDS[p.kind].title} of {p.names[0] or type(p.module).__name__} ({p.obstacle})" for p in parts[:5]
    ) + (f" and {len(parts) - 5} more" if len(parts) > 5 else "")


def _remedy(parts: Sequence[Part], purpose: str) -> str:
    kinds = [kind for kind in KINDS if any(part.kind == kind for part in parts)]
    return f"give sites=({', '.join(map(repr, kinds))}{',' if len(kinds) == 1 else ''}) {purpose}"


def nothing_found(
    model: nn.Module, wanted: Sequence[str], blocked: Sequence[Part], others: Sequence[Part]
) -> InputError:
    """The error when no site of the kinds asked for can be converted."""
    titles = " or ".join(KINDS[kind].title for kind in wanted)
    rule = f"a model to convert must hold {titles} as modules or functional calls"
    if blocked:
        rule += f" that can be replaced (found {_obstacles(blocked)})"
    name = type(model).__name__
    if others:
        return InputError(rule, f"{name} with {_count(others)}", _remedy(others, "for those"))
    remedy = "write the activations as modules such as nn.ReLU()"
    return InputError(rule, name, f"{remedy}; calls made by other code: with surrogate_gradients(...)")
