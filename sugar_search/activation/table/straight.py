"""Steps of a tape that are straight lines in x, as slope and offset: exact fractions or floats."""

from typing import Any

__all__ = ["Line", "straight", "times"]

Line = tuple[Any, Any]  # of fractions or of floats


def straight(op: str, lines: list[Line | None]) -> Line | None:
    """A sum, or a product with a constant, as a straight line; None if it is none.

    Args:
        op: the operation.
        lines: its arguments, where they are straight lines.
    """
    first, last = lines[0], lines[-1]
    if first is None or last is None:
        return None
    (a, b), (c, d) = first, last
    match op:
        case "add":
            return a + c, b + d
        case "sub":
            return a - c, b - d
        case "neg":
            return -a, -b
        case "mul" if not a:
            return times(last, b)
        case "mul" if not c:
            return times(first, d)
        case "div" if not c and d:
            return a / d, b / d
    return None


def times(line: Line | None, factor: Any) -> Line | None:
    """A straight line times a number."""
    return None if line is None else (line[0] * factor, line[1] * factor)
