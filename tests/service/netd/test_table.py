"""The nft table: what it should hold, what differs, and what a change does to those who use it."""

from __future__ import annotations

import asyncio
import socket
import subprocess

import pytest

from netd.nft import Nft, NftError
from netd.table import ANY, PublishedPort
from netd.watch import NftWatch
from tests import world
from tests.service.netd.lab import OUTSIDE, Lab
from tests.service.netd.packets import PATIENCE_SECONDS, listener


async def test_a_flush_by_somebody_else_is_noticed_and_own_changes_are_not(lab: Lab) -> None:
    noticed = asyncio.Event()
    watch = NftWatch(lab.table.name, noticed.set)
    watch.start()
    try:
        one = lab.add_container("pt0", 2)
        lab.table.publish([one.port(8080)])
        lab.table.unpublish("e" * 64)
        lab.table.restore()
        await _events_were_read()
        assert not noticed.is_set()
        _nft("flush ruleset")
        await asyncio.wait_for(noticed.wait(), PATIENCE_SECONDS)
        assert lab.table.differences()
        lab.table.restore()
        assert lab.table.differences() == []
    finally:
        watch.stop()


def _nft(commands: str) -> None:
    """As another program would: by a socket of another process."""
    subprocess.run(["nft", commands], check=True)


async def _events_were_read() -> None:
    """Everything that was told before this returns was read: a later change came through another watch."""
    seen = asyncio.Event()
    watch = NftWatch("pier-marker", seen.set)
    watch.start()
    try:
        _nft("add table inet pier-marker; delete table inet pier-marker")
        await asyncio.wait_for(seen.wait(), PATIENCE_SECONDS)
        # One more turn, so that a callback ready at the same time has run too.
        await asyncio.sleep(0)
    finally:
        watch.stop()


def test_a_change_of_one_rule_or_element_by_somebody_else_is_found(lab: Lab) -> None:
    one = lab.add_container("pt0", 2)
    lab.table.publish([one.port(8080)])
    assert lab.table.differences() == []
    stranger = Nft()
    stranger.run_text("add rule inet pier-test forward accept")
    assert "changed" in lab.table.differences()[0]
    lab.table.restore()
    stranger.run_text("delete element inet pier-test published { tcp . 8080 }")
    assert "lacks" in lab.table.differences()[0]
    lab.table.restore()
    stranger.run_text("add element inet pier-test bridges { eth0 }")
    assert "foreign element" in lab.table.differences()[0]
    lab.table.restore()
    assert lab.table.differences() == []
    stranger.close()


def test_connections_live_on_when_the_table_is_written_anew(lab: Lab) -> None:
    one = lab.add_container("pt0", 2)
    lab.table.publish([one.port(8080)])
    with listener(one.make, "0.0.0.0", 80) as server, OUTSIDE(socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE_SECONDS)
        client.connect((world.ADDRESS, 8080))
        served, _ = server.accept()
        with served:
            served.settimeout(PATIENCE_SECONDS)
            lab.table.restore()
            client.sendall(b"still")
            assert served.recv(5) == b"still"
            served.sendall(b"there")
            assert client.recv(5) == b"there"


def test_a_taken_key_is_refused_and_nothing_of_the_batch_is_made(lab: Lab) -> None:
    one, two = lab.add_container("pt0", 2), lab.add_container("pt0", 3)
    lab.table.publish([one.port(8080)])
    with pytest.raises(NftError):
        lab.table.publish([
            PublishedPort("f" * 64, "tcp", ANY, 8079, two.address, 80),
            PublishedPort("f" * 64, "tcp", ANY, 8080, two.address, 80),
        ])
    assert lab.table.differences() == []


def test_bridges_kept_apart_are_written_anew_with_the_table(lab: Lab) -> None:
    assert lab.table.keep_apart(["docker0", "br-1"])
    assert lab.table.keep_apart(["docker0", "0-br"])
    assert not lab.table.keep_apart(["0-br", "docker0"]), "the same again changes nothing"
    assert lab.table.differences() == []
    lab.nft.run_text(f"flush set inet {lab.table.name} apart")
    assert [line for line in lab.table.differences() if "apart" in line]
    lab.table.restore()
    assert lab.table.differences() == []
