"""Admission: a proof that a surrogate derivative is finite and bounded on the whole real line.

The tails come from asymptotic rules, the interval between them from subdivision in ball arithmetic. Nothing is sampled:
PROVEN holds for every real x, REFUTED names a point or a tail, and whatever is left is UNPROVEN with its cause.
"""

import sys
from dataclasses import dataclass, fields
from functools import lru_cache

from sugar_search.symbolic.certificates.enclosure import Status, Verdict
from sugar_search.symbolic.tape import Tape

__all__ = ["MAX_ABS", "PRECISION", "VANISHING", "Admit", "Status", "Verdict", "admission", "refusal"]

MAX_ABS = 1000.0
PRECISION = 64  # bits
VANISHING = ("none", "negative", "positive", "both")
_PAIRS = (("min_negative_mass", "max_negative_mass"), ("min_gain", "max_gain"))


@dataclass(frozen=True)
class Admit:
    """What a search space admits; None means no rule.

    Attributes:
        max_abs: |g| everywhere. That g keeps a limit which it reaches is proven where its form shows it, as for 1 and
            sigmoid(x); it may be "not decided", as for 1 and u/(1 + u**2)*2 with u = x - 0.1: allow a little more.
        min_negative_mass: E[|g(z)|; z < 0] for z ~ N(0, 1).
        max_negative_mass: the same.
        min_gain: E[g(z)**2]/0.5.
        max_gain: the same.
        max_jump: largest jump of g.
        max_lipschitz: sup |g'| between the breaks.
        max_sign_changes: number of points where g changes sign.
        vanishing_tails: where g must tend to 0: "none", "negative" (x -> -oo), "positive" or "both".
    """

    max_abs: float = MAX_ABS
    min_negative_mass: float | None = None
    max_negative_mass: float | None = None
    min_gain: float | None = None
    max_gain: float | None = None
    max_jump: float | None = None
    max_lipschitz: float | None = None
    max_sign_changes: int | None = None
    vanishing_tails: str = "none"

    def faults(self) -> list[str]:
        """What is wrong with the rules, one clause each."""
        found = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "vanishing_tails" or (value is None and field.name != "max_abs"):
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and abs(value) > sys.float_info.max:
                found.append(f"{field.name} must be a number of 0 or more, got {_beyond(value)}")
            elif not number or not value >= 0:
                found.append(f"{field.name} must be a number of 0 or more, got {value!r}")
            elif field.name == "max_abs" and value == 0:
                found.append("max_abs must be over 0, got 0")
            elif field.name == "max_sign_changes" and value != int(value):
                found.append(f"max_sign_changes must be a whole number, got {value!r}")
        if self.vanishing_tails not in VANISHING:
            found.append(f"vanishing_tails must be one of {', '.join(VANISHING)}, got {self.vanishing_tails!r}")
        if not found:
            for low, high in _PAIRS:
                a, b = getattr(self, low), getattr(self, high)
                if a is not None and b is not None and a > b:
                    found.append(f"{low} must not exceed {high}, got {a:g} and {b:g}")
        return found

    @property
    def needs_certificate(self) -> bool:
        """Whether a rule asks for more than admission."""
        return any(getattr(self, f.name) != f.default for f in fields(self) if f.name != "max_abs")


def _beyond(value: float) -> str:
    """A number that no float holds, without its many digits."""
    if isinstance(value, float):
        return repr(value)
    return "one beyond 1.8e308" if value > 0 else "one below -1.8e308"


@lru_cache(maxsize=4096)
def admission(tape: Tape, max_abs: float = MAX_ABS) -> Verdict:
    """Whether g is finite and |g| <= `max_abs` for every real x.

    The detail of a verdict is a clause such as "grows without bound as x -> -oo".
    """
    from sugar_search.symbolic.certificates.ball import Program
    from sugar_search.symbolic.certificates.everywhere import everywhere
    from sugar_search.symbolic.certificates.working import working

    with working(PRECISION):
        return everywhere(Program(tape), max_abs)


@lru_cache(maxsize=4096)
def refusal(tape: Tape, admit: Admit) -> Verdict | None:
    """Why `admit` does not let g in; None if g is proven to obey every rule.

    The reason is the rule's name ("max_gain"), or that of the admission verdict. The full certificate is computed only
    when a rule needs it.
    """
    verdict = admission(tape, admit.max_abs)
    if not verdict.proven:
        return verdict
    if not admit.needs_certificate:
        return None
    from sugar_search.symbolic.certificates.rules import broken

    return broken(tape, admit)
