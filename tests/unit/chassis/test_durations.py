"""Go's durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.durations import nanoseconds

UNITS = [("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1)]
PARTS = st.lists(st.tuples(st.integers(0, 1000), st.sampled_from(UNITS)), min_size=1)


@given(PARTS)
def test_the_sum_of_its_parts(parts):
    text = "".join(f"{number}{unit}" for number, (unit, _) in parts)
    assert nanoseconds(text) == sum(number * size for number, (_, size) in parts)


@pytest.mark.parametrize("text, found", [
    ("1.5s", 15 * 10**8), ("1ns502h1000h1000h", 9007200000000001), (".5m", 30 * 10**9),
    ("5.h", 5 * 3600 * 10**9), ("3µs", 3000), ("1h30m", 5400 * 10**9),
])
def test_fractions(text, found):
    assert nanoseconds(text) == found


@pytest.mark.parametrize("text", ["", "5", "-5s", "s", "5 s", "5s ", "1d", "٣s", "9999999999h", "9" * 400 + "h", "5ss"])
def test_what_is_none(text):
    with pytest.raises(ValueError, match="duration"):
        nanoseconds(text)
