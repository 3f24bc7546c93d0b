"""What there is to say of a surrogate's table, for readers."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from sugar_search.activation.table.cache import SAMPLED, table_of
from sugar_search.activation.table.layout import NUMBER_OF_PIECES
from sugar_search.activation.table.proof import proven_error
from sugar_search.symbolic.tape import Tape

__all__ = ["TableFacts", "table_facts"]


@dataclass(frozen=True)
class TableFacts:
    """A table in numbers; errors are over max |g|.

    Attributes:
        pieces: cubic pieces.
        sampled: worst error seen when it was built; None where no table can be built.
        proven: bound on the whole line, None where there is no proof.
    """

    pieces: int
    sampled: float | None
    proven: float | None

    def __str__(self) -> str:
        if self.sampled is None or self.sampled > SAMPLED:
            return f"none holds it to {SAMPLED:g} of max |g|: the formula itself is run"
        proof = "not proven on the whole line" if self.proven is None else f"at most {self.proven:.1e} proven"
        return f"{self.pieces} cubic pieces, error {self.sampled:.1e} of max |g| sampled, {proof}"

    def to_dict(self) -> dict[str, Any]:
        """The attributes as JSON-able values."""
        return asdict(self)


def table_facts(tape: Tape) -> TableFacts:
    """Builds the table of a derivative and proves its error: some 50 ms."""
    table = table_of(tape)
    usable = table.error <= SAMPLED
    proven = proven_error(tape, table) if usable else None
    return TableFacts(int(table.words[NUMBER_OF_PIECES]), table.error if isfinite(table.error) else None, proven)
