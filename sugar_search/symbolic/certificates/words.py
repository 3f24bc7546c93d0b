"""A certificate as labelled lines: what is proven of a surrogate, and what is not."""

from math import isinf

from sugar_search.symbolic.certificates.certificate import Certificate
from sugar_search.symbolic.certificates.enclosure import Break, Enclosure, Extremum, Piece

__all__ = ["certificate_lines"]

Row = tuple[str, str]


def certificate_lines(proven: Certificate) -> list[Row]:
    """Label and text of each property, those that are not proven last, with their cause."""
    rows: list[Row] = [("admission", f"{proven.verdict.status.value}{_because(proven)}")]
    for label, extremum in (("minimum", proven.minimum), ("maximum", proven.maximum)):
        if extremum is not None:
            rows.append((label, f"{extremum.value} {_where(extremum)}"))
    limits = [f"{limit} as x -> {side}" for limit, side in zip(proven.limits, ("-oo", "+oo")) if limit is not None]
    if limits:
        rows.append(("limits", ", ".join(limits)))
    if proven.sign_changes is not None:
        rows.append(("sign changes", ", ".join(map(_at, proven.sign_changes)) or "none"))
    if proven.breaks is not None:
        rows += _several("breaks", [_break(b) for b in proven.breaks] or ["none: g is smooth"])
    rows += _several("Lipschitz", [_piece(p) for p in proven.pieces if p.lipschitz is not None])
    if proven.gain is not None:
        rows.append(("gain", f"{proven.gain} (E[g(z)^2]/0.5 for z ~ N(0, 1); ReLU has 1)"))
    if proven.mean is not None:
        rows.append(("mean", f"{proven.mean} (E[g(z)]; ReLU has 0.5)"))
    if proven.negative_mass is not None:
        rows.append(("negative mass", f"{proven.negative_mass} (E[|g(z)|; z < 0]; ReLU has 0)"))
    return rows + _several("unproven", list(proven.unproven))


def _several(label: str, texts: list[str]) -> list[Row]:
    return [(label if i == 0 else "", text) for i, text in enumerate(texts)]


def _because(proven: Certificate) -> str:
    if proven.verdict.proven:
        return ": finite and bounded on the whole real line"
    return f": {proven.verdict.detail or proven.verdict.reason}"


def _where(extremum: Extremum) -> str:
    if extremum.at is not None:
        return f"at {_at(extremum.at)}"
    return f"as x -> {extremum.tail}" if extremum.tail else "(place not known)"


def _at(place: Enclosure) -> str:
    """A point, or the interval in which it lies (all of which may be meant: ReLU's derivative is 1 on all of it)."""
    text = str(place)
    return f"x in {text}" if text.startswith("[") else f"x = {text}"


def _break(b: Break) -> str:
    if b.kind == "jump":
        return f"jump at {_at(b.at)}: from {b.left} to {b.right}, g there {b.value}"
    return f"kink at {_at(b.at)}: g there {b.value}"


def _piece(p: Piece) -> str:
    return f"{p.lipschitz} {_interval(p.low, p.high)}"


def _interval(low: float, high: float) -> str:
    if isinf(low) and isinf(high):
        return "on the whole line"
    if isinf(low):
        return f"for x < {_number(high)}"
    return f"for x > {_number(low)}" if isinf(high) else f"for {_number(low)} < x < {_number(high)}"


def _number(value: float) -> str:
    return str(Enclosure(value, value))
