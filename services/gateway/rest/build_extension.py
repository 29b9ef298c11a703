"""What Pier's own command sends with a build that Docker's endpoint has no word for, and the answer that it reads.

A request of this content type begins with four bytes, the length of the JSON object that follows (big-endian). What
secrets hold stands in the object alone: in no header, no query, no log. Then come frames: a letter, four bytes of
length, and as many bytes. "c" is a piece of the context, "e" the end of it; "n" names a further context, whose pieces
and end follow; "a" is a number of eight bytes and what the ssh agent answered to the request of that number. The body
goes on for as long as the build does, since the answer asks for what is wanted: it is one JSON object a line, each an
event of pier.build.v1.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from chassis.errors import InvalidArgument
from gateway.rest.errors import bad
from pier.build.v1 import build_pb2 as pb

CONTENT_TYPE: Final = "application/vnd.pier.build"
_HEAD: Final = 4
_LONGEST: Final = 8 << 20
_FRAME: Final = struct.Struct(">cI")
_FRAME_MAX: Final = 1 << 20
_NUMBER: Final = struct.Struct(">Q")


class Extension(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """``secrets`` by id, and the ``dockerfile`` that takes the place of the context's: base64 in JSON. ``output`` is
    "" for an image, "tar" or "oci"; ``contexts`` are further ones by name, ``ssh`` the ids of agents."""

    secrets: dict[str, bytes] = {}
    dockerfile: bytes = b""
    output: str = ""
    contexts: dict[str, str] = {}
    no_cache_stages: list[str] = []
    check: bool = False
    ssh: list[str] = []

    def apply(self, options: pb.BuildOptions) -> None:
        """Put all of it into ``options``."""
        for id_, value in self.secrets.items():
            options.secrets.add(id=id_, value=value)
        options.dockerfile_text = self.dockerfile
        options.contexts.update(self.contexts)
        options.no_cache_stages.extend(self.no_cache_stages)
        options.check = self.check
        options.ssh.extend(self.ssh)
        if self.output in ("tar", "oci"):
            setattr(options.output, self.output, True)
        elif self.output:
            raise bad(f"output: {self.output[:40]!a} is not supported", field="output", expected="tar or oci")


async def read(data: AsyncIterator[bytes]) -> tuple[Extension, AsyncIterator[bytes]]:
    """The object, and what follows it. 400 for what is none."""
    held = bytearray()
    while len(held) < _HEAD or len(held) < _HEAD + _length(held):
        piece = await anext(data, None)
        if piece is None:
            raise bad("the body ends before its object does")
        held += piece
    length = _length(held)
    try:
        found = msgspec.json.decode(bytes(held[_HEAD:_HEAD + length]), type=Extension)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # What is wrong may quote what is secret: it is not told.
        raise bad("the body's object is malformed", field="body") from None

    async def rest() -> AsyncIterator[bytes]:
        if left := bytes(held[_HEAD + length:]):
            yield left
        async for piece in data:
            yield piece

    return found, rest()


async def requests(data: AsyncIterator[bytes]) -> AsyncIterator[pb.BuildRequest]:
    """The frames, each as buildd is told it. 400 for what is none."""
    held, name = bytearray(), ""
    async for piece in data:
        held += piece
        at = 0
        while len(held) - at >= _FRAME.size:
            kind, length = _FRAME.unpack_from(held, at)
            if length > _FRAME_MAX:
                raise InvalidArgument(f"a frame of the body is longer than {_FRAME_MAX} bytes", reason="TOO_LARGE",
                                      field="body")
            end = at + _FRAME.size + length
            if len(held) < end:
                break
            payload = bytes(memoryview(held)[at + _FRAME.size:end])
            at = end
            if kind == b"n":
                name = payload.decode("utf-8", "replace")
            else:
                yield _request(kind, payload, name)
        del held[:at]
    if held:
        raise bad("the body ends in the middle of a frame", field="body")


def _request(kind: bytes, payload: bytes, name: str) -> pb.BuildRequest:
    match kind:
        case b"c":
            return pb.BuildRequest(context=payload, context_name=name)
        case b"e":
            return pb.BuildRequest(context_end=True, context_name=name)
        case b"a" if len(payload) >= _NUMBER.size:
            (number,) = _NUMBER.unpack_from(payload)
            return pb.BuildRequest(agent_answer=pb.AgentAnswer(number=number, message=payload[_NUMBER.size:]))
    raise bad("the body holds a frame that is none", field="body")


def _length(held: bytearray) -> int:
    length = int.from_bytes(held[:_HEAD], "big")
    if length > _LONGEST:
        raise InvalidArgument(f"the body's object is longer than {_LONGEST} bytes", reason="TOO_LARGE", field="body")
    return length


def event(message: pb.BuildResponse) -> dict[str, Any]:
    """``message`` as a line of the answer."""
    match message.WhichOneof("event"):
        case "plan":
            return {"plan": [_step(step) for step in message.plan.steps]}
        case "begin":
            return {"begin": message.begin.id, "container": message.begin.container_id}
        case "log":
            return {"log": message.log.id, "stream": message.log.stream, "data": _text(message.log.data)}
        case "progress":
            told = message.progress
            return {"progress": told.id, "subject": told.subject, "current": told.current, "total": told.total}
        case "end":
            end = message.end
            return {"end": end.id, "cached": end.cached, "miss": end.miss, "key": end.cache_key, "image": end.image_id,
                    "nanoseconds": end.duration.ToNanoseconds()}
        case "warning":
            warning = message.warning
            return {"warning": warning.rule, "message": warning.message, "firstLine": warning.first_line,
                    "lastLine": warning.last_line}
        case "output":
            return {"output": _text(message.output)}
        case "wanted":
            return {"wanted": message.wanted}
        case "agent_request":
            asked = message.agent_request
            return {"agentRequest": asked.number, "agent": asked.id, "message": _text(asked.message)}
        case _:
            return {"result": message.result.image.id, "familiar": list(message.result.image.familiar)}


def _step(step: pb.Step) -> dict[str, Any]:
    return {"id": step.id, "stage": step.stage, "number": step.number, "count": step.count,
            "instruction": step.instruction, "firstLine": step.first_line, "lastLine": step.last_line}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
