"""What is told of a table is what it is."""

import re

from sugar_search.activation.export import source
from sugar_search.activation.table.cache import SAMPLED, table_of
from sugar_search.activation.table.words import table_facts
from sugar_search.report.describe import describe, to_lines
from sugar_search.symbolic.surrogate import surrogate

STEEP = "where(x > 0, 1, sqrt(sqrt(abs(x)))*exp(x))"


def test_sampled_and_proven_errors_are_told():
    made = surrogate("bsilu")
    facts = table_facts(made.tape)
    assert facts.sampled == table_of(made.tape).error and 0 < facts.sampled <= facts.proven <= 1e-5
    told = re.search(
        r"table +(\d+) cubic pieces, error (\S+) of max \|g\| sampled, at most (\S+) proven", to_lines(describe(made))
    )
    assert int(told[1]) == facts.pieces > 10 and float(told[2]) <= float(told[3])


def test_a_surrogate_without_a_table_is_told_so():
    facts = table_facts(surrogate(STEEP).tape)
    assert facts.sampled > SAMPLED and facts.proven is None
    assert str(facts) == "none holds it to 1e-06 of max |g|: the formula itself is run"


def test_an_exported_file_tells_of_the_table():
    assert "table in training: 65 cubic pieces, error 0.0e+00 of max |g|" in source(surrogate("relu")).replace(
        "\n        ", " "
    )
