"""What is asked of a surrogate before it exists: its parameters, its region, its size, and that it can train."""

from collections.abc import Mapping
from typing import Any

from sympy import Expr

from sugar_search.errors import FormulaError, InputError
from sugar_search.symbolic import family as families
from sugar_search.symbolic.certificates.admission import admission
from sugar_search.symbolic.certificates.enclosure import Status
from sugar_search.symbolic.parse import NAME, RESERVED, parse
from sugar_search.symbolic.probe import ZERO, inadmissible
from sugar_search.symbolic.tape import Tape

__all__ = [
    "MAX_PARAMETERS",
    "REGIONS",
    "check_parameters",
    "check_region",
    "check_size",
    "check_trainable",
    "check_used",
    "read_template",
]

REGIONS = ("all", "negative")
MAX_PARAMETERS = 16


def check_region(region: str) -> str:
    """The region.

    Raises:
        InputError: it is unknown.
    """
    if region not in REGIONS:
        raise InputError(f"region must be {' or '.join(REGIONS)}", region, "choose one of them")
    return region


def check_parameters(given: Mapping[str, Any]) -> dict[str, float]:
    """Names and finite values of a formula's parameters.

    Raises:
        InputError: there are too many, a name is taken or no ASCII word, or a value is not a finite number.
    """
    if len(given) > MAX_PARAMETERS:
        raise InputError(f"a formula must have at most {MAX_PARAMETERS} parameters", len(given), "use numbers")
    for name in given:
        if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
            raise InputError("a parameter's name must be a new ASCII word", name, "rename it")
    return {name: families.finite(name, value) for name, value in given.items()}


def read_template(text: str, values: Mapping[str, float]) -> Expr:
    """The formula with parameter symbols, once its bound form obeys the limits too.

    Raises:
        FormulaError: the text breaks a rule.
    """
    parse(text, values={name: families.exact(value) for name, value in values.items()})
    return parse(text, values)


def check_used(values: Mapping[str, float], text: str) -> None:
    """Every parameter must be named in the text.

    Raises:
        InputError: one is not.
    """
    used = set(NAME.findall(text))
    for name in values:
        if name not in used:
            raise InputError("a parameter must occur in the formula", name, "remove it, or use its name in the formula")


def check_size(text: str, template: str, values: Mapping[str, float]) -> None:
    """Differentiating, binding and folding can outgrow the limits; a stored surrogate must be readable again.

    Raises:
        FormulaError: the bound text or the template's breaks a limit.
    """
    try:
        parse(text)
        parse(template, values)
    except FormulaError as error:
        rule = "a derivative must obey the limits on formulas in its final form too"
        raise FormulaError(rule, text, f"simplify it ({error.rule})") from None


def check_trainable(text: str, tape: Tape) -> None:
    """A derivative must be finite, bounded, and not 0 everywhere.

    Raises:
        FormulaError: it is not; `reason` is a short category.
    """
    verdict = inadmissible(tape)
    if verdict is None:
        # A pole too narrow for the probe. What is neither proven nor refuted may be tried by hand, not proposed.
        verdict = admission(tape)
        if verdict.status is not Status.REFUTED:
            return
    rule = "must not be 0 everywhere" if verdict.reason == ZERO else "must be finite and bounded"
    refused = FormulaError(f"a surrogate derivative {rule}", text, f"it {verdict.detail}")
    refused.reason = verdict.reason
    raise refused
