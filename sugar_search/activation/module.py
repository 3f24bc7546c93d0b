"""`SugarReLU`: ReLU forward, surrogate derivative backward, as a module."""

from typing import Any, Literal, Self, get_args

from torch import Tensor, nn

from sugar_search.activation.fgi import fgi_direct, fgi_indirect
from sugar_search.activation.function import activation_function, relu_function
from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import Surrogate
from sugar_search.symbolic.surrogate import surrogate as make_surrogate

__all__ = ["Method", "SugarReLU"]

Method = Literal["exact", "indirect", "direct"]


class SugarReLU(nn.Module):
    """ReLU forward with the gradient of a surrogate backward.

    It holds no parameters and no buffers, so checkpoints load the same before and after a conversion.

    Args:
        surrogate: a family ("bsilu"), a derivative's formula, or a `Surrogate`.
        region: "all", or "negative" for a gradient of 1 where x > 0.
        sugar: False runs the surrogate's own activation forward too (no injection).
        method: "exact" (forward bit for bit ReLU), or the paper's literal "indirect" and "direct" forms.
        inplace: overwrite the input, as `nn.ReLU(inplace=True)` does. It saves no memory: the gradient needs the input,
            so a copy of it is kept.
        **parameters: of the family or the formula, such as `alpha=1.67`.

    Raises:
        InputError: an unknown surrogate, parameter or method, or an activation is needed and there is none.
    """

    def __init__(
        self,
        surrogate: str | Surrogate = "bsilu",
        *,
        region: str = "all",
        sugar: bool = True,
        method: Method = "exact",
        inplace: bool = False,
        **parameters: float,
    ) -> None:
        super().__init__()
        values: dict[str, Any] = dict(parameters)
        self.surrogate = make_surrogate(surrogate, region=region, **values)
        self.sugar = sugar
        self.method = method
        self.inplace = inplace
        # The kind that `convert` replaced, a key of `activation.kinds.KINDS`.
        self.kind = "relu"
        _check(self.surrogate, sugar, method)
        self._bind()

    def _bind(self) -> None:
        """Compiles the surrogate; equal surrogates share the compiled function."""
        self._function = None
        if not self.sugar:
            activation = self.surrogate.activation_tape
            assert activation is not None  # _check refused it
            self._function = activation_function(activation, self.surrogate.tape)
        elif self.method == "exact":
            self._function = relu_function(self.surrogate.tape)

    def forward(self, x: Tensor) -> Tensor:
        """ReLU of `x` (or the activation, when `sugar` is False); any shape, device and floating type."""
        return self.call(x, self.inplace)

    def call(self, x: Tensor, inplace: bool) -> Tensor:
        """`forward`, in place or not."""
        if self._function is not None:
            return self._function(x, inplace)
        literal = fgi_indirect if self.method == "indirect" else fgi_direct
        return x.copy_(literal(x.clone(), self.surrogate)) if inplace else literal(x, self.surrogate)

    def extra_repr(self) -> str:
        """The surrogate's title and whatever is not the default."""
        parts = [self.surrogate.title]
        if not self.sugar:
            parts.append("sugar=False")
        if self.method != "exact":
            parts.append(f"method={self.method!r}")
        if self.inplace:
            parts.append("inplace=True")
        return ", ".join(parts)

    def like(self, *, kind: str | None = None, inplace: bool | None = None) -> Self:
        """A new module with the same surrogate and options, but for those given."""
        new = type(self)(
            self.surrogate,
            sugar=self.sugar,
            method=self.method,
            inplace=self.inplace if inplace is None else inplace,
        )
        new.kind = kind or self.kind
        return new

    def __getstate__(self) -> dict[str, Any]:
        # Compiled functions close over classes of their own and cannot be pickled; the other side rebuilds them.
        return {key: value for key, value in super().__getstate__().items() if key != "_function"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._bind()


def _check(surrogate: Surrogate, sugar: bool, method: str) -> None:
    """Refuses combinations that have no meaning."""
    if method not in get_args(Method):
        raise InputError(
            "method must be one of exact, indirect, direct", method, 'use "exact" unless you compare forms'
        )
    if not sugar and method != "exact":
        raise InputError(
            "method chooses how a gradient is injected, so it needs sugar=True", method, "leave method out"
        )
    if surrogate.activation_tape is None and (not sugar or method == "indirect"):
        need = 'method="indirect"' if sugar else "sugar=False"
        raise InputError(
            f"{need} needs a surrogate with an activation",
            surrogate.title,
            "give a family that has one, or surrogate(activation=...)",
        )
