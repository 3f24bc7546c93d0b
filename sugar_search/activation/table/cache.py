"""Tables that were built: equal surrogates share one."""

from functools import lru_cache

from sugar_search.activation.table.build import SAMPLED, Table, build_table, with_range
from sugar_search.symbolic.tape import Tape

__all__ = ["SAMPLED", "ranged_table_of", "table_of"]


@lru_cache(maxsize=1024)  # 16 MiB
def table_of(tape: Tape) -> Table:
    """The table of the derivative that `tape` computes."""
    return build_table(tape)


@lru_cache(maxsize=256)
def ranged_table_of(tape: Tape) -> Table:
    """The same with the certified range of g, which codes divide; the sampled range where it cannot be proven."""
    # Ball arithmetic costs 35 ms to import.
    from sugar_search.symbolic.certificates.certificate import certificate

    proven = certificate(tape)
    if proven.minimum is None or proven.maximum is None:
        return table_of(tape)
    return with_range(table_of(tape), proven.minimum.value.low, proven.maximum.value.high)
