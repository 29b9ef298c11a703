"""The merged stream's cursor is opaque, comes back as it went, and nothing else is taken for one."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from gateway.events import Merged, decode
from gateway.rest import events
from gateway.rest.filters import Filters
from gateway.rest.versions import Version
from pier.types.v1 import types_pb2


class Peer:
    def __init__(self, name):
        self.name = name


STUB = SimpleNamespace(Events=None)
SERVICES: Any = SimpleNamespace(
    execd=Peer("execd"), imaged=Peer("imaged"), netd=Peer("netd"), containers=STUB, images=STUB, networks=STUB
)


def test_a_cursor_comes_back_as_it_went():
    merged = Merged(SERVICES, 7)
    assert decode(merged.cursor()) == {"execd": 7, "imaged": 7, "netd": 7}
    merged._positions["execd"] = ("epoch", 41)
    again = Merged(SERVICES, 0, merged.cursor())
    assert again.cursor() == merged.cursor()


@given(st.text(max_size=60) | st.binary(max_size=40).map(lambda data: data.hex()))
def test_any_text_is_a_cursor_or_refused(text):
    try:
        assert isinstance(decode(text), dict)
    except InvalidArgument as error:
        assert error.reason == "BAD_CURSOR"  # noqa: PT017


@pytest.mark.parametrize("text", ["!!!", "x" * 2000, "e30", "W10="])
def test_what_is_no_cursor_is_refused(text):
    with pytest.raises(InvalidArgument):
        decode(text)


@pytest.mark.parametrize("key,value,found", [
    ("image", "app", True), ("image", "app:1", True), ("image", "ap", False), ("image", "sha256:12", True),
    ("image", "app:latest", False), ("container", "app", False), ("label", "k=v", True), ("type", "image", True),
])
def test_an_image_is_meant_by_its_name_with_or_without_the_tag_or_its_id(key, value, found):
    event = types_pb2.Event(type="image", action="tag", id="sha256:1234", attributes={"name": "app:1", "k": "v"})
    assert events._wanted(Filters({key: (value,)}), event) is found


@pytest.mark.parametrize("key,value,found", [
    ("image", "host:5000/app", True), ("image", "host:5000/app:1", True), ("image", "host", False),
    ("container", "we", False), ("container", "web", True), ("container", "12", True), ("network", "web", False),
])
def test_a_container_is_meant_by_its_image_its_name_or_the_beginning_of_its_id(key, value, found):
    event = types_pb2.Event(type="container", action="start", id="1234", attributes={
        "image": "host:5000/app:1", "name": "web"})
    assert events._wanted(Filters({key: (value,)}), event) is found


@pytest.mark.parametrize("version,told", [((1, 45), False), ((1, 46), True)])
async def test_that_an_image_was_made_is_told_since_1_46(version, told):
    sent: list[bytes] = []

    async def write(data):
        sent.append(data)

    shown = events._Shown(Filters({}), "application/json", Version(*version), None)
    response: Any = SimpleNamespace(write=write)
    await shown.send(response, types_pb2.Event(type="image", action="create", id="sha256:1234"))
    assert bool(sent) is told
