"""Runs a tape with torch operations: the exact code of a surrogate, on any device and in any floating type.

An operation's torch form is the source template of its row in `symbolic.primitives`, the same text that `export` writes
into files. It is read here as a tree of calls and arithmetic, and turned into closures; nothing is evaluated as code.
"""

import ast
import operator
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from sugar_search.symbolic.primitives import PRIMITIVES
from sugar_search.symbolic.tape import Step, Tape, clamp_bound

__all__ = ["compile_tape", "evaluate"]

HALF = (torch.float16, torch.bfloat16)
_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
}
_BINARY: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Gt: operator.gt,
    ast.Lt: operator.lt,
}


@cache
def _operation(op: str) -> Callable[..., Any]:
    """The torch function of one tape operation; its arguments are tensors or numbers."""
    if op in _ARITHMETIC:
        return _ARITHMETIC[op]
    primitive = PRIMITIVES[op]
    arguments = [f"_{i}" for i in range(primitive.arity)]
    run = _closure(ast.parse(primitive.torch.format(*arguments), mode="eval").body)
    return lambda *values: run(values)


def _closure(node: ast.expr) -> Callable[[tuple[Any, ...]], Any]:
    """A function of the arguments' tuple that computes `node`.

    Raises:
        ValueError: a template holds something else than calls of torch functions, arithmetic and comparisons.
    """
    match node:
        case ast.Constant(value=value):
            return lambda _: value
        case ast.Name(id=name) if name.startswith("_"):
            index = int(name[1:])
            return lambda values: values[index]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _closure(operand)
            return lambda values: -inner(values)
        case ast.BinOp(left=left, op=symbol, right=right) if type(symbol) in _BINARY:
            return _pair(_BINARY[type(symbol)], left, right)
        case ast.Compare(left=left, ops=[symbol], comparators=[right]) if type(symbol) in _BINARY:
            return _pair(_BINARY[type(symbol)], left, right)
        case ast.Call(func=ast.Attribute() as path, args=args, keywords=[]):
            function = operator.attrgetter(ast.unparse(path).removeprefix("torch."))(torch)
            parts = tuple(_closure(a) for a in args)
            return lambda values: function(*[part(values) for part in parts])
    raise ValueError(f"a torch template may not hold {ast.unparse(node)!r}")


def _pair(function: Callable[..., Any], left: ast.expr, right: ast.expr) -> Callable[[tuple[Any, ...]], Any]:
    first, second = _closure(left), _closure(right)
    return lambda values: function(first(values), second(values))


def _instruction(step: Step, constant: Callable[[int], bool]) -> Callable[[Tensor, list[Any]], Any]:
    """A function of x and the registers filled so far that computes one step."""
    # torch.compile cannot look inside a Step; the closures hold plain values.
    args, value = step.args, step.value
    if step.op == "x":
        return lambda x, _: x
    if step.op == "const":
        # Constants stay Python numbers, so they never promote the type of x.
        return lambda _x, _registers: value
    if step.op == "pow" and value is not None:
        return lambda _, registers: torch.pow(registers[args[0]], value)
    operation = _operation(step.op)
    if step.op == "where" and constant(args[1]) and constant(args[2]):
        # torch.where of two numbers takes the default type, not that of x.
        condition, then, other = args
        return lambda x, r: operation(r[condition], torch.full_like(x, r[then]), r[other])
    return lambda _, registers: operation(*[registers[i] for i in args])


@lru_cache(maxsize=1024)
def _program(tape: Tape) -> Callable[[Tensor], Tensor]:
    """Runs all steps; everything is looked up here, once, so that `torch.compile` traces plain calls."""
    instructions = tuple(_instruction(step, lambda i: tape.steps[i].op == "const") for step in tape.steps)

    def run(x: Tensor) -> Tensor:
        registers: list[Any] = []
        for instruction in instructions:
            registers.append(instruction(x, registers))
        result = registers[-1]
        return result if isinstance(result, Tensor) else torch.full_like(x, result)

    return run


def _working(x: Tensor) -> Tensor:
    return x.float() if x.dtype in HALF else x


def evaluate(tape: Tape, x: Tensor) -> Tensor:
    """The tape at `x` without safeguards, differentiable by autograd: an overflowing step gives what it gives.

    Args:
        tape: any tape.
        x: any shape, device and floating type; half types are computed in float32 and rounded back.
    """
    return _program(tape)(_working(x)).to(x.dtype)


@lru_cache(maxsize=1024)
def compile_tape(tape: Tape) -> Callable[[Tensor], Tensor]:
    """A function that evaluates the tape and never turns a number into NaN.

    The input is clamped to the bound up to which float32 evaluation is sound, so infinities and numbers whose
    intermediate steps would overflow give the value at the bound. NaN gives NaN.

    Args:
        tape: any tape.

    Returns:
        A function of a tensor of any shape, device and floating type, which keeps shape and type. Half types are
        computed in float32 and rounded once. Equal tapes share one function.
    """
    bound, run = clamp_bound(tape), _program(tape)

    def compiled(x: Tensor) -> Tensor:
        clamped = _working(x).clamp(-bound, bound)
        value = run(clamped)
        # A condition, a sign or a constant would swallow NaN.
        return torch.where(torch.isnan(clamped), clamped, value).to(x.dtype)

    return compiled
