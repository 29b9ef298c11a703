"""Messages as the resolver reads and writes them, beside what dnspython makes of the same bytes."""

from __future__ import annotations

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netd.resolver import wire
from netd.resolver.wire import Malformed

LABELS = st.text("abcxyzABC0189_-", min_size=1, max_size=63)
NAMES = st.lists(LABELS, min_size=1, max_size=8).map(".".join).filter(lambda name: len(name) < 250)
KINDS = st.sampled_from(["A", "AAAA", "PTR", "SRV", "MX", "TXT", "ANY", "HTTPS"])


def query(name: str = "db", kind: str = "A", **options: object) -> bytes:
    return dns.message.make_query(name + ".", kind, **options).to_wire()  # type: ignore[arg-type]


@given(NAMES, KINDS, st.one_of(st.none(), st.integers(0, 65535)))
def test_a_question_is_read_as_dnspython_wrote_it(name: str, kind: str, size: int | None) -> None:
    packet = query(name, kind, use_edns=-1 if size is None else 0, payload=size or 0)
    read = wire.parse(packet)
    assert read.name == dns.name.from_text(name.lower() + ".").to_wire() == wire.name(name)
    assert (read.kind, read.klass) == (dns.rdatatype.from_text(kind), wire.IN)
    assert read.edns == (size is not None)
    assert read.size == max(size or 0, 512)


@given(st.binary(max_size=600))
@example(b"")
@example(query()[:-1])
@example(query() + b"\0" * 20)
def test_bytes_of_any_kind_are_a_question_or_malformed(packet: bytes) -> None:
    try:
        read = wire.parse(packet)
    except Malformed as error:
        rcode = error.rcode
    else:
        _answered(read)
        return
    assert rcode in (wire.FORMERR, wire.NOTIMP)
    refused = dns.message.from_wire(wire.refusal(packet, rcode))
    assert refused.rcode() == rcode
    assert refused.flags & dns.flags.QR


def _answered(read: wire.Query) -> None:
    made = dns.message.from_wire(wire.answer(read, ()), ignore_trailing=True)
    assert made.id == read.id
    assert made.question[0].name.to_wire() == read.section[:-4]


@given(st.lists(st.binary(min_size=4, max_size=4), max_size=60), st.booleans())
def test_an_answer_is_whole_or_marked_as_truncated(addresses: list[bytes], edns: bool) -> None:
    read = wire.parse(query("Api.Blue", use_edns=0 if edns else -1, payload=4096 if edns else 0))
    packet = wire.answer(read, addresses, size=read.size)
    made = dns.message.from_wire(packet)
    assert len(packet) <= read.size
    assert made.edns == (0 if edns else -1)
    assert {dns.flags.to_text(made.flags).partition(" ")[0]} == {"QR"}
    assert str(made.question[0].name) == "Api.Blue.", "the question's letters stay as they were"
    if made.flags & dns.flags.TC:
        assert not made.answer
        assert 16 * len(addresses) + 26 > read.size
    else:
        found = [item.address for rrset in made.answer for item in rrset]
        assert sorted(found) == sorted({".".join(map(str, address)) for address in addresses})
        assert all(rrset.ttl == 0 for rrset in made.answer)


def test_a_reverse_answer_is_a_name() -> None:
    name = wire.name("db.blue")
    assert name is not None
    packet = dns.message.make_query("2.0.20.10.in-addr.arpa.", "PTR").to_wire()
    read = wire.parse(packet)
    assert read.name == wire.reverse_name("10.20.0.2")
    made = dns.message.from_wire(wire.answer(read, (name,)))
    assert str(made.answer[0][0].target) == "db.blue."


@pytest.mark.parametrize("bad", ["", ".", "a..b", "x" * 64, ".".join(["x" * 50] * 6)])
def test_what_dns_cannot_carry_is_no_name(bad: str) -> None:
    assert wire.name(bad) is None


def test_only_the_answer_to_the_question_counts() -> None:
    asked = wire.parse(query("example.org"))
    reply = dns.message.make_response(dns.message.from_wire(wire.with_id(query("example.org"), 77)))
    good = reply.to_wire()
    assert wire.answers(asked, 77, good)
    assert not wire.answers(asked, 78, good), "another id"
    assert not wire.answers(asked, 77, query("example.org")), "no reply"
    other = dns.message.make_response(dns.message.from_wire(wire.with_id(query("evil.org"), 77)))
    assert not wire.answers(asked, 77, other.to_wire()), "another question"
    other = dns.message.make_response(dns.message.from_wire(wire.with_id(query("example.org", "AAAA"), 77)))
    assert not wire.answers(asked, 77, other.to_wire()), "another type"
    assert not wire.answers(asked, 77, good[:12][:4] + b"\0" * 8), "no question, and no refusal either"
    assert not wire.answers(asked, 77, b"")


@given(st.binary(max_size=80))
def test_a_reply_of_any_kind_is_judged(reply: bytes) -> None:
    wire.answers(wire.parse(query("example.org")), 1, reply)


def test_dnspython_and_the_parser_agree_on_what_is_malformed() -> None:
    for packet in (b"\0" * 11, query()[:15], query()[:12] + b"\xc0\x0c\0\1\0\1"):
        with pytest.raises(Malformed):
            wire.parse(packet)
    with pytest.raises(dns.exception.DNSException):
        dns.message.from_wire(query()[:15])
