"""Netlink on raw sockets: attributes, messages, one batch per round trip.

Vocabulary: a *message* is header + fixed part + attributes; a *batch* is several requests sent as one datagram, each
acknowledged. The kernel goes through a batch in order and does not stop at an error: the caller undoes what it must.

A socket belongs to the network namespace of the thread that opened it, for ever: that is how netd works inside a
namespace without staying there (see netns.py). Sockets block; they are used from worker threads only.

Source: netlink(7), rtnetlink(7), <linux/netlink.h>.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP: Final = 0x300
NLM_F_REPLACE: Final = 0x100
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
NLA_F_NESTED: Final = 0x8000
_NLA_TYPE_MASK: Final = 0x3FFF
NETLINK_NETFILTER: Final = 12
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP: Final = 1
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_RECEIVE: Final = 1 << 18
_ANSWER_SECONDS: Final = 10.0


class Malformed(ValueError):
    """Bytes that are no netlink message or attribute list."""


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = _ATTRIBUTE.size + len(payload)
    if length > 0xFFFF:
        raise Malformed(f"attribute {kind}: {len(payload)} bytes do not fit")
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """A NUL-terminated string attribute."""
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=B", value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def parse_attributes(data: bytes) -> dict[int, bytes]:
    """Attribute type → payload; of a repeated type the last stays. Raises Malformed."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > len(data):
            raise Malformed(f"attribute at byte {offset} claims {length} of {len(data) - offset} bytes")
        found[kind & _NLA_TYPE_MASK] = data[offset + _ATTRIBUTE.size:offset + length]
        offset += length + (-length % 4)
    if len(data) - offset > 3:
        raise Malformed(f"{len(data) - offset} bytes after the last attribute")
    return found


def string_of(payload: bytes | None) -> str:
    """The text of a string attribute, "" for an absent one. Link names are bytes to the kernel."""
    return "" if payload is None else payload.rstrip(b"\0").decode(errors="surrogateescape")


@dataclass(frozen=True)
class Request:
    """One request of a batch: message type, NLM_F_* flags beside REQUEST and ACK, and everything after the header."""

    kind: int
    flags: int
    body: bytes
    what: str
    """What it is for, as an error shows it ("add address 172.17.0.2/16 to eth0")."""


@dataclass(frozen=True)
class Message:
    """One received message; ``port`` is the netlink port of the socket that caused it, 0 for the kernel itself."""

    kind: int
    flags: int
    sequence: int
    port: int
    body: bytes


def parse_messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram. Raises Malformed."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            raise Malformed(f"message at byte {offset} claims {length} of {len(data) - offset} bytes")
        yield Message(kind, flags, sequence, port, data[offset + _HEADER.size:offset + length])
        offset += length + (-length % 4)
    if len(data) - offset > 3:
        raise Malformed(f"{len(data) - offset} bytes after the last message")


class NetlinkSocket:
    """A socket in the namespace of the thread that makes it; usable from any thread, one at a time."""

    def __init__(self, family: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        try:
            self._socket.bind((0, 0))
            self._socket.settimeout(_ANSWER_SECONDS)
        except BaseException:
            self._socket.close()
            raise
        self._sequence = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """The socket holds its network namespace alive until it is closed."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def batch(self, requests: Sequence[Request]) -> list[OSError | None]:
        """Send all requests at once, and return what became of each."""
        if not requests:
            return []
        with self._lock:
            first = self._sequence + 1
            self._sequence += len(requests)
            self._socket.send(b"".join(
                _HEADER.pack(_HEADER.size + len(r.body), r.kind, r.flags | NLM_F_REQUEST | NLM_F_ACK, first + i, 0)
                + r.body + bytes(-len(r.body) % 4)
                for i, r in enumerate(requests)
            ))
            results: list[OSError | None] = [None] * len(requests)
            waiting = len(requests)
            while waiting:
                for message in parse_messages(self._socket.recv(_RECEIVE)):
                    index = message.sequence - first
                    if message.kind != NLMSG_ERROR or not 0 <= index < len(requests):
                        continue
                    waiting -= 1
                    (code,) = struct.unpack_from("=i", message.body)
                    if code:
                        results[index] = OSError(-code, os.strerror(-code), requests[index].what)
            return results

    def run(self, requests: Iterable[Request]) -> None:
        """``batch``, raising the first error; later requests of the batch may have been carried out none the less."""
        for result in self.batch(list(requests)):
            if result is not None:
                raise result

    def dump(self, kind: int, body: bytes, what: str) -> list[Message]:
        """All messages of a dump; asked again where the kernel's table changed meanwhile."""
        messages, interrupted = self._dump_once(kind, body, what)
        for _ in range(16):
            if not interrupted:
                break
            messages, interrupted = self._dump_once(kind, body, what)
        return messages

    def get(self, kind: int, body: bytes, what: str) -> Message:
        """The one message that answers a request without NLM_F_DUMP."""
        with self._lock:
            self._sequence += 1
            header = _HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST, self._sequence, 0)
            self._socket.send(header + body)
            while True:
                for message in parse_messages(self._socket.recv(_RECEIVE)):
                    if message.sequence == self._sequence:
                        _raise_if_error(message, what)
                        return message

    def _dump_once(self, kind: int, body: bytes, what: str) -> tuple[list[Message], bool]:
        found: list[Message] = []
        interrupted = False
        with self._lock:
            self._sequence += 1
            flags = NLM_F_REQUEST | NLM_F_DUMP
            self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0) + body)
            while True:
                for message in parse_messages(self._socket.recv(_RECEIVE)):
                    if message.sequence != self._sequence:
                        continue
                    interrupted = interrupted or bool(message.flags & NLM_F_DUMP_INTR)
                    if message.kind == NLMSG_DONE:
                        return found, interrupted
                    _raise_if_error(message, what)
                    found.append(message)


def _raise_if_error(message: Message, what: str) -> None:
    if message.kind == NLMSG_ERROR:
        (code,) = struct.unpack_from("=i", message.body)
        raise OSError(-code, os.strerror(-code), what)
