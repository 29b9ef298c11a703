"""The audit log's lines, and its files."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from chassis import context
from chassis.audit import Audit
from chassis.caller import Caller, Certificate


def test_a_line_says_who_did_what_to_what_and_how_it_ended(tmp_path: Path) -> None:
    context.adopt("request-7")
    audit = Audit(tmp_path / "audit.log")
    audit.tell(Caller(uid=1000, pid=42), "POST /x", "web", "OK", 0.25, {"t": "5"})
    audit.tell(Caller(address="192.0.2.1:9", certificate=Certificate("c", ("u",), (), "0A")), "x/Y", "web", "IN_USE", 0)
    first, second = (json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "who": {"uid": 1000, "pid": 42}, "call": "POST /x", "object": "web", "arguments": {"t": "5"}, "result": "OK",
        "seconds": 0.25, "request_id": "request-7",
    }
    assert second["who"] == {"certificate": "CN=c, OU=u", "serial": "0A", "address": "192.0.2.1:9"}
    assert stat.S_IMODE((tmp_path / "audit.log").stat().st_mode) == 0o600


def test_a_long_log_is_continued_in_another_file_and_the_oldest_go(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.log", limit=200)
    for number in range(12):
        audit.tell(Caller(), "x", str(number), "OK", 0)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"audit.log.{number}" for number in range(1, 5)]
    lines = [line for name in reversed(names) for line in (tmp_path / name).read_text().splitlines()]
    kept = [json.loads(line)["object"] for line in lines]
    assert kept == [str(number) for number in range(12 - len(kept), 12)]


def test_a_line_that_cannot_be_written_does_not_fail_the_call(tmp_path: Path) -> None:
    Audit(tmp_path / "nowhere" / "audit.log").tell(Caller(), "x", "y", "OK", 0)


def test_half_a_line_counts_as_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> float:
        return REGISTRY.get_sample_value("pier_audit_lines_lost_total") or 0.0

    before, write = lost(), os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
    audit = Audit(tmp_path / "audit.log")
    audit.tell(Caller(uid=0, pid=1), "half", "", "OK", 0.1)
    monkeypatch.setattr(os, "write", write)
    audit.tell(Caller(uid=0, pid=1), "whole", "", "OK", 0.1)
    assert lost() == before + 1
    assert [json.loads(line)["call"] for line in (tmp_path / "audit.log").read_text().splitlines()] == ["whole"]


def test_text_of_a_client_stays_in_its_line(tmp_path: Path) -> None:
    Audit(tmp_path / "audit.log").tell(Caller(), "x", 'a\n{"result": "OK"}' + "b" * 1000, "OK", 0, {"k\n": "\n"})
    (line,) = (tmp_path / "audit.log").read_text().splitlines()
    assert len(json.loads(line)["object"]) == 256
