"""The disk of all state is full: what would write says so by name, nothing else stops, and room mends everything."""

import contextlib
import os

import pytest

from chassis import kernel
from chassis.instance import SERVICES
from tests.engine import running, wait_until

SIZE = b"size=48m"
RESERVE = "1048576"
NO_SPACE = "no space left on device"
REFUSED = (
    ("run", "--rm", "busybox", "true"), ("network", "create", "net"), ("volume", "create", "vol"),
    ("tag", "busybox", "b"),
    ("exec", "stays", "true"), ("build", "-t", "b", "-"),
)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """An engine with a container that runs, on a file system with no room for a byte; a file that gives room again."""
    directory = tmp_path_factory.mktemp("full")
    kernel.mount(b"tmpfs", bytes(directory), b"tmpfs", 0, SIZE)
    with running("full", directory, PIER_IMAGED_DISK_RESERVE_BYTES=RESERVE) as engine:
        engine.load_busybox()
        engine.ok("run", "-d", "--name", "stays", "busybox", "sleep", "600")
        filler = directory / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        yield engine, filler
        filler.unlink(missing_ok=True)
    kernel.umount(bytes(directory), kernel.MNT_DETACH)


def started_again(engine, service, before):
    """The launcher has noticed its end, with no room to say so, and started it anew."""
    path = engine.instance.run / f"{service}.pid"
    return path.exists() and path.read_text().strip() not in ("", str(before))


def test_what_would_write_is_refused_and_the_rest_goes_on(full):
    """The services' own logs lie on the same disk: a line that cannot be written fails no call, ends no program."""
    engine, filler = full
    launcher = engine.pid("launcher")
    for words in REFUSED:
        done = engine.docker(*words, input="FROM busybox\nRUN true\n")
        assert done.returncode != 0
        assert NO_SPACE in done.stderr, f"{words}: {done.stderr}"
    assert engine.inspect("stays")["State"]["Running"]
    assert engine.ok("ps", "-q")
    assert "FAIL  room" in engine.pier("system", "doctor").stdout
    assert engine.metric("execd", "pier_log_lines_lost_total") > 0
    before = {service: engine.pid(service) for service in SERVICES}
    engine.kill(*SERVICES)
    wait_until(lambda: all(started_again(engine, service, pid) for service, pid in before.items()), 60)
    os.kill(launcher, 0)
    filler.unlink()
    engine.wait_serving(60)
    assert engine.pid("launcher") == launcher
    assert engine.ok("run", "--rm", "busybox", "echo", "again") == "again"
    assert engine.inspect("stays")["State"]["Running"]
    assert engine.pier("system", "fsck", "--repair").returncode in (0, 1)
    assert engine.pier("system", "fsck").stdout == "nothing found\n"
