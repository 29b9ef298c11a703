"""Each kind of leak is seen and named. (The fixture around these tests proves that they clean up after themselves.)"""

from __future__ import annotations

import os
import pty
import re
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis import kernel
from tests import facts, leaks
from tests.world import cgroups


@pytest.fixture
def before() -> facts.Facts:
    return leaks.take()


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path("/run/leak")
    made.mkdir()
    yield made
    made.rmdir()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def now(before: facts.Facts) -> list[str]:
    return leaks.difference(before, leaks.take())


def test_a_world_in_which_nothing_happens_does_not_change(before: facts.Facts) -> None:
    assert now(before) == []


def test_a_mount_is_named(directory: Path, before: facts.Facts) -> None:
    kernel.mount(b"tmpfs", os.fsencode(directory), b"tmpfs")
    try:
        assert now(before) == ["mounts: + /run/leak"]
    finally:
        kernel.umount(os.fsencode(directory))


def test_a_pinned_network_namespace_is_named(before: facts.Facts) -> None:
    subprocess.run(["ip", "netns", "add", "leak"], check=True)
    try:
        assert "mounts: + /run/netns/leak" in now(before)
    finally:
        subprocess.run(["ip", "netns", "delete", "leak"], check=True)
        # iproute2 makes the directory a mount point of its own, once.
        kernel.umount(b"/run/netns", kernel.MNT_DETACH)


def test_a_link_is_named(before: facts.Facts) -> None:
    subprocess.run(["ip", "link", "add", "leak0", "type", "veth", "peer", "name", "leak1"], check=True)
    try:
        assert now(before) == ["links: + leak0", "links: + leak1"]
    finally:
        subprocess.run(["ip", "link", "delete", "leak0"], check=True)


def test_an_nft_table_and_an_element_are_named(before: facts.Facts) -> None:
    ruleset = "table ip leak { map ports { type inet_service : ipv4_addr; elements = { 80 : 192.0.2.1 }; }; }"
    subprocess.run(["nft", ruleset], check=True)
    try:
        assert now(before) == [
            'nftables: + element of ip leak ports: [80, "192.0.2.1"]',
            "nftables: + map ip leak ports",
            "nftables: + table ip leak",
        ]
        with_table = leaks.take()
        subprocess.run(["nft", "add element ip leak ports { 81 : 192.0.2.1 }"], check=True)
        assert now(with_table) == ['nftables: + element of ip leak ports: [81, "192.0.2.1"]']
    finally:
        subprocess.run(["nft", "delete table ip leak"], check=True)


def test_counters_that_move_are_no_change() -> None:
    ruleset = "table ip leak { chain out { type filter hook output priority 0; counter accept; }; }"
    subprocess.run(["nft", ruleset], check=True)
    try:
        before = leaks.take()
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", ("127.0.0.1", 9))
        assert now(before) == []
    finally:
        subprocess.run(["nft", "delete table ip leak"], check=True)


def test_a_cgroup_of_any_hierarchy_is_named(before: facts.Facts) -> None:
    for hierarchy in cgroups.hierarchies(Path("/proc/self/mountinfo").read_text()):
        leak = hierarchy.mount / "leak"
        leak.mkdir()
        try:
            assert now(before) == [f"cgroups: + {hierarchy.mount.name}:/leak"]
        finally:
            leak.rmdir()


def test_a_process_is_named(before: facts.Facts, sleeper: subprocess.Popen[bytes]) -> None:
    assert "processes: + sleep: sleep 1000" in now(before)


def test_a_child_nobody_waited_for_is_named(before: facts.Facts) -> None:
    child = os.posix_spawn("/bin/true", ["true"], {})
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert "processes: + true (zombie)" in now(before)
    finally:
        os.waitpid(child, 0)


def test_a_descriptor_of_this_process_is_named(before: facts.Facts) -> None:
    reader, writer = os.pipe()
    try:
        (line,) = now(before)
        assert re.fullmatch(rf"descriptors: \+ {os.getpid()} \([^)]+\): pipe \(× 2\)", line)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_descriptor_of_another_process_is_named() -> None:
    program = "import sys; print(); sys.stdin.readline(); kept = open('/etc/passwd'); print(); sys.stdin.readline()"
    with subprocess.Popen(
        ["/usr/bin/python3", "-u", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        before = leaks.take()
        process.stdin.write(b"open\n")
        process.stdout.readline()
        assert now(before) == [f"descriptors: + {process.pid} (python3): /etc/passwd"]
        process.stdin.write(b"end\n")


def test_a_terminal_is_named(before: facts.Facts) -> None:
    master, slave = pty.openpty()
    try:
        number = Path(os.ttyname(slave)).name
        assert f"terminals: + {number}" in now(before)
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("place", ["/tmp", "/var/tmp", "/run", "/dev/shm"])
def test_a_temporary_file_is_named(place: str, before: facts.Facts) -> None:
    leak = Path(place) / "leak"
    leak.touch()
    try:
        assert now(before) == [f"files: + {leak}"]
    finally:
        leak.unlink()


def test_a_file_in_a_watched_directory_is_named() -> None:
    state = Path("/var/lib/leak")
    state.mkdir()
    facts.watched_directories.add(str(state))
    try:
        before = leaks.take()
        (state / "blob").touch()
        assert now(before) == ["files: + /var/lib/leak/blob"]
        (state / "blob").unlink()
    finally:
        facts.watched_directories.remove(str(state))
        state.rmdir()


def test_what_is_missing_is_named_too(directory: Path) -> None:
    marker = directory / "there"
    marker.touch()
    before = leaks.take()
    marker.unlink()
    assert now(before) == ["files: - /run/leak/there"]


def test_what_a_baseline_keeps_is_no_leak(before: facts.Facts) -> None:
    forget = leaks.register_baseline(lambda: [leaks.Kept("files", "/run/pool-.*")])
    kept, leaked = Path("/run/pool-1"), Path("/run/other")
    kept.touch()
    leaked.touch()
    try:
        assert now(before) == ["files: + /run/other"]
        forget()
        assert now(before) == ["files: + /run/other", "files: + /run/pool-1"]
    finally:
        kept.unlink()
        leaked.unlink()


def test_it_waits_for_what_is_on_its_way_out(before: facts.Facts) -> None:
    leak = Path("/run/leaving")
    leak.touch()
    remover = subprocess.Popen(["sh", "-c", "sleep 0.2; rm /run/leaving"])
    try:
        assert leaks.settle(before, within=0)
        remover.wait()
        assert leaks.settle(before) == []
    finally:
        leak.unlink(missing_ok=True)


def test_the_fixture_fails_a_test_that_leaks_and_names_the_leak() -> None:
    project = Path(__file__).parents[3]
    leaking = project / "tests" / "service" / "world" / "test_leaks_itself.py"
    leaking.write_text(textwrap.dedent("""\
        from pathlib import Path

        from tests import leaks

        leaks.settle.__defaults__ = (0.05,)


        def test_leaves_a_file() -> None:
            Path("/run/forgotten").touch()
    """))
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(leaking)],
            cwd=project, capture_output=True, text=True, check=False,
        )
    finally:
        leaking.unlink()
        Path("/run/forgotten").unlink(missing_ok=True)
    assert ran.returncode == 1
    assert "the test left the world changed:\n  files: + /run/forgotten" in ran.stdout
    assert "1 passed, 1 error" in ran.stdout
