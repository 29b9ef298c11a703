import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.spelling import meant, nearest

KEYWORDS = ("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER")


@pytest.mark.parametrize(("word", "found"), [
    ("RNU", "RUN"), ("FORM", "FROM"), ("COPPY", "COPY"), ("COP", "COPY"), ("from", "FROM"), ("ENTRYPONT", "ENTRYPOINT"),
    ("XYZ", ""), ("RUN", ""), ("", ""), ("U", ""), ("KEYWORD", ""),
])
def test_a_slip_is_told_from_another_word(word, found):
    assert nearest(word, KEYWORDS) == found
    assert meant(word, KEYWORDS) == (f" (did you mean {found}?)" if found else "")


@given(st.text(min_size=4, max_size=30), st.integers(0, 28))
def test_two_letters_that_changed_places_are_one_slip(word, place):
    place = min(place, len(word) - 2)
    slip = word[:place] + word[place + 1] + word[place] + word[place + 2:]
    assert nearest(slip, [word]) == (word if slip != word else "")
