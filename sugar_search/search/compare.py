"""How two surrogates compare on the test set, paired by seed, and what that many seeds could have shown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sugar_search.search.records import mean_std

__all__ = ["CONFIDENCE", "POWER", "Comparison", "compare", "holm"]

CONFIDENCE = 0.95
POWER = 0.8
# A spread below this share of the mean is rounding: such gaps are equal, and equal gaps say nothing of their error.
NO_SPREAD = 1e-9


@dataclass(frozen=True)
class Comparison:
    """One finalist against another on the test set.

    Attributes:
        subject: title of the finalist in question.
        against: title of the other finalist.
        seeds: how many seeds both ran.
        difference: mean of (subject - other), positive when the subject is better; None without common seeds.
        low: lower end of the 95 % interval of the difference; None where there is no spread to judge by.
        high: its upper end.
        p: two-sided paired t-test, after Holm's correction for the number of comparisons.
        detectable: smallest true difference that is found with 80 % power at this spread and number of seeds.
    """

    subject: str
    against: str
    seeds: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    detectable: float | None = None

    @property
    def decided(self) -> bool:
        """True when the corrected test separates the two."""
        return self.p is not None and self.p < 1 - CONFIDENCE


def compare(
    subject: str, ours: Mapping[int, float], against: str, theirs: Mapping[int, float], *, maximise: bool
) -> Comparison:
    """Compares test values by seed; only seeds that both have count. The p-value is not corrected yet.

    Args:
        subject: title of the finalist in question.
        ours: its test value by seed.
        against: title of the other finalist.
        theirs: its test value by seed.
        maximise: True when larger values are better.
    """
    from scipy import stats

    seeds = sorted(set(ours) & set(theirs))
    sign = 1 if maximise else -1
    gaps = [sign * (ours[s] - theirs[s]) for s in seeds]
    mean, spread = mean_std(gaps)
    n = len(gaps)
    if mean is None or spread is None or spread <= NO_SPREAD * max(1.0, abs(mean)):
        return Comparison(subject, against, n, mean)
    error = spread / math.sqrt(n)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    p = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    return Comparison(
        subject, against, n, mean, mean - reach * error, mean + reach * error, p, _factor(n, reach) * error
    )


def _factor(n: int, reach: float) -> float:
    """The true difference, in standard errors, that a t-test with n pairs finds with `POWER`."""
    from scipy import optimize, stats

    def shortfall(shift: float) -> float:
        return float(stats.nct.sf(reach, n - 1, shift)) - POWER

    return float(optimize.brentq(shortfall, 0.0, 10 * reach))


def holm(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The same comparisons with p-values corrected for their number (Holm 1979)."""
    tested = sorted((c.p, i) for i, c in enumerate(comparisons) if c.p is not None)
    corrected: dict[int, float] = {}
    largest = 0.0
    for rank, (p, index) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - rank)))
        corrected[index] = largest
    return tuple(replace(c, p=corrected.get(i)) for i, c in enumerate(comparisons))
