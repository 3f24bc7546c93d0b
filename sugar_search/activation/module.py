"""`SugarReLU`: ReLU forward, surrogate derivative backward, as a module."""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, fx, nn

from sugar_search.activation.exact import compile_tape
from sugar_search.activation.fgi import exported_relu, fgi_direct, fgi_indirect
from sugar_search.activation.function import Surrogated, activation_function, relu_function
from sugar_search.activation.recompute import recomputed_relu, source_of
from sugar_search.activation.table.cache import SAMPLED, table_of
from sugar_search.activation.tabled import coded_relu, table_relu
from sugar_search.activation.tables import Tables, words_of
from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import Surrogate
from sugar_search.symbolic.surrogate import surrogate as make_surrogate

__all__ = ["Memory", "Method", "SugarReLU"]

log = logging.getLogger("sugar_search")

Method = Literal["auto", "table", "exact", "indirect", "direct"]
Memory = Literal["exact", "bits8", "bits4", "recompute"]
BITS = {"bits8": 8, "bits4": 4}
# Options that pickles of earlier versions may lack, and what those did.
_EARLIER = {"sugar": True, "method": "auto", "memory": "exact", "inplace": False, "kind": "relu"}


class SugarReLU(nn.Module):
    """ReLU forward with the gradient of a surrogate backward.

    It holds no parameters, and no buffers that are saved, so checkpoints load the same before and after a conversion.

    The gradient is read from a table of the surrogate (see `activation.table`), whatever the formula for about what
    that of ReLU costs; its error, sampled when it is built, is within 1e-6 of max |g|. `table` is the tensor that is
    read: `use` writes another surrogate into it, and a network that `torch.compile` has compiled goes on without
    compiling again. Another tensor set in its place, or given by `functional_call`, is read as it is until the next
    `use` or move; copies and pickles hold the surrogate's own table.

    Args:
        surrogate: a family ("bsilu"), a derivative's formula, or a `Surrogate`.
        region: "all", or "negative" for a gradient of 1 where x > 0.
        sugar: False runs the surrogate's own activation forward too (no injection).
        method: "auto" takes the table, and the formula itself for float64 and for the rare surrogate that no table
            holds to 1e-6; "table" or "exact" (the formula itself) for every type; "indirect" and "direct" are the
            paper's literal forms.
        memory: what is kept for the backward pass. "exact": the input, 32 bits an element in float32. "bits8",
            "bits4": a code of g, rounded up or down at random so that gradients keep their mean. "recompute": nothing
            where the input is the unchanged output of a batch norm, which is run again; elsewhere the input.
        inplace: overwrite the input, as `nn.ReLU(inplace=True)` does. With memory="exact" that saves nothing, as the
            gradient needs the input and a copy of it is kept. With codes it saves nothing while it runs: the output is
            made apart and then copied over the input.
        **parameters: of the family or the formula, such as `alpha=1.67`.

    Raises:
        InputError: an unknown surrogate, parameter, method or memory; or options that do not go together.
    """

    def __init__(
        self,
        surrogate: str | Surrogate = "bsilu",
        *,
        region: str = "all",
        sugar: bool = True,
        method: Method = "auto",
        memory: Memory = "exact",
        inplace: bool = False,
        **parameters: float,
    ) -> None:
        super().__init__()
        values: dict[str, Any] = dict(parameters)
        made = make_surrogate(surrogate, region=region, **values)
        _check(made, sugar, method, memory)
        self.surrogate = made
        self.sugar = sugar
        self.method = method
        self.memory = memory
        self.inplace = inplace
        # The kind that `convert` replaced, a key of `activation.kinds.KINDS`.
        self.kind = "relu"
        # No buffer: it follows from the surrogate, and what averages or broadcasts buffers must leave it alone.
        self.table: Tensor | None = None
        self._tables = Tables()
        self._bind(torch.device("cpu"))

    def _bind(self, device: torch.device) -> None:
        """Takes the surrogate's table, to be read on `device`, and its compiled functions.

        Equal surrogates share the compiled functions.
        """
        self._device = device
        self.table = None
        if _tabled(self.surrogate, self.sugar, self.method, self.memory):
            self._tables.write(words_of(self.surrogate, self.memory in BITS))
            self.table = self._tables.on(device)
        self._code = compile_tape(self.surrogate.tape)
        self._function: Surrogated | None = None
        self._value: Callable[[Tensor], Tensor] | None = None
        if not self.sugar:
            activation = self.surrogate.activation_tape
            assert activation is not None  # _check refused it
            self._function = activation_function(activation, self.surrogate.tape)
            self._value = compile_tape(activation)
        elif self.method in ("auto", "table", "exact"):
            self._function = relu_function(self.surrogate.tape)

    def use(self, surrogate: str | Surrogate, *, region: str | None = None, **parameters: float) -> Self:
        """Trains with another surrogate, or other parameters, from now on; returns the module.

        The table is overwritten wherever it lies, so schedules of a parameter cost a table each (a few milliseconds)
        and compiled networks are not compiled again.

        Args:
            surrogate: as in the constructor.
            region: as in the constructor; None keeps that of a `Surrogate`, and else the module's.
            **parameters: as in the constructor.

        Raises:
            InputError: as in the constructor; the module is then unchanged.
        """
        values: dict[str, Any] = dict(parameters)
        kept = "all" if isinstance(surrogate, Surrogate) else self.surrogate.region
        made = make_surrogate(surrogate, region=kept if region is None else region, **values)
        _check(made, self.sugar, self.method, self.memory)
        self.surrogate = made
        self._bind(self._device)
        return self

    def hold(self, device: torch.device) -> None:
        """Has the table at hand on `device`, so that a network compiled there reads it without a copy."""
        if self.table is not None:
            self._tables.on(device)

    def forward(self, x: Tensor) -> Tensor:
        """ReLU of `x` (or the activation, when `sugar` is False); any shape, device and floating type."""
        return self.call(x, self.inplace)

    def call(self, x: Tensor, inplace: bool) -> Tensor:
        """`forward`, in place or not."""
        if torch.compiler.is_exporting():
            made = self._exported(x, inplace)
            return x.copy_(made) if inplace else made
        if self.sugar and (isinstance(x, fx.Proxy) or _traced()):
            return torch.ops.aten.relu_.default(x) if inplace else torch.ops.aten.relu.default(x)
        table = self.table
        if table is not None and _plain(x) and (x.dtype != torch.float64 or not self._wants_formula):
            return self._read(x, table, inplace)
        if self.memory != "exact" and not torch.compiler.is_compiling() and x.requires_grad:
            _tell_kept(type(x).__name__, str(x.layout), self.memory)
        if self._function is not None:
            return self._function(x, inplace)
        literal = fgi_indirect if self.method == "indirect" else fgi_direct
        return x.copy_(literal(x.clone(), self.surrogate)) if inplace else literal(x, self.surrogate)

    @property
    def _wants_formula(self) -> bool:
        """Whether float64 runs the formula."""
        return self.method == "auto" and self.memory == "exact"

    def _read(self, x: Tensor, table: Tensor, inplace: bool) -> Tensor:
        """By the table, keeping what `memory` says."""
        if table.device != x.device:
            table = self._tables.read(table, x.device)
        if self.memory == "exact":
            return table_relu(x, table, inplace)
        if self.memory in BITS:
            return coded_relu(x, table, BITS[self.memory], inplace)
        source = source_of(x)
        return table_relu(x, table, inplace) if source is None else recomputed_relu(x, table, source, inplace)

    def _exported(self, x: Tensor, inplace: bool) -> Tensor:
        """What a graph of `torch.export` holds: the surrogate when it is to be trained, else the forward alone."""
        if self._value is not None:
            return self._value(x)
        if self.training and torch.is_grad_enabled():
            return exported_relu(x.clone() if inplace else x, self._code)
        return torch.ops.aten.relu.default(x)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves the module, and the table with it; `to_empty` and the like would leave it undefined."""
        result = super()._apply(fn, recurse)
        try:
            self._device = fn(torch.empty(0, device=self._device)).device
        except NotImplementedError:
            # Nothing can be moved off the meta device, but there is nothing to move.
            self._device = fn(torch.empty(0, device="cpu")).device
        if self.table is not None:
            self.table = self._tables.on(self._device)
        return result

    def extra_repr(self) -> str:
        """The surrogate's title and whatever is not the default."""
        parts = [self.surrogate.title]
        if not self.sugar:
            parts.append("sugar=False")
        if self.method != "auto":
            parts.append(f"method={self.method!r}")
        if self.memory != "exact":
            parts.append(f"memory={self.memory!r}")
        if self.inplace:
            parts.append("inplace=True")
        return ", ".join(parts)

    def like(self, *, kind: str | None = None, inplace: bool | None = None) -> Self:
        """A new module with the same surrogate and options, but for those given."""
        new = type(self)(
            self.surrogate,
            sugar=self.sugar,
            method=self.method,
            memory=self.memory,
            inplace=self.inplace if inplace is None else inplace,
        )
        new.kind = kind or self.kind
        return new.to(self._device)

    def __getstate__(self) -> dict[str, Any]:
        # Compiled functions close over classes of their own and cannot be pickled; the other side rebuilds them, and
        # the table, which copies must not share. An empty tensor tells where it lay, and follows `map_location`.
        state = super().__getstate__()
        if self.table is not None and self.table is not self._tables.by_device.get(self.table.device):
            log.warning("a copy of SugarReLU holds the table of %s, not the one set by hand", self.surrogate.title)
        made = ("_function", "_code", "_value", "_tables", "_device")
        kept = {key: value for key, value in state.items() if key not in made}
        return kept | {"table": torch.empty(0, device=self._device)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        table = state.get("table")
        super().__setstate__({**_EARLIER, **state})
        self._tables = Tables()
        self._bind(torch.device("cpu") if table is None else table.device)


@cache
def _tell_kept(name: str, layout: str, memory: str) -> None:
    """Says once for each type of tensor that a memory mode does not apply to it."""
    log.warning("memory=%r does not apply to %s of layout %s: the input is kept", memory, name, layout)


def _plain(x: Tensor) -> bool:
    """Whether the kernels take x: no sparse, nested, quantized or distributed tensor."""
    return type(x) in (Tensor, nn.Parameter) and x.layout is torch.strided and not x.is_nested and x.is_floating_point()


def _tabled(surrogate: Surrogate, sugar: bool, method: str, memory: str) -> bool:
    """Whether the gradient comes from a table."""
    if not sugar or method not in ("auto", "table"):
        return False
    return method == "table" or memory != "exact" or table_of(surrogate.tape).error <= SAMPLED


def _check(surrogate: Surrogate, sugar: bool, method: str, memory: str) -> None:
    """Refuses combinations that have no meaning."""
    if method not in get_args(Method):
        raise InputError(f"method must be one of {', '.join(get_args(Method))}", method, 'use "auto"')
    if memory not in get_args(Memory):
        raise InputError(f"memory must be one of {', '.join(get_args(Memory))}", memory, 'use "exact"')
    if not sugar and method not in ("auto", "exact"):
        raise InputError(
            "method chooses how a gradient is injected, so it needs sugar=True", method, "leave method out"
        )
    if memory != "exact" and (not sugar or method not in ("auto", "table")):
        given = f"memory={memory!r} with method={method!r}" if sugar else f"memory={memory!r} with sugar=False"
        raise InputError("memory other than exact needs a gradient read from a table", given, 'leave method at "auto"')
    if surrogate.activation_tape is None and (not sugar or method == "indirect"):
        need = 'method="indirect"' if sugar else "sugar=False"
        raise InputError(
            f"{need} needs a surrogate with an activation",
            surrogate.title,
            "give a family that has one, or surrogate(activation=...)",
        )
    if (method == "table" or memory != "exact") and (error := table_of(surrogate.tape).error) > SAMPLED:
        rule = f"a table must hold the surrogate to {SAMPLED:g} of max |g|"
        raise InputError(rule, f"{surrogate.title} with an error of {error:.2g}", 'use method="auto", memory="exact"')


def _traced() -> bool:
    """Whether torch.jit traces; torch.compile cannot look into the question."""
    return not torch.compiler.is_dynamo_compiling() and bool(torch._C._is_tracing())
