"""DNS messages, as far as the resolver reads and writes them: a header, one question, addresses or a name as answer.

Names are kept as they travel, in lower case: length bytes and labels, a zero at the end. That is the key of every
look-up, so a question is answered without a name being decoded. (Lower case touches no length byte: a label has 63
bytes at most, "A" is 65.) Source: RFC 1035 section 4, RFC 6891 section 6.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

A: Final = 1
PTR: Final = 12
AAAA: Final = 28
OPT: Final = 41
ANY: Final = 255
IN: Final = 1

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5

HEADER: Final = 12
UDP_DEFAULT: Final = 512
"""Bytes of an answer that a client without EDNS takes over UDP."""
UDP_MAX: Final = 65535
_HEAD: Final = struct.Struct("!HHHHHH")
_TYPE_CLASS: Final = struct.Struct("!HH")
_NAME_MAX: Final = 255
_LABEL_MAX: Final = 63
_QR: Final = 0x8000
_OPCODE: Final = 0x7800
_AA: Final = 0x0400
_TC: Final = 0x0200
_RD: Final = 0x0100
_RA: Final = 0x0080
_OUR_OPT: Final = struct.pack("!BHHIH", 0, OPT, 4096, 0, 0)
_POINTER: Final = 0xC000 | HEADER


class Malformed(ValueError):
    """A packet that is no query; ``rcode`` is what its sender is told."""

    def __init__(self, why: str, rcode: int = FORMERR) -> None:
        super().__init__(why)
        self.rcode = rcode


class Query(NamedTuple):
    """A question. ``name`` in lower case; ``section`` as it came. ``size``: bytes that an answer over UDP may have."""

    id: int
    flags: int
    name: bytes
    kind: int
    klass: int
    section: bytes
    edns: bool
    size: int


def parse(packet: bytes) -> Query:
    """The question of a query. Raises Malformed."""
    if len(packet) < HEADER:
        raise Malformed("shorter than a header")
    identity, flags, questions, _, _, additional = _HEAD.unpack_from(packet)
    if flags & _OPCODE:
        raise Malformed("not a standard query", NOTIMP)
    if questions != 1:
        raise Malformed(f"{questions} questions")
    end = _name_end(packet, HEADER)
    if end + 4 > len(packet):
        raise Malformed("the question is cut off")
    kind, klass = _TYPE_CLASS.unpack_from(packet, end)
    size = _edns_size(packet, end + 4) if additional else 0
    return Query(identity, flags, packet[HEADER:end].lower(), kind, klass, packet[HEADER:end + 4], size > 0,
                 max(size, UDP_DEFAULT))


def _name_end(packet: bytes, offset: int) -> int:
    """The offset after the name at ``offset``, in which nothing is compressed."""
    start = offset
    while True:
        if offset >= len(packet):
            raise Malformed("the name is cut off")
        length = packet[offset]
        offset += 1 + length
        if length == 0:
            break
        if length > _LABEL_MAX:
            raise Malformed("a label of a question is longer than 63 bytes, or compressed")
    if offset - start > _NAME_MAX:
        raise Malformed("the name is longer than 255 bytes")
    return offset


def _edns_size(packet: bytes, offset: int) -> int:
    """The size in an OPT record that follows the question, 0 where something else does."""
    if len(packet) < offset + 11 or packet[offset] != 0:
        return 0
    kind, size = _TYPE_CLASS.unpack_from(packet, offset + 1)
    return max(size, UDP_DEFAULT) if kind == OPT else 0


def is_response(packet: bytes) -> bool:
    """Is it an answer rather than a query? Nothing is ever replied to one."""
    return len(packet) > 2 and packet[2] & 0x80 != 0


def refusal(packet: bytes, rcode: int) -> bytes:
    """A bare header that tells the sender of ``packet`` that and why it gets no answer."""
    identity, flags = struct.unpack_from("!HH", packet.ljust(4, b"\0"))
    return _HEAD.pack(identity, _QR | flags & (_OPCODE | _RD) | _RA | rcode, 0, 0, 0, 0)


def answer(query: Query, records: Sequence[bytes], rcode: int = NOERROR, size: int = UDP_MAX) -> bytes:
    """The reply with ``records``, each of the question's name and type, that may live 0 seconds.

    What does not fit into ``size`` bytes is left out, and the reply marked as truncated.
    """
    opt = _OUR_OPT if query.edns else b""
    body = b"".join(
        struct.pack("!HHHIH", _POINTER, query.kind, IN, 0, len(record)) + record for record in records
    )
    count, truncated = len(records), 0
    if HEADER + len(query.section) + len(body) + len(opt) > size:
        body, count, truncated = b"", 0, _TC
    flags = _QR | _AA | truncated | query.flags & _RD | _RA | rcode
    return _HEAD.pack(query.id, flags, 1, count, 0, len(opt) and 1) + query.section + body + opt


def truncated(query: Query) -> bytes:
    """The reply that sends its reader to TCP."""
    opt = _OUR_OPT if query.edns else b""
    return _HEAD.pack(query.id, _QR | _TC | query.flags & _RD | _RA, 1, 0, 0, len(opt) and 1) + query.section + opt


def answers(query: Query, identity: int, reply: bytes) -> bool:
    """Is ``reply`` an answer to the query that went out under ``identity``? Strangers' and other answers are not."""
    if len(reply) < HEADER:
        return False
    number, flags, questions, *_ = _HEAD.unpack_from(reply)
    if number != identity or not flags & _QR or flags & _OPCODE:
        return False
    if questions == 0:  # a refusal may leave the question out
        return rcode_of(reply) != NOERROR
    section = reply[HEADER:HEADER + len(query.section)]
    return bool(questions == 1 and section[:-4].lower() == query.name and section[-4:] == query.section[-4:])


def rcode_of(reply: bytes) -> int:
    return reply[3] & 0xF


def with_id(packet: bytes, identity: int) -> bytes:
    """The packet under another id."""
    return identity.to_bytes(2, "big") + packet[2:]


def name(text: str) -> bytes | None:
    """A host name as it travels, in lower case, with or without its last dot; None for one that DNS cannot carry."""
    labels = text.removesuffix(".").lower().encode("ascii", "replace").split(b".")
    if not all(0 < len(label) <= _LABEL_MAX for label in labels):
        return None
    made = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return made if len(made) <= _NAME_MAX else None


def reverse_name(address: str) -> bytes:
    """The name under which an address is asked for in reverse."""
    made = name(ipaddress.ip_address(address).reverse_pointer)
    assert made is not None
    return made
