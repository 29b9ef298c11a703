"""Records as destinations get them, byte for byte."""

from __future__ import annotations

import os
import time

import msgspec
import pytest

from execd.logs import fluentd, journald, syslog
from execd.logs.record import Record

AT = 1764000000 * 10**9 + 123456789
OUT = Record(AT, 1, b"hello\n", {})
PID = os.getpid()


@pytest.mark.parametrize("form, stream, text", [
    ("rfc5424", 1, "<30>1 2025-11-24T16:00:00Z host web PID web - hello\n"),
    ("rfc5424micro", 2, "<27>1 2025-11-24T16:00:00.123456Z host web PID web - hello\n"),
    ("rfc3164", 1, "<30>Nov 24 16:00:00 host web[PID]: hello\n"),
    ("", 2, "<27>Nov 24 16:00:00 web[PID]: hello\n"),
])
def test_syslog_messages(monkeypatch, form: str, stream: int, text: str) -> None:
    monkeypatch.setattr(time, "localtime", time.gmtime)
    settings = syslog.settings({"syslog-format": form, "syslog-address": "tcp://h"})
    expected = text.replace("PID", str(PID)).encode()  # no part of a test's name: each worker has its own
    assert syslog.message(Record(AT, stream, b"hello\n", {}), settings, "host", "web") == expected


def test_over_tls_messages_are_counted_and_facilities_have_numbers() -> None:
    settings = syslog.settings({
        "syslog-format": "rfc5424", "syslog-address": "tcp+tls://h", "syslog-facility": "local7"
    })
    message = syslog.message(OUT, settings, "host", "web")
    count, _, rest = message.partition(b" ")
    assert int(count) == len(rest)
    assert rest.startswith(b"<190>1 ")


def test_the_journals_fields_are_length_prefixed_where_they_hold_newlines() -> None:
    assert journald.field("MESSAGE", b"one") == b"MESSAGE=one\n"
    assert journald.field("MESSAGE", b"a\nb") == b"MESSAGE\n" + (3).to_bytes(8, "little") + b"a\nb\n"
    facts = journald.facts("ab" * 32, "web", "busybox", "t\nPRIORITY=0", {"com.x-y": "1", "_evil": "2", "1st": "3"})
    assert b"CONTAINER_NAME=web\n" in facts
    assert b"COM_X_Y=1\n" in facts
    assert b"EVIL=2\n" in facts
    assert b"1ST" not in facts
    assert b"\nPRIORITY=0\n" not in facts.replace(b"t\nPRIORITY=0\n", b"")


def test_a_container_cannot_forge_the_journals_own_fields() -> None:
    labels = dict.fromkeys(("container-id", "priority", "message"), "other")
    facts = journald.facts("ab" * 32, "web", "busybox", "t", labels)
    assert b"other" not in facts


def test_a_forwarded_record_has_dockers_fields_and_a_time_of_its_own() -> None:
    settings = fluentd.settings({"fluentd-sub-second-precision": "true", "fluentd-address": "host"})
    assert (settings.address.host, settings.address.port) == ("host", 24224)
    out = fluentd.Fluentd(settings, "tag", fluentd.facts("ab" * 32, "web", {"x": "1"}))
    assert out._fields(OUT) == {
        "container_id": "ab" * 32, "container_name": "/web", "x": "1", "source": "stdout", "log": "hello"
    }
    assert out._fields(Record(AT, 2, b"part", {}))["partial_message"] == "true"
    packed = msgspec.msgpack.encode(out._time(OUT))
    assert packed == b"\xd7\x00" + (AT // 10**9).to_bytes(4, "big") + (AT % 10**9).to_bytes(4, "big")
