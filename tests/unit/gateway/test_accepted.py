"""What a client accepts, as RFC 9110 has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rest.accepted import best

LINES, SEQUENCE, PLAIN = "application/jsonl", "application/json-seq", "application/json"


@pytest.mark.parametrize("accept,form", [
    ("", PLAIN), ("*/*", LINES), ("application/*", LINES), ("text/html", PLAIN), (LINES, LINES), (SEQUENCE, SEQUENCE),
    ("APPLICATION/JSON-SEQ", SEQUENCE), (f"{LINES};q=0.5, {SEQUENCE}", SEQUENCE), (f"{SEQUENCE}, */*", SEQUENCE),
    (f"{SEQUENCE};q=0.1, */*;q=0.9", LINES), (f"{LINES};q=0, */*", SEQUENCE), (f"{LINES};q=0", PLAIN),
    (f"{SEQUENCE};charset=utf-8", SEQUENCE), (f"{SEQUENCE};q=high", SEQUENCE), (";,;q=", PLAIN),
])
def test_the_form_that_is_wanted_most_is_chosen(accept, form):
    assert best(accept, [LINES, SEQUENCE], PLAIN) == form


@given(st.text(max_size=60), st.permutations([LINES, SEQUENCE, PLAIN]))
def test_any_header_chooses_one_of_the_forms(accept, offers):
    assert best(accept, offers, "other/form") in {*offers, "other/form"}
    assert best(offers[1], offers, "") == offers[1]
