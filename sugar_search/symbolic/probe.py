"""Admission: a surrogate derivative must be finite, bounded, and not zero everywhere, on a dense grid."""

from typing import Any

import mpmath
import numpy as np

from sugar_search.symbolic.certificates.admission import admission
from sugar_search.symbolic.certificates.enclosure import Status, Verdict
from sugar_search.symbolic.tape import MAX_CLAMP, Tape, clamp_bound

__all__ = ["MAX_ABS", "PROBE", "ZERO", "inadmissible"]

MAX_ABS = 1e3
ZERO = "zero everywhere"
TAIL = "unbounded tail"


def _grid() -> np.ndarray:
    """Sorted float64 points: 0, tiny ones, dense around 0, log-spaced to 1e4 and on to 1e30, both signs."""
    positive = np.concatenate(
        [np.logspace(-30, -3, 55), np.arange(1, 2561) / 128, np.logspace(1.31, 4, 200), np.logspace(4, 30, 105)]
    )
    return np.unique(np.concatenate([-positive, [0.0], positive]))


PROBE: np.ndarray = _grid()


def _refuted(reason: str, detail: str) -> Verdict:
    return Verdict(Status.REFUTED, reason, detail)


def inadmissible(subject: Any) -> Verdict | None:
    """Why a tape (or anything with a `tape`) cannot be a surrogate derivative; None if it can.

    A quick look at many points, with a place for the message; what is proven is `admission`'s business.
    """
    tape: Tape = subject if isinstance(subject, Tape) else subject.tape
    bound = clamp_bound(tape)
    x = np.unique(np.clip(PROBE, -bound, bound))
    x, values = _zoom(tape, x, tape.numpy(x))
    largest = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    if not np.isfinite(values).all() or largest > MAX_ABS:
        return _reason(tape, x, values)
    if bound < MAX_CLAMP and (reason := _beyond(tape, bound, max(largest, 1e-12))):
        return reason
    return _refuted(ZERO, "is 0 everywhere and trains nothing") if largest == 0 else None


def _zoom(tape: Tape, x: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Adds points around the largest finite values, four times, so that a pole between grid points shows."""
    for _ in range(4):
        size = np.where(np.isfinite(values), np.abs(values), -1.0)
        top = np.argsort(size)[-5:]
        left, right = x[np.maximum(top - 1, 0)], x[np.minimum(top + 1, len(x) - 1)]
        extra = np.linspace(left, right, 33).ravel()
        x, index = np.unique(np.concatenate([x, extra]), return_index=True)
        values = np.concatenate([values, tape.numpy(extra)])[index]
    return x, values


def _beyond(tape: Tape, bound: float, largest: float) -> Verdict | None:
    """Whether g leaves its value at the clamp bound further out; in 50 digits, as floats overflow there."""
    for sign, name in ((-1, "-"), (1, "+")):
        edge = tape.mpmath(sign * bound)
        for factor in (1.37, 2, 2**4, 2**8, 2**16, 2**32, 2**64):
            x = sign * min(bound * factor, 1e30)
            value = tape.mpmath(x)
            if not mpmath.isfinite(value):
                return _refuted("not real", f"is not a finite real number at x = {x:.6g}")
            if abs(value) > MAX_ABS:
                return _refuted(TAIL, f"grows without bound as x -> {name}oo")
            if abs(value - edge) > 1e-5 * largest:
                return _refuted("float32 range", f"cannot be evaluated in float32 beyond |x| = {bound:g}")
    return None


def _reason(tape: Tape, x: np.ndarray, values: np.ndarray) -> Verdict:
    """Names the tail, or else the point, where g breaks."""
    plain = PROBE[np.abs(PROBE) <= 100]
    undefined = plain[np.isnan(tape.numpy(plain))]
    broken = x[~(np.abs(values) <= MAX_ABS)]
    if not undefined.size:
        for end, name in ((0, "-"), (-1, "+")):
            # Large far out may still be bounded: the proof decides.
            if x[end] in broken and abs(x[end]) > 1 and admission(tape).reason == TAIL:
                return _refuted(TAIL, f"grows without bound as x -> {name}oo")
    points = undefined if undefined.size else broken
    at = 0.0 if 0.0 in points else float(points[np.argmin(np.abs(np.log(np.abs(points))))])
    value = float(tape.numpy(np.array([at]))[0])
    if np.isnan(value):
        return _refuted("not real", f"is not a real number at x = {at:.6g}")
    if np.isinf(value):
        return _refuted("pole", f"is infinite at x = {at:.6g}")
    return _refuted("too large", f"exceeds {MAX_ABS:g} in size at x = {at:.6g}")
