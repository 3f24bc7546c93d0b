"""Cubics through g at four Chebyshev nodes of every piece, as coefficients in t = x - edge."""

import numpy as np

from sugar_search.activation.table.rows import Rows
from sugar_search.activation.table.values import Values

__all__ = ["FROM_0", "fit", "polynomial"]

_CHEBYSHEV = (1 - np.cos((2 * np.arange(4) + 1) * np.pi / 8)) / 2
# From 0 itself: the table gives g(0) exactly.
FROM_0: np.ndarray = 0.97 * (_CHEBYSHEV - _CHEBYSHEV[0]) / (_CHEBYSHEV[3] - _CHEBYSHEV[0])
_BESIDE_0 = 1e-12  # nearer, sigmoid(x) > 0.5 is no longer decided in float64
_FLAT = 1e-13  # a smaller share of max |g| is rounding
# A part of a cell far narrower than its distance from the edge t starts at holds too few digits for a cubic.
_LOWER = (1e3, 1e5, 1e7)


def _of_degree(nodes: np.ndarray, degree: int) -> np.ndarray:
    """Coefficients in u from values at the nodes: the interpolant, cut to its first Chebyshev terms."""
    chebyshev = np.linalg.inv(np.polynomial.chebyshev.chebvander(2 * nodes - 1, 3))[: degree + 1]
    in_u = np.zeros((4, degree + 1))
    for k in range(degree + 1):
        terms = np.polynomial.Chebyshev.basis(k, domain=[0, 1]).convert(kind=np.polynomial.Polynomial).coef
        in_u[: len(terms), k] = terms
    product: np.ndarray = in_u @ chebyshev
    return product


_PLAIN = [_of_degree(_CHEBYSHEV, degree) for degree in range(4)]
_ZERO = _of_degree(FROM_0, 3)


def fit(values_at: Values, rows: Rows, breaks_at_0: bool, scale: float) -> np.ndarray:
    """Coefficients of all pieces but those of the tails, which are left 0.

    Args:
        values_at: g.
        rows: the pieces.
        breaks_at_0: whether g may jump or bend at 0; else the pieces beside it share g(0).
        scale: about max |g|.

    Returns:
        float64 (pieces, 4): c0, c1, c2, c3.
    """
    at = rows.near[:, None] + rows.width[:, None] * _CHEBYSHEV
    zero = np.flatnonzero(rows.near == 0)
    at[zero] = rows.width[zero, None] * FROM_0
    if breaks_at_0:
        at[zero, 0] = np.copysign(_BESIDE_0, rows.width[zero])
    values = values_at(at)
    first = values[:, :1]
    rest = values - first
    rest[np.abs(rest).max(axis=1) < _FLAT * scale] = 0.0
    c = rest @ _PLAIN[3].T
    c[zero] = rest[zero] @ _ZERO.T
    c[zero, 0] = 0.0
    shift = (rows.near - rows.edge) / rows.width
    parts = np.flatnonzero(shift)
    for i in parts:
        degree = 3 - sum(abs(shift[i]) > limit for limit in _LOWER)
        if degree < 3:
            c[i] = _PLAIN[degree] @ rest[i]
    c[:, 0] += first[:, 0]
    if len(parts):
        c[parts] = _shifted(c[parts], shift[parts])
    c /= rows.width[:, None] ** np.arange(4)
    return c


def _shifted(c: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Coefficients in w of polynomials in u = w - p."""
    c0, c1, c2, c3 = c.T
    return np.stack([c0 - p * (c1 - p * (c2 - p * c3)), c1 - p * (2 * c2 - 3 * p * c3), c2 - 3 * p * c3, c3], axis=1)


def polynomial(c: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Values of cubics.

    Args:
        c: (n, 4).
        t: (n, m).

    Returns:
        (n, m).
    """
    result: np.ndarray = c[:, :1] + t * (c[:, 1:2] + t * (c[:, 2:3] + t * c[:, 3:]))
    return result
