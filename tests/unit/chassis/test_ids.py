"""Grammars of ids: what passes can be a file name, a cgroup name and a log field."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import ids
from chassis.errors import InvalidArgument
from pier.types.v1 import types_pb2

GRAMMARS = [ids.container_id, ids.network_id, ids.exec_id, ids.sandbox_id, ids.name, ids.key, ids.manager,
            ids.namespace, ids.digest]
HOSTILE = ["", ".", "..", "../x", "a/b", "/a", "a\x00b", "a\nb", "a b", "-a", ".a", "é" * 3, "a" * 300, "\x1b[2Jx"]


@pytest.mark.parametrize("grammar", GRAMMARS)
@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_id_is_refused_with_its_field(grammar, value):
    with pytest.raises(InvalidArgument) as caught:
        grammar(value, "some.field")
    assert caught.value.field == "some.field"
    assert caught.value.expected


@given(st.sampled_from(GRAMMARS), st.text(max_size=80))
def test_whatever_passes_is_one_harmless_path_component(grammar, value):
    try:
        passed = grammar(value)
    except InvalidArgument:
        return
    assert passed == value
    assert os.path.basename(passed) == passed
    assert passed not in ("", ".", "..")
    assert passed.isascii()
    assert passed.isprintable()
    assert " " not in passed


@pytest.mark.parametrize("field", ["manager", "namespace", "id"])
def test_an_owner_is_three_words(field):
    owner = types_pb2.Owner(manager="gateway", namespace="docker", id="x" * 128)
    assert ids.owner(owner) is owner
    setattr(owner, field, "..")
    with pytest.raises(InvalidArgument, match=rf"owner\.{field}: "):
        ids.owner(owner)


def test_a_list_is_of_everybodys_or_of_somebodys():
    ids.owned_by(types_pb2.Owner())
    for field in ("manager", "namespace"):
        with pytest.raises(InvalidArgument, match=f"{field}: "):
            ids.owned_by(types_pb2.Owner(**{field: "../x"}))


def test_a_name_has_two_characters_at_least_as_dockers():
    assert ids.name("ab") == "ab"
    with pytest.raises(InvalidArgument):
        ids.name("a")


def test_a_new_id_passes_every_grammar_of_hexadecimal_ids():
    value = ids.new_id()
    for grammar in (ids.container_id, ids.exec_id, ids.network_id, ids.sandbox_id):
        assert grammar(value) == value
