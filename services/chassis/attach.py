"""The attach protocol: how a client speaks to one process's terminal or pipes, through the shim's attach socket.

Vocabulary. A *target* is ``init`` (the container's first process) or an exec's id. A *stream* is 0 (stdin), 1 (stdout),
2 (stderr) or 3 (a message of the engine itself), numbered as in Docker's multiplexed stream. *Framed* output has
Docker's eight-byte header before each piece: stream, three zero bytes, length in big-endian; raw output has none
(a terminal's).

Lifecycle. The client connects to the socket (mode 0600, its path comes from execd), sends one JSON line, and reads one
JSON line. After ``{"ok": true}`` the connection is Docker's hijacked stream: what the client sends is stdin, byte for
byte; ``shutdown(SHUT_WR)`` is stdin's end; what it reads is output. The shim closes the connection when the process
has ended and everything it wrote was sent, after the exit record is durable; or when the detach keys came. A client
that attached before the start loses nothing: the process waits for it. One that came later and falls a spool behind
is disconnected, with a frame of stream 3 that says so.

Example (``>`` is the client)::

    > {"version": 1, "target": "init", "stdin": true, "stdout": true, "stderr": true, "framed": true}\\n
    < {"ok": true}\\n
    > hello\\n                                  then shutdown(SHUT_WR)
    < 01 00 00 00 00 00 00 06 hello\\n          then end of file

Refusals are ``{"error": TEXT, "reason": WORD}``: NO_SUCH_TARGET, ENDED, BAD_REQUEST, BAD_VERSION, TOO_MANY.

Only the standard library is imported: the shim uses this module, and so may any client.
"""

from __future__ import annotations

import json
import struct
from typing import Final, NamedTuple

from chassis.errors import InvalidArgument

VERSION: Final = 1
INIT: Final = "init"
"""The target that is the container's first process."""

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
SYSTEM: Final = 3

HANDSHAKE_MAX: Final = 4096
"""Longest handshake line in bytes, newline included."""
HEADER: Final = struct.Struct(">BxxxL")
"""Docker's frame header: stream, three zero bytes, payload length."""

DEFAULT_DETACH_KEYS: Final = "ctrl-p,ctrl-q"
_CONTROL_MARKS: Final = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


class AttachRequest(NamedTuple):
    """What a client asks for. ``detach_keys`` is None where no sequence detaches."""

    target: str
    stdin: bool
    stdout: bool
    stderr: bool
    framed: bool
    detach_keys: str | None = None


def frame(stream: int, size: int) -> bytes:
    """The header before ``size`` bytes of ``stream``."""
    return HEADER.pack(stream, size)


def encode_request(request: AttachRequest) -> bytes:
    """The handshake line that a client sends."""
    return json.dumps({"version": VERSION, **request._asdict()}).encode() + b"\n"


def decode_request(line: bytes) -> AttachRequest:
    """The request in a handshake line; InvalidArgument (BAD_REQUEST, BAD_VERSION) where it is none."""
    try:
        message = json.loads(line)
    except ValueError as error:
        raise InvalidArgument(f"attach: not a JSON line: {error}", reason="BAD_REQUEST") from error
    if not isinstance(message, dict):
        raise InvalidArgument("attach: the handshake is not an object", reason="BAD_REQUEST")
    if message.get("version") != VERSION:
        raise InvalidArgument(
            f"attach: version {message.get('version')!r} is not spoken", reason="BAD_VERSION", expected=str(VERSION)
        )
    target, keys = message.get("target"), message.get("detach_keys")
    if not isinstance(target, str) or not (keys is None or isinstance(keys, str)):
        raise InvalidArgument("attach: target and detach_keys are strings", reason="BAD_REQUEST")
    flags: dict[str, bool] = {}
    for name in ("stdin", "stdout", "stderr", "framed"):
        value = message.get(name, False)
        if not isinstance(value, bool):
            raise InvalidArgument(f"attach: {name} is not a boolean", reason="BAD_REQUEST", field=name)
        flags[name] = value
    return AttachRequest(
        target, flags["stdin"], flags["stdout"], flags["stderr"], flags["framed"], keys or None
    )


def encode_answer(error: str = "", reason: str = "") -> bytes:
    """The shim's one line: accepted where ``error`` is empty."""
    return json.dumps({"error": error, "reason": reason} if error else {"ok": True}).encode() + b"\n"


def decode_answer(line: bytes) -> tuple[str, str]:
    """(error, reason) of the shim's line, both empty where the client is attached."""
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        return "attach: the shim's answer is not a JSON object", "BAD_ANSWER"
    if message.get("ok") is True:
        return "", ""
    return str(message.get("error") or "attach: refused"), str(message.get("reason") or "INTERNAL")


def parse_detach_keys(keys: str) -> bytes:
    """The bytes that ``keys`` stands for, in Docker's grammar: single characters, or ``ctrl-`` and one of a-z@[\\]^_,
    separated by commas. InvalidArgument (BAD_DETACH_KEYS) otherwise."""
    result = bytearray()
    for part in keys.split(","):
        mark = part[5:] if part.startswith("ctrl-") else ""
        if len(part) == 1 and part.isascii():
            result.append(ord(part))
        elif len(mark) == 1 and "a" <= mark <= "z":
            result.append(ord(mark) - ord("a") + 1)
        elif mark in _CONTROL_MARKS:
            result.append(_CONTROL_MARKS[mark])
        else:
            raise InvalidArgument(
                f"detach_keys: {part!a} is no key", reason="BAD_DETACH_KEYS", field="detach_keys",
                expected="a character or ctrl- and one of a-z @ [ \\ ] ^ _, separated by commas",
            )
    return bytes(result)


class DetachMatcher:
    """Finds the detach sequence in what a client types, also when it comes in pieces.

    Bytes that may yet become the sequence are held back; those that turn out not to are given on, in order.
    """

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what to give on to the process, whether the client detaches). Nothing after the sequence is given on."""
        if not self._sequence:
            return data, False
        data = self._held + data
        at = data.find(self._sequence)
        if at >= 0:
            self._held = b""
            return data[:at], True
        keep = min(len(self._sequence) - 1, len(data))
        while keep and not self._sequence.startswith(data[len(data) - keep :]):
            keep -= 1
        self._held = data[len(data) - keep :] if keep else b""
        return data[: len(data) - keep], False

    def rest(self) -> bytes:
        """What is still held back, when the client's input has ended without the sequence."""
        held, self._held = self._held, b""
        return held
