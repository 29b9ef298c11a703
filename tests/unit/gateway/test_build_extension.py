"""What Pier's own command sends with a build: an object, then frames."""

import itertools
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from gateway.rest import build_extension
from pier.build.v1 import build_pb2 as pb


def frame(kind, payload):
    return struct.pack(">cI", kind, len(payload)) + payload


async def of(pieces):
    for piece in pieces:
        yield piece


async def told(pieces):
    return [request async for request in build_extension.requests(of(pieces))]


def cut(data, places):
    """``data`` in pieces that end at ``places``."""
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(ends)]


WHOLE = (frame(b"c", b"main") + frame(b"e", b"") + frame(b"n", b"lib") + frame(b"c", b"\xff" * 40) + frame(b"e", b"")
         + frame(b"a", struct.pack(">Q", 7) + b"\x0c") + frame(b"a", struct.pack(">Q", 8)))
SAID = [
    pb.BuildRequest(context=b"main"), pb.BuildRequest(context_end=True),
    pb.BuildRequest(context=b"\xff" * 40, context_name="lib"), pb.BuildRequest(context_end=True, context_name="lib"),
    pb.BuildRequest(agent_answer=pb.AgentAnswer(number=7, message=b"\x0c")),
    pb.BuildRequest(agent_answer=pb.AgentAnswer(number=8)),
]


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
async def test_frames_are_the_same_however_they_come(places):
    assert await told(cut(WHOLE, places)) == SAID


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
async def test_any_bytes_are_frames_or_are_refused(data, places):
    with suppress(InvalidArgument):
        assert len(await told(cut(data, places))) <= len(data)


@pytest.mark.parametrize("data", [
    b"c", frame(b"c", b"x")[:-1], frame(b"x", b""), frame(b"a", b"short"), struct.pack(">cI", b"c", (1 << 20) + 1),
])
async def test_what_is_no_frame_is_refused(data):
    with pytest.raises(InvalidArgument):
        await told([data])


async def test_the_object_may_come_in_one_piece_with_what_follows():
    data = b'{"ssh":["default"],"contexts":{"lib":"local:"}}'
    extension, rest = await build_extension.read(of(cut(len(data).to_bytes(4, "big") + data + WHOLE, [2, 9, 70])))
    options = pb.BuildOptions()
    extension.apply(options)
    assert (list(options.ssh), dict(options.contexts)) == (["default"], {"lib": "local:"})
    assert [request async for request in build_extension.requests(rest)] == SAID
