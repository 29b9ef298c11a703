"""Filters in both encodings, and what they match."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from gateway.rest.filters import Filters, parse

KNOWN = ("label", "name", "dangling")
VALUES = st.dictionaries(st.sampled_from(KNOWN), st.lists(st.text(min_size=1, max_size=8), min_size=1, unique=True))


@given(VALUES)
def test_both_encodings_mean_the_same(values):
    as_lists = parse(json.dumps(values), KNOWN)
    as_maps = parse(json.dumps({key: dict.fromkeys(entries, True) for key, entries in values.items()}), KNOWN)
    assert as_lists == as_maps == Filters({key: tuple(entries) for key, entries in values.items()})


@given(st.text(max_size=60))
def test_any_text_is_filters_or_an_invalid_filter(text):
    try:
        parse(text, KNOWN)
    except InvalidArgument as error:
        assert error.message.startswith("invalid filter")  # noqa: PT017


@pytest.mark.parametrize("text,words", [
    ("nonsense", "invalid filter"), ('{"nope":["x"]}', "invalid filter 'nope'"), ("[]", "invalid filter"),
    ('{"label":[1]}', "invalid filter 'label'"), ('{"label":7}', "invalid filter 'label'"),
])
def test_what_is_wrong_is_told(text, words):
    with pytest.raises(InvalidArgument, match=words):
        parse(text, KNOWN)


@pytest.mark.parametrize("wanted,labels,matches", [
    (("a",), {"a": ""}, True), (("a=1",), {"a": "1"}, True), (("a=1",), {"a": "2"}, False),
    (("a", "b"), {"a": "1"}, False), (("a=",), {"a": ""}, True), (("a=b=c",), {"a": "b=c"}, True),
])
def test_all_labels_must_match(wanted, labels, matches):
    assert Filters({"label": wanted}).labels(labels) is matches


def test_one_of_several_values_of_another_key_is_enough():
    filters = Filters({"name": ("one", "two")})
    assert filters.exact("name", "two")
    assert not filters.exact("name", "three")
    assert filters.exact("other", "anything")


@pytest.mark.parametrize("pattern,found", [("^web$", True), ("^/web$", True), ("eb", True), ("x", False), ("[", False)])
def test_names_match_by_unanchored_expressions_with_and_without_the_slash(pattern, found):
    assert Filters({"name": (pattern,)}).pattern("name", "web", "/web") is found


@pytest.mark.parametrize("values,read", [(("true",), True), (("0",), False), (("1", "true"), True), ((), None)])
def test_truth_values_are_words(values, read):
    assert Filters({"dangling": values} if values else {}).boolean("dangling") is read


@pytest.mark.parametrize("values", [("yes",), ("true", "false")])
def test_another_word_or_both_are_refused(values):
    with pytest.raises(InvalidArgument, match="invalid filter"):
        Filters({"dangling": values}).boolean("dangling")
