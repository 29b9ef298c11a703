"""A disk that is full under a container's log: the container goes on, and what was lost is counted, not hidden."""

import contextlib
import signal

import pytest

from chassis import kernel
from tests.engine import sh, wait_until

SIZE = b"size=96k"


@pytest.fixture
def narrow(engine):
    """A container whose own directory has room for some pages only."""
    writes = "for i in 1 2 3 4 5 6 7 8; do head -c 65536 /dev/zero | tr '\\0' x; echo; done; echo done > /done"
    id_ = engine.ok("create", "--name", "narrow", *sh(f"{writes}; trap 'exit 7' TERM; while :; do sleep 0.05; done"))
    home = engine.instance.root / "execd" / "containers" / id_
    home.mkdir(mode=0o700, exist_ok=True)
    kernel.mount(b"tmpfs", bytes(home), b"tmpfs", 0, SIZE)
    yield id_, home
    kernel.umount(bytes(home), kernel.MNT_DETACH)
    engine.ok("rm", "-f", "narrow")


def fill(path):
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_output_that_no_log_can_take_is_counted_and_shown(engine, narrow):
    before = engine.metric("execd", "pier_execd_log_lost_bytes_total")
    engine.ok("start", "narrow")
    wait_until(lambda: engine.docker("exec", "narrow", "test", "-e", "/done").returncode == 0)
    state = wait_until(lambda: found if (found := engine.inspect("narrow")["State"]).get("LogBytesLost") else None)
    assert state["Running"]
    assert 0 < state["LogBytesLost"] <= 8 * 65537
    lost = engine.metric("execd", "pier_execd_log_lost_bytes_total") - before
    assert lost == engine.inspect("narrow")["State"]["LogBytesLost"]
    assert len(engine.ok("logs", "narrow").replace("\n", "")) + lost >= 8 * 65536


def test_the_containers_end_is_recorded_on_a_full_disk(engine, narrow):
    _, home = narrow
    engine.ok("start", "narrow")
    wait_until(lambda: engine.docker("exec", "narrow", "test", "-e", "/done").returncode == 0)
    fill(home / "filler")
    assert engine.docker("exec", "narrow", *sh("exit 3")[1:]).returncode == 3
    engine.until_catches("narrow", signal.SIGTERM)
    engine.ok("stop", "-t", "30", "narrow")
    assert engine.inspect("narrow")["State"]["ExitCode"] == 7
