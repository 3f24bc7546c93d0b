"""The rules of a search space against a certificate."""

from collections.abc import Iterator

from sugar_search.symbolic.certificates.admission import Admit
from sugar_search.symbolic.certificates.certificate import Certificate, certificate
from sugar_search.symbolic.certificates.enclosure import Enclosure, Status, Verdict
from sugar_search.symbolic.tape import Tape

__all__ = ["broken"]

# An enclosure this narrow beside the limit that it holds is not told from it: a gain of exactly 1 obeys max_gain = 1.
_NARROW = 1e-9

_Rule = tuple[str, str, Enclosure | None, float | None, float | None]


def broken(tape: Tape, admit: Admit) -> Verdict | None:
    """The first rule that g breaks or is not proven to obey; None if there is none. g must be proven bounded."""
    proven = certificate(tape, admit.max_abs)
    for name, what, value, low, high in _rules(proven, admit):
        if low is None and high is None:
            continue
        if verdict := _judge(name, what, value, low, high):
            return verdict
    sides = {"none": (), "negative": (0,), "positive": (1,), "both": (0, 1)}[admit.vanishing_tails]
    for side in sides:
        limit, end = proven.limits[side], ("-oo", "+oo")[side]
        if limit is None or (limit.low, limit.high) != (0.0, 0.0):
            known = limit is not None and 0.0 not in limit
            status = Status.REFUTED if known else Status.UNPROVEN
            return Verdict(status, "vanishing_tails", _limit_told(limit, end))
    return None


def _limit_told(limit: Enclosure | None, end: str) -> str:
    if limit is None:
        return f"is not proven to vanish as x -> {end}: its limit is not known"
    if limit.width == 0:
        return f"tends to {limit.low!r} as x -> {end}"
    return f"is not proven to vanish as x -> {end}: its limit is in [{limit.low!r}, {limit.high!r}]"


def _rules(c: Certificate, admit: Admit) -> Iterator[_Rule]:
    """Each rule as (name, words, what it bounds, least, most)."""
    mass = "a mass of E[|g(z)|; z < 0] ="
    yield "min_negative_mass", mass, c.negative_mass, admit.min_negative_mass, None
    yield "max_negative_mass", mass, c.negative_mass, None, admit.max_negative_mass
    yield "min_gain", "a gain of", c.gain, admit.min_gain, None
    yield "max_gain", "a gain of", c.gain, None, admit.max_gain
    yield "max_jump", "a largest jump of", _jump(c), None, admit.max_jump
    yield "max_lipschitz", "a Lipschitz constant of", _lipschitz(c), None, admit.max_lipschitz
    count = None if c.sign_changes is None else Enclosure(float(len(c.sign_changes)), float(len(c.sign_changes)))
    yield "max_sign_changes", "a number of sign changes of", count, None, admit.max_sign_changes


def _judge(name: str, what: str, value: Enclosure | None, low: float | None, high: float | None) -> Verdict | None:
    limit = low if low is not None else high
    assert limit is not None
    if value is None:
        return Verdict(Status.UNPROVEN, name, f"is not proven to obey {name} = {limit!r}")
    if value.low >= limit if low is not None else value.high <= limit:
        return None
    if limit in value and value.width <= _NARROW * (abs(limit) or 1.0):
        return None
    breaks = value.high < limit if low is not None else value.low > limit
    told = str(value) if str(value) != f"{limit:g}" else f"[{value.low!r}, {value.high!r}]"
    detail = f"has {what} {told}, {name} is {limit!r}"
    return Verdict(Status.REFUTED if breaks else Status.UNPROVEN, name, detail)


def _jump(c: Certificate) -> Enclosure | None:
    if c.breaks is None:
        return None
    low = high = 0.0
    for b in c.breaks:
        for u, v in ((b.left, b.right), (b.left, b.value), (b.right, b.value)):
            low = max(low, u.low - v.high, v.low - u.high)
            if b.kind == "jump" or u != v:
                high = max(high, u.high - v.low, v.high - u.low)
    return Enclosure(low, high)


def _lipschitz(c: Certificate) -> Enclosure | None:
    if not c.pieces or any(piece.lipschitz is None for piece in c.pieces):
        return None
    known = [piece.lipschitz for piece in c.pieces if piece.lipschitz is not None]
    return Enclosure(max(k.low for k in known), max(k.high for k in known))
