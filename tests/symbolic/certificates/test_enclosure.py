import math

import pytest
from formulas import REPEATABLE
from hypothesis import given, settings
from hypothesis import strategies as st

from sugar_search.symbolic.certificates.enclosure import Enclosure


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (1.290415, 1.290415, "1.290415"),
        (1.2903771, 1.2903774, "1.290377"),
        (0.97, 0.98, "[0.97, 0.98]"),
        (0.0, 0.0, "0"),
        (-1e-20, 1e-20, "0"),
        (1.0, 1.0, "1"),
        (1 - 1e-12, 1 + 1e-12, "1"),
        (-math.inf, 0.0, "[-inf, 0]"),
        (1.29041499999, 1.29041500001, "1.290415"),
        (123456.7, 123456.8, "123457"),
        (-3.76488011, -3.76488009, "-3.76488"),
        (1e-12, 1.0001e-12, "1e-12"),
        (1e-12, 2e-12, "[1e-12, 2e-12]"),
        (-2e-12, -1e-12, "[-2e-12, -1e-12]"),
        (0.12365, 0.1298, "[0.123, 0.13]"),
        (-0.1236, math.inf, "[-0.124, inf]"),
    ],
)
def test_enclosures_print_the_certain_digits(low, high, text):
    assert str(Enclosure(low, high)) == text


@settings(max_examples=200, **REPEATABLE)
@given(st.floats(-1e3, 1e3) | st.floats(-1e-9, 1e-9) | st.floats(-1e300, 1e300), st.floats(0, 1) | st.floats(0, 1e-8))
def test_printed_enclosures_cover_what_they_stand_for(low, share):
    enclosure = Enclosure(low, low + share * abs(low))
    text = str(enclosure)
    if text.startswith("["):
        a, b = (float(end) for end in text[1:-1].split(", "))
        assert a <= enclosure.low and enclosure.high <= b
        assert b - a <= 1.01 * enclosure.width + 0.02 * max(abs(a), abs(b))
    elif text == "0":
        assert 0 in enclosure and enclosure.high < 1e-9
    else:  # every number inside rounds to the text
        last = 10.0 ** (math.floor(math.log10(abs(float(text)))) - 1)
        assert all(abs(end - float(text)) <= 0.51 * last for end in (enclosure.low, enclosure.high))
