"""The sympy functions that formulas are made of, beyond sympy's own exp, atan and erf.

They stay atoms under differentiation, so that derivatives keep stable forms: the derivative of `sigmoid(u)` is
`sigmoid(u)*(1 - sigmoid(u))`, never a quotient of exponentials. Every function here is real for real arguments.
Sympy's `Abs`, `sign` and `Piecewise` are not used: their derivatives hold Dirac deltas, and their construction solves
inequalities, which costs unbounded time on hostile text. Sympy's `tanh` takes apart the complex parts of an argument
that may not be real, for minutes if two are nested.
"""

from typing import Any

import mpmath
import sympy
from sympy import Expr, Function, Rational, S

__all__ = [
    "X",
    "absolute",
    "differentiate",
    "log1p",
    "normal_cdf",
    "normal_pdf",
    "sigmoid",
    "signum",
    "softplus",
    "tanh",
    "where",
]

X = sympy.Symbol("x", real=True)


class _Real(Function):
    """A real function. Without these two methods sympy's questions about constants can take minutes."""

    def _eval_evalf(self, prec: int) -> Expr | None:
        from sugar_search.symbolic.primitives import number

        if self.free_symbols:
            return None
        with mpmath.workprec(prec + 10):
            value = number(self)
        return sympy.Float._new(value._mpf_, prec) if mpmath.isfinite(value) else None

    def as_real_imag(self, deep: bool = True, **hints: Any) -> tuple[Expr, Expr]:
        """Itself and 0."""
        return self, S.Zero


class sigmoid(_Real):
    """The logistic function 1/(1 + exp(-u))."""

    nargs = 1
    is_positive = True

    @classmethod
    def eval(cls, u: Expr) -> Expr | None:
        """Exact value at 0."""
        return Rational(1, 2) if u.is_zero else None

    def fdiff(self, argindex: int = 1) -> Expr:
        """sigmoid' = sigmoid (1 - sigmoid)."""
        return self * (1 - self)


class tanh(_Real):
    """The hyperbolic tangent."""

    nargs = 1
    is_real = True

    @classmethod
    def eval(cls, u: Expr) -> Expr | None:
        """Exact value at 0; odd in u."""
        if u.is_zero:
            return S.Zero
        return -cls(-u) if u.could_extract_minus_sign() else None

    def _eval_is_positive(self) -> bool | None:
        return self.args[0].is_positive

    def _eval_is_negative(self) -> bool | None:
        return self.args[0].is_negative

    def _eval_is_zero(self) -> bool | None:
        return self.args[0].is_zero

    def fdiff(self, argindex: int = 1) -> Expr:
        """tanh' = 1 - tanh**2."""
        return 1 - self**2


class softplus(_Real):
    """log(1 + exp(u))."""

    nargs = 1
    is_positive = True

    @classmethod
    def eval(cls, u: Expr) -> Expr | None:
        """Exact value at 0."""
        return log1p(S.One) if u.is_zero else None

    def fdiff(self, argindex: int = 1) -> Expr:
        """softplus' = sigmoid."""
        return sigmoid(self.args[0])


class log1p(_Real):
    """log(1 + u)."""

    nargs = 1

    @classmethod
    def eval(cls, u: Expr) -> Expr | None:
        """Exact value at 0."""
        return S.Zero if u.is_zero else None

    def fdiff(self, argindex: int = 1) -> Expr:
        """log1p' = 1/(1 + u)."""
        return 1 / (1 + self.args[0])


class normal_cdf(_Real):
    """The standard normal distribution function."""

    nargs = 1
    is_positive = True

    @classmethod
    def eval(cls, u: Expr) -> Expr | None:
        """Exact value at 0."""
        return Rational(1, 2) if u.is_zero else None

    def fdiff(self, argindex: int = 1) -> Expr:
        """normal_cdf' = normal_pdf."""
        return normal_pdf(self.args[0])


class normal_pdf(_Real):
    """The standard normal density."""

    nargs = 1
    is_positive = True

    @classmethod
    def eval(cls, u: Expr) -> Expr | None:
        """Exact value at 0; even in u."""
        if u.is_zero:
            return 1 / sympy.sqrt(2 * sympy.pi)
        return cls(-u) if u.could_extract_minus_sign() else None

    def fdiff(self, argindex: int = 1) -> Expr:
        """normal_pdf' = -u normal_pdf."""
        return -self.args[0] * self


class absolute(_Real):
    """|u|."""

    nargs = 1
    is_nonnegative = True

    @classmethod
    def eval(cls, u: Expr) -> Expr | None:
        """Numbers, the sign of the argument, and arguments known not to be negative are folded."""
        if u.could_extract_minus_sign():
            return cls(-u)
        return u if u.is_nonnegative else None

    def _eval_power(self, exponent: Expr) -> Expr | None:
        return self.args[0] ** exponent if exponent.is_integer and exponent.is_even else None

    def fdiff(self, argindex: int = 1) -> Expr:
        """|u|' = sign(u), hence 0 at the kink."""
        return signum(self.args[0])


class signum(_Real):
    """-1, 0 or 1."""

    nargs = 1
    is_real = True

    @classmethod
    def eval(cls, u: Expr) -> Expr | None:
        """Arguments of known sign are folded."""
        if u.is_zero:
            return S.Zero
        if u.is_positive:
            return S.One
        return -cls(-u) if u.could_extract_minus_sign() else None

    def fdiff(self, argindex: int = 1) -> Expr:
        """0: the jump is ignored, as every framework does."""
        return S.Zero


class where(_Real):
    """`where(d, u, v)` is u where d > 0 and v elsewhere.

    One kind of condition is enough: `a >= b` is the other branch of `b - a > 0`. So `x <= 0` and `x > 0` need no
    normalising, and the value at the boundary is never in doubt.
    """

    nargs = 3

    @classmethod
    def eval(cls, d: Expr, u: Expr, v: Expr) -> Expr | None:
        """Folds equal branches, constant conditions and a nested `where` on the same condition."""
        if u == v:
            return u
        if not d.free_symbols:
            from sugar_search.symbolic.primitives import number

            return u if number(d) > 0 else v
        inner_u = u.args[1] if isinstance(u, cls) and u.args[0] == d else u
        inner_v = v.args[2] if isinstance(v, cls) and v.args[0] == d else v
        return cls(d, inner_u, inner_v) if (inner_u, inner_v) != (u, v) else None

    def _eval_is_real(self) -> bool | None:
        return True if self.args[1].is_real and self.args[2].is_real else None

    def _eval_derivative(self, symbol: Any) -> Expr:
        return where(self.args[0], self.args[1].diff(symbol), self.args[2].diff(symbol))

    def _latex(self, printer: Any, exp: Any = None) -> str:
        d, u, v = (printer.doprint(argument) for argument in self.args)
        body = rf"\begin{{cases}} {u} & {d} > 0 \\ {v} & \text{{otherwise}} \end{{cases}}"
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"


def own(expression: Expr) -> Expr:
    """Brings what sympy's simplifications leave behind into the form that building afresh would give.

    Its own `Abs` and `sign` (from sqrt(x**2)) become ours, and a number times a sum is distributed.
    """
    if expression.has(sympy.Abs, sympy.sign):
        expression = expression.replace(sympy.Abs, absolute).replace(sympy.sign, signum)
    if any(_is_undistributed(part) for part in sympy.preorder_traversal(expression)):
        expression = expression.replace(
            _is_undistributed, lambda e: sympy.Add(*(e.args[0] * t for t in e.args[1].args))
        )
    return expression


def _is_undistributed(e: Expr) -> bool:
    return bool(e.is_Mul and len(e.args) == 2 and e.args[0].is_Number and e.args[1].is_Add)


def differentiate(activation: Expr) -> Expr:
    """d(activation)/dx in our own functions; kinks take the value stated by each function."""
    return own(activation.diff(X))
