"""The merged stream's cursor is opaque, comes back as it went, and nothing else is taken for one."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from gateway.events import Merged, decode


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
