"""How surrogates of a study compare as functions: the size of their gradients, and what came close before."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sugar_search.symbolic.fingerprint import fingerprint, square_distance
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["Likeness", "likeness"]


@dataclass(frozen=True)
class Likeness:
    """A surrogate among those before it.

    Attributes:
        gain: E[g(z)^2]/0.5 for z ~ N(0, 1), to about 1e-3; ReLU has 1. It acts like a factor on the learning rate.
        closest: title of the closest different surrogate before it, None for the first.
        distance: sqrt(E[(g(z) - other(z))^2]) to it.
    """

    gain: float
    closest: str | None = None
    distance: float | None = None


def likeness(surrogates: Sequence[Surrogate]) -> list[Likeness]:
    """One entry per surrogate, in order; one that occurred before is compared with the others alone."""
    values: list[np.ndarray] = []
    titles: list[str] = []
    known: dict[str, Likeness] = {}
    for each in surrogates:
        if each.canonical in known:
            continue
        own = fingerprint(each.tape).values
        gain = float(square_distance(own)) / 0.5
        if values:
            away = np.sqrt(square_distance(np.array(values) - own))
            best = int(np.argmin(away))
            known[each.canonical] = Likeness(gain, titles[best], float(away[best]))
        else:
            known[each.canonical] = Likeness(gain)
        values.append(own)
        titles.append(each.title)
    return [known[each.canonical] for each in surrogates]
