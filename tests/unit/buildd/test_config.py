"""A base image's configuration, whoever made it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildd import config
from chassis.errors import InvalidArgument


def document(**members):
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": ["a", "b"]}, **members}).encode()


def test_history_tells_of_as_many_layers_as_there_are():
    told = [{"created_by": "one"}, {"created_by": "env", "empty_layer": True}]
    found = config.parse(document(history=told)).history or []
    assert [step.created_by for step in found] == ["one", "env", ""]
    assert len(config.parse(document()).history or []) == 2
    assert len(config.parse(document(history=[{}] * 3)).history or []) == 2


def test_null_members_mean_the_same_as_none():
    found = config.parse(document(config={"Env": None, "Cmd": None, "User": None, "Labels": None}, history=None))
    assert found.config is not None
    assert found.config.variables == {}
    assert found.config.command_shell == ["/bin/sh", "-c"]


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", document(config={"Env": {}}), document(history=[1]),
                                  document(config={"Healthcheck": {"Interval": "x"}}), b"\xff"])
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(InvalidArgument) as caught:
        config.parse(text)
    assert caught.value.reason == "BAD_IMAGE_CONFIG"


@given(st.integers(0, 253402300799 * 10**9))
def test_times_are_written_as_go_writes_them(nanoseconds):
    text = config.time_of(nanoseconds)
    assert text.endswith("Z")
    assert not text.rstrip("Z").endswith("0") or "." not in text


def test_the_same_document_gives_the_same_bytes():
    one = config.parse(document(config={"Labels": {"a": "1", "b": "2"}}))
    other = config.parse(document(config={"Labels": {"b": "2", "a": "1"}}))
    assert config.encode(one) == config.encode(other)
    assert b"rootfs" not in config.encode(one)
