"""``pier system doctor``: what each finding says, on hosts that are made up, and that nothing holds it up."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from chassis.errors import Unavailable
from chassis.instance import instance
from pier.system.v1 import system_pb2
from pier_cli.system.__main__ import main
from pier_cli.system.doctor import cgroups, clock, host, kernel, limits, network, probe, runtimes, services, storage
from pier_cli.system.doctor import run as doctor
from pier_cli.system.doctor.check import Check, Level, advice, failure, ok, warning
from pier_cli.system.doctor.files import Files
from pier_cli.system.status import Row


def host_of(root: Path, **files: str) -> Files:
    """A host with these files, "__" in their names for "/"."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Files(root)


def levels(checks: object) -> dict[str, Level]:
    return {check.name: check.level for check in checks}  # type: ignore[attr-defined]


def test_this_host_is_looked_at_whole_and_nothing_is_left(tmp_path: Path) -> None:
    areas = host.areas(tmp_path, "pier", serving=False)
    checks = [check for look in areas.values() for check in look()]
    assert {check.area for check in checks} == set(areas)
    assert all(check.todo for check in checks if check.level is not Level.OK)
    assert list(tmp_path.iterdir()) == []


def test_a_kernel_that_refuses_is_told_by_feature_with_what_helps(tmp_path: Path) -> None:
    files = host_of(tmp_path, proc__sys__kernel__seccomp__actions_avail="allow errno")
    said = {"overlayfs": "unknown filesystem type", "IPv6": "Address family not supported"}
    found = levels(kernel.checks(files, lambda name: said.get(name, "")))
    assert (found["overlayfs"], found["IPv6"], found["nft"]) == (Level.FAILURE, Level.ADVICE, Level.OK)
    assert found["seccomp"] is Level.OK
    assert levels(kernel.checks(Files(tmp_path / "none"), lambda _name: ""))["seccomp"] is Level.FAILURE


def test_a_probe_that_fails_says_why_and_one_that_is_killed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_state: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    def killed(_state: Path) -> None:
        import os

        os.kill(os.getpid(), 9)

    monkeypatch.setitem(probe.PROBES, "refused", refused)
    monkeypatch.setitem(probe.PROBES, "killed", killed)
    assert "Operation not permitted" in probe.tried("refused", Path("/"))
    assert probe.tried("killed", Path("/")) == "it was killed"
    assert probe.tried("pidfd", Path("/")) == ""


@pytest.mark.parametrize(("mounts", "controllers", "bad"), [
    ("none /sys/fs/cgroup cgroup2 rw 0 0", "cpuset cpu io memory pids", set()),
    ("none /sys/fs/cgroup cgroup2 rw 0 0", "cpuset cpu io pids", {"memory"}),
    ("none /c cgroup rw,memory,cpu,pids,cpuset,blkio,freezer,devices 0 0", "", set()),
    ("none /c cgroup rw,cpu,pids,cpuset,blkio,freezer 0 0", "", {"memory", "devices"}),
    ("none / ext4 rw 0 0", "", {"hierarchies"}),
])
def test_controllers_of_both_versions(tmp_path: Path, mounts: str, controllers: str, bad: set[str]) -> None:
    files = host_of(
        tmp_path, proc__self__mounts=mounts, **{"sys__fs__cgroup__cgroup.controllers": controllers}
    )
    found = levels(cgroups.checks(files))
    assert {name for name, level in found.items() if level in (Level.WARNING, Level.FAILURE)} == bad


def test_limits_that_are_small_or_nearly_used_up(tmp_path: Path) -> None:
    files = host_of(
        tmp_path, proc__sys__fs__inotify__max_user_instances="16", proc__sys__kernel__pid_max="4194304",
        proc__loadavg="0.1 0.2 0.3 2/950 77", **{"proc__sys__kernel__threads-max": "1000", "proc__sys__fs__file-nr":
                                                 "95 0 100"},
    )
    found = {check.name: check for check in limits.checks(files)}
    assert found["inotify instances"].level is Level.WARNING
    assert "sysctl fs.inotify.max_user_instances=128" in found["inotify instances"].todo
    assert found["processes"].level is Level.OK
    assert found["threads of all"].level is found["open files of all"].level is Level.WARNING


def test_who_forwards_and_who_drops(tmp_path: Path) -> None:
    files = host_of(tmp_path, proc__sys__net__ipv4__ip_forward="0", proc__7__comm="dockerd")
    assert levels(network.checks(files, "pier", serving=True))["IP forwarding"] is Level.WARNING
    found = levels(network.checks(files, "pier", serving=False))
    assert (found["IP forwarding"], found["other engines"]) == (Level.OK, Level.ADVICE)
    tables = [("inet", "pier"), ("ip", "filter")]
    chains = [network.Chain(family, table, "FORWARD", drops=True) for family, table in (("ip", "filter"), tables[0])]
    dropping = [check for check in network.of_others(tables, chains, "pier") if check.level is Level.WARNING]
    assert [check.found for check in dropping] == ["ip filter FORWARD drops what it does not accept"]


MOUNTS = """\
/dev/a / ext4 rw 0 0
tmpfs /var tmpfs rw 0 0
/dev/b /var/lib/pi\\040er xfs ro,relatime 0 0
server:/x /var/lib/pi nfs4 rw 0 0
"""


@pytest.mark.parametrize(("path", "place", "kind"), [
    ("/etc", "/", "ext4"), ("/var/lib", "/var", "tmpfs"), ("/var/lib/pi er/x", "/var/lib/pi er", "xfs"),
    ("/var/lib/pi", "/var/lib/pi", "nfs4"), ("/var/lib/pierce", "/var", "tmpfs"),
])
def test_the_file_system_of_a_path(path: str, place: str, kind: str) -> None:
    assert storage.mount_of(MOUNTS, path)[:2] == (place, kind)


@pytest.mark.parametrize(("kind", "options", "level"), [
    ("ext4", "rw", Level.OK), ("ext4", "ro", Level.FAILURE), ("overlay", "rw", Level.FAILURE),
    ("nfs4", "rw", Level.FAILURE), ("tmpfs", "rw", Level.WARNING),
])
def test_file_systems_that_hold_no_state(tmp_path: Path, kind: str, options: str, level: Level) -> None:
    files = host_of(tmp_path, proc__self__mounts=f"x / {kind} {options} 0 0")
    assert levels(storage.checks(files, tmp_path))["file system"] is level


def test_rooms() -> None:
    gib = 1 << 30
    found = [storage._room(free, 100 * gib, "").level for free in (50 * gib, gib // 2, 1 << 20)]
    assert found == [Level.OK, Level.WARNING, Level.FAILURE]
    assert [storage._inodes(free, 1000, "").level for free in (500, 10, 0)] == [
        Level.OK, Level.WARNING, Level.FAILURE]


def test_a_machine_without_a_runtime(tmp_path: Path) -> None:
    found = levels(runtimes.checks({"crun": str(tmp_path / "crun")}, str(tmp_path / "tini")))
    assert found == {"runtime": Level.FAILURE, "init": Level.ADVICE}


def test_a_clock_of_another_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert levels(clock.checks())["time"] is Level.FAILURE


def test_a_service_that_does_not_serve_has_the_advice_of_its_reason(tmp_path: Path) -> None:
    own = instance(root=tmp_path, run=tmp_path)
    rows = [
        Row("netd", "", 0, -1.0, "dead", "it cannot run (DATABASE_DAMAGED): /x/netd.db: the database is damaged"),
        Row("execd", "", 7, -1.0, "hung", "process 7 was stopped by a signal"),
        Row("imaged", "1.0", 8, 5.0, "serving"), Row("buildd", "1.1", 9, 5.0, "serving"),
    ]
    found = {check.name: check for check in services.of_rows(own, rows)}
    assert "sqlite3 FILE .recover" in found["netd"].todo
    assert "kill -9" in found["execd"].todo
    assert found["versions"].found == "imaged 1.0, buildd 1.1"
    assert found["API socket"].level is Level.FAILURE


def test_a_runtime_that_its_probe_refused_is_a_failure() -> None:
    info = system_pb2.InfoResponse(facts={"runtime.crun": "/usr/bin/crun, refused: it starts without a filter"})
    (found,) = services.of_facts({"execd": info, "netd": Unavailable("gone")})
    assert (found.level, found.name) == (Level.FAILURE, "execd runtime.crun")


def test_what_is_shown() -> None:
    checks = [
        ok("kernel", "nft", "works"), failure("storage", "room", "0 GiB\x1b[2J", "make room"),
        warning("storage", "inodes", "few", "more"), advice("clock", "synchronised", "no", "chrony"),
    ]
    shown = doctor.lines(checks)
    assert shown[0:2] == ["kernel", "  ok    nft                      works"]
    assert "\x1b" not in "".join(shown)
    assert shown[-1] == "1 failures, 1 warnings, 1 notes, 1 as they should be"


def test_a_host_that_hangs_is_told_and_the_rest_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\necho '{\"begin\": \"storage\"}'\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PIER_RUN", str(tmp_path / "run"))
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(doctor, "_HOST_TIMEOUT", 3.0)
    assert main(["doctor", "--json"]) == 1
    checks = [Check(**{**each, "level": Level(each["level"])}) for each in json.loads(capsys.readouterr().out)]
    (hanging,) = [check for check in checks if check.name == "looking"]
    assert hanging.area == "storage"
    assert {check.found for check in checks if check.name in ("netd", "gateway")} == {"dead"}
