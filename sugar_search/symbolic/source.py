"""Readable torch code for a tape, for exported files."""

from sugar_search.symbolic.primitives import PRIMITIVES
from sugar_search.symbolic.tape import Step, Tape

__all__ = ["torch_source"]

# Binding strength of a piece of code: comparison < sum < product < sign < power < atom.
_COMPARE, _SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(6)
_INFIX = {"add": ("+", _SUM), "sub": ("-", _SUM), "mul": ("*", _PRODUCT), "div": ("/", _PRODUCT)}
# Longest expression that is written in place instead of getting its own line.
_INLINE = 30


def torch_source(tape: Tape, argument: str = "x", prefix: str = "t") -> tuple[list[str], str]:
    """Assignment lines and the result's expression; steps used once and short are written in place."""
    uses = [0] * len(tape.steps)
    for step in tape.steps:
        for register in step.args:
            uses[register] += 1
    lines: list[str] = []
    code: list[tuple[str, int]] = []
    last = len(tape.steps) - 1
    for index, step in enumerate(tape.steps):
        text, strength = _render(step, code, argument)
        trivial = step.op in ("x", "const") or (step.op in ("neg", "gt", "lt") and uses[index] == 1)
        if index != last and not trivial and (uses[index] > 1 or len(text) > _INLINE):
            name = f"{prefix}{len(lines) + 1}"
            lines.append(f"{name} = {text}")
            text, strength = name, _ATOM
        code.append((text, strength))
    text = code[-1][0]
    if all(step.op == "const" for step in tape.steps):
        text = f"torch.full_like({argument}, {text})"
    return lines, text


def _wrap(piece: tuple[str, int], least: int) -> str:
    return piece[0] if piece[1] >= least else f"({piece[0]})"


def _render(step: Step, code: list[tuple[str, int]], argument: str) -> tuple[str, int]:
    """The code of one step and its binding strength."""
    args = [code[i] for i in step.args]
    if step.op == "x":
        return argument, _ATOM
    if step.op == "const":
        return repr(step.value), _ATOM if step.value is not None and step.value >= 0 else _SIGN
    if step.op in _INFIX:
        symbol, strength = _INFIX[step.op]
        right = strength + 1 if step.op in ("sub", "div", "mul") else strength
        return f"{_wrap(args[0], strength)} {symbol} {_wrap(args[1], right)}", strength
    if step.op == "neg":
        return f"-{_wrap(args[0], _POWER)}", _SIGN
    if step.op == "pow":
        return f"torch.pow({args[0][0]}, {step.value!r})", _ATOM
    if step.op in ("gt", "lt"):
        return f"{_wrap(args[0], _SUM)} {'>' if step.op == 'gt' else '<'} {_wrap(args[1], _SUM)}", _COMPARE
    if step.op == "where" and all(_is_number(text) for text, _ in args[1:]):
        # torch.where of two Python numbers takes the default dtype, not that of x.
        args[1] = (f"torch.full_like({argument}, {args[1][0]})", _ATOM)
    template = PRIMITIVES[step.op].torch
    # A placeholder alone in its brackets needs no further ones.
    enclosed = "({0})" in template or step.op in ("where", "min", "max")
    text = template.format(*(text if enclosed else _wrap((text, strength), _POWER) for text, strength in args))
    return text, _SIGN if text.startswith("-") else _ATOM if template.startswith("torch") else _PRODUCT


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
