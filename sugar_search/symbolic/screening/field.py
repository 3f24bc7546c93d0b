"""The structural key of screening: a formula evaluated in two prime fields.

x becomes one fixed residue, constants become exact fractions modulo p, + - * / are the field's own, and a function
becomes a mixing hash of its argument's residue, after the identities that sign and reflection allow. Formulas that are
equal under the rules of a ring then have equal keys, however they are written; two others share a key with a chance of
about 2**-60. Keys are the same in every process.
"""

import zlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from sympy import Expr

from sugar_search.symbolic import functions as f
from sugar_search.symbolic.tape import Tape

__all__ = ["PRIMES", "joined", "key", "mixed", "residues", "run"]

Residues = np.ndarray  # uint64, shape (2, n): one row for each prime

PRIMES = (2**31 - 1, 2**31 - 19)
_P: Residues = np.array(PRIMES, dtype=np.uint64)[:, None]
_MASK = np.uint64(2**32 - 1)
_HALF = np.uint64(PRIMES[0] // 2)
_MANTISSA = 4  # digits of a constant that are read without a loop


def _whole(value: int) -> Residues:
    return np.array([[value % p] for p in PRIMES], dtype=np.uint64)


def _fraction(value: Fraction) -> Residues:
    return np.array([[value.numerator * pow(value.denominator, -1, p) % p] for p in PRIMES], dtype=np.uint64)


_ZERO, _ONE, _TWO = _whole(0), _whole(1), _whole(2)


def add(a: Residues, b: Residues) -> Residues:
    """a + b."""
    return (a + b) % _P


def subtract(a: Residues, b: Residues) -> Residues:
    """a - b."""
    return (a + (_P - b)) % _P


def multiply(a: Residues, b: Residues) -> Residues:
    """a * b."""
    return (a * b) % _P


def inverse(a: Residues) -> Residues:
    """1/a, and 0 for 0."""
    zero = a == 0
    return np.where(zero, np.uint64(0), _inverse(np.where(zero, np.uint64(1), a)))


def _inverse(a: Residues) -> Residues:
    """Inverses of residues that are not 0, by one inversion and three products each (pairs, pairs of pairs, ...)."""
    count = a.shape[1]
    if count == 1:
        return np.array([[pow(int(a[i, 0]), -1, p)] for i, p in enumerate(PRIMES)], dtype=np.uint64)
    half = count // 2
    left, right = a[:, :half], a[:, half : 2 * half]
    both = _inverse(np.concatenate([multiply(left, right), a[:, 2 * half :]], axis=1))
    return np.concatenate([multiply(both[:, :half], right), multiply(both[:, :half], left), both[:, half:]], axis=1)


def mixed(h: np.ndarray) -> np.ndarray:
    """The finalizer of splitmix64: every bit of the input moves every bit of the output."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


def joined(a: Residues) -> np.ndarray:
    """Both residues in one uint64, shape (n,)."""
    return np.asarray(a[0] | (a[1] << np.uint64(31)))


def _hashed(name: str, a: Residues) -> Residues:
    """New residues that depend on a function's name and on both residues of its argument."""
    # An array, as numpy warns when a scalar wraps around.
    salt = mixed(np.array([zlib.crc32(name.encode()) + (1 << 40)], dtype=np.uint64))
    h = mixed(mixed(joined(a)) ^ salt)
    return np.stack([h & _MASK, h >> np.uint64(32)]) % _P


def _signed(u: Residues) -> tuple[Residues, np.ndarray]:
    """u or -u, whichever has the smaller first residue, and whether it is -u; the same for u and -u."""
    flipped = u[0] > _HALF
    return np.where(flipped, (_P - u) % _P, u), flipped


def _exp(u: Residues) -> Residues:
    v, flipped = _signed(u)
    e = np.where((v == 0).all(axis=0), _ONE, _hashed("exp", v))
    return np.where(flipped, inverse(e), e) if flipped.any() else e


def _sigmoid(u: Residues) -> Residues:
    v, flipped = _signed(u)
    s = inverse(add(_ONE, inverse(_exp(v))))
    return np.where(flipped, subtract(_ONE, s), s)


def _normal_cdf(u: Residues) -> Residues:
    v, flipped = _signed(u)
    c = np.where((v == 0).all(axis=0), inverse(_TWO), _hashed("normal_cdf", v))
    return np.where(flipped, subtract(_ONE, c), c)


def _erf(u: Residues) -> Residues:
    return subtract(multiply(_TWO, _normal_cdf(multiply(u, constant(sympy.sqrt(2))))), _ONE)


def _odd(name: str, u: Residues) -> Residues:
    v, flipped = _signed(u)
    h = np.where((v == 0).all(axis=0), np.uint64(0), _hashed(name, v))
    return np.where(flipped, subtract(_ZERO, h), h)


def _softplus(u: Residues) -> Residues:
    """softplus(u) - softplus(-u) = u."""
    v, flipped = _signed(u)
    h = _hashed("softplus", v)
    return np.where(flipped, subtract(h, v), h)


def _below(u: Residues) -> Residues:
    """min(0, u); min(0, u) - min(0, -u) = u."""
    v, flipped = _signed(u)
    h = np.where((v == 0).all(axis=0), np.uint64(0), _hashed("min", v))
    return np.where(flipped, subtract(h, v), h)


def _normal_pdf(u: Residues) -> Residues:
    exponent = multiply(multiply(u, u), _fraction(Fraction(-1, 2)))
    return multiply(_exp(exponent), constant(1 / sympy.sqrt(2 * sympy.pi)))


def _min(a: Residues, b: Residues) -> Residues:
    return add(a, _below(subtract(b, a)))


def _choose(d: Residues, u: Residues, v: Residues) -> Residues:
    """`u if d > 0 else v` as v + [d > 0]*(u - v), and where that is a maximum or minimum of u and v, as such."""
    step = subtract(u, v)
    larger, smaller = (step == d).all(axis=0), (step == subtract(_ZERO, d)).all(axis=0)
    chosen = multiply(_hashed("holds", d), step)
    if larger.any() or smaller.any():
        low = _below(subtract(_ZERO, d))
        chosen = np.where(larger, subtract(_ZERO, low), np.where(smaller, low, chosen))
    return add(v, chosen)


_FIELD: dict[str, Callable[..., Residues]] = {
    "add": add,
    "sub": subtract,
    "mul": multiply,
    "div": lambda a, b: multiply(a, inverse(b)),
    "neg": lambda a: subtract(_ZERO, a),
    "square": lambda a: multiply(a, a),
    "recip": inverse,
    "exp": _exp,
    "sigmoid": _sigmoid,
    "tanh": lambda u: subtract(multiply(_TWO, _sigmoid(multiply(_TWO, u))), _ONE),
    "softplus": _softplus,
    "normal_cdf": _normal_cdf,
    "erf": _erf,
    "normal_pdf": _normal_pdf,
    "atan": lambda u: _odd("atan", u),
    "sign": lambda u: _odd("sign", u),
    "abs": lambda u: subtract(u, multiply(_TWO, _below(u))),
    "min": _min,
    "max": lambda a, b: subtract(add(a, b), _min(a, b)),
    "gt": subtract,
    "lt": lambda a, b: subtract(b, a),
    "where": _choose,
}


def _apply(name: str, *arguments: Residues) -> Residues:
    """A function; one that the field knows nothing about (log1p, sqrt, a new primitive) is a plain hash."""
    if name in _FIELD:
        return _FIELD[name](*arguments)
    key = arguments[0]
    for other in arguments[1:]:
        key = add(_hashed("pair", key), other)
    return _hashed(name, key)


@lru_cache(maxsize=4096)
def constant(exact: Expr) -> Residues:
    """The residues of a constant, shape (2, 1); a part that is not rational is a hash of what it is made of."""
    if exact.is_Rational:
        return _fraction(Fraction(int(exact.p), int(exact.q)))
    parts = [constant(a) for a in exact.args]
    if exact.is_Add:
        return _folded(add, parts)
    if exact.is_Mul:
        return _folded(multiply, parts)
    if exact.is_Pow:
        base, exponent = exact.args
        root = sympy.Rational(1, 2)
        if exponent in (root, -root):
            return _apply("sqrt", parts[0]) if exponent == root else inverse(_apply("sqrt", parts[0]))
        return power(constant(base), exponent)
    if isinstance(exact, f.where):
        return _apply("where", *parts)
    name = {f.absolute: "abs", f.signum: "sign"}.get(exact.func, exact.func.__name__)
    return _apply(name, *parts) if parts else _hashed(str(exact), _ONE)


def _folded(function: Callable[[Residues, Residues], Residues], parts: list[Residues]) -> Residues:
    total = parts[0]
    for part in parts[1:]:
        total = function(total, part)
    return total


def power(base: Residues, exponent: Expr) -> Residues:
    """base**exponent: by squaring for whole exponents, else a hash of both."""
    if not exponent.is_Integer:
        return _hashed(f"pow {exponent}", base)
    result, square, rest = _ONE, base if exponent > 0 else inverse(base), abs(int(exponent))
    while rest:
        result = multiply(result, square) if rest & 1 else result
        square, rest = multiply(square, square), rest >> 1
    return result


_TENS: Residues = np.concatenate([_fraction(Fraction(10) ** e) for e in range(-20, 21)], axis=1)


def residues(values: np.ndarray) -> Residues:
    """The residues of decimals, shape (n,): each float stands for the decimal that it prints as."""
    values = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore"):
        exponent = np.where(values == 0, 0, np.floor(np.log10(np.abs(values)))).astype(np.int64) - _MANTISSA + 1
    exponent = np.clip(exponent, -20, 20)
    up, down = 10.0 ** np.maximum(exponent, 0), 10.0 ** np.maximum(-exponent, 0)
    whole = np.rint(values * down / up)
    short = whole * up / down == values
    size = multiply(np.abs(whole).astype(np.uint64)[None], _TENS[:, exponent + 20])
    found = np.where(whole < 0, subtract(_ZERO, size), size)
    for value in np.unique(values[~short]):
        found[:, values == value] = _fraction(Fraction(repr(float(value))))
    return found


_X: Residues = _hashed("x", _ONE)


def run(tape: Tape, inputs: Mapping[str, Residues] | None = None) -> Residues:
    """The residues of a tape, shape (2, n).

    Args:
        tape: may hold inputs.
        inputs: residues of the inputs, shape (2, n) or (2, 1).
    """
    registers: list[Any] = []
    for step in tape.steps:
        if step.op == "x":
            registers.append(_X)
        elif step.op == "const":
            registers.append(constant(step.exact))
        elif step.op == "input":
            registers.append((inputs or {})[step.name])
        elif step.op == "pow":
            registers.append(power(registers[step.args[0]], step.exact))
        else:
            registers.append(_apply(step.op, *(registers[i] for i in step.args)))
    return np.asarray(registers[-1])


def key(tape: Tape) -> int:
    """The structural key of a finished tape, 62 bits."""
    return int(joined(run(tape))[0])
