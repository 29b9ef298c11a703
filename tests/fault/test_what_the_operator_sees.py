"""Each way to break a service, and what `pier system status` and `doctor` say of it: docs/troubleshooting.md's table.

The texts that are looked for are the table's own, read from the page.
"""

import json
import os
import re
import signal
import subprocess
from contextlib import contextmanager, suppress

import pytest

from chassis import kernel
from chassis.instance import SERVICES
from launcher.programs import programs
from tests import tools
from tests.engine import running, wait_until

PAGE = (tools.PROJECT / "docs" / "troubleshooting.md").read_text()
STATEFUL = ("imaged", "netd", "execd", "buildd")
_CELLS = re.compile(r"^\| (?P<what>[^|]+?) \| (?P<status>[^|]+?) \| (?P<doctor>[^|]+?) \| (?P<alert>[^|]+?) \| "
                    r"(?P<log>[^|]+?) \|$", re.MULTILINE)
ROWS = {match["what"]: match.groupdict() for match in _CELLS.finditer(PAGE)}
_DISKS = re.compile(r"^\| (?P<service>\w+) \| (?P<what>[^|]+?) \| (?P<doctor>[^|]+?) \| (?P<log>[^|]+?) \|$",
                    re.MULTILINE)
DISKS = {match["service"]: match.groupdict() for match in _DISKS.finditer(PAGE)}


def pattern(cell, service):
    """What a cell quotes between backticks, SERVICE and numbers being any; one pattern each."""
    texts = re.findall(r"`([^`]+)`", cell)
    assert texts, f"the table quotes nothing: {cell}"
    return [
        re.sub(r"(\\ )+", r"\\s+", re.sub(r"\bPID\b|\bN\b", "[0-9.]+", re.escape(text.replace("SERVICE", service))))
        for text in texts
    ]


def health(engine):
    """Exit code, and each service's row as status has it."""
    done = engine.pier("system", "status", "--json", timeout=30)
    return done.returncode, {row["service"]: row for row in json.loads(done.stdout)}


def expect(engine, what, services):
    """The page's status, doctor and log cells for ``what`` hold of each of ``services``."""
    row = ROWS[what]
    shown = {kind: engine.pier("system", kind, timeout=60) for kind in ("status", "doctor")}
    for kind, done in shown.items():
        assert done.returncode == 1, done.stdout
        for service in services:
            for text in pattern(row[kind], service):
                assert re.search(text, done.stdout), f"{what}: {kind} does not say {text!r}:\n{done.stdout}"
    for service in services if "`" in row["log"] else ():
        log = engine.log(service) + engine.log("launcher")
        for text in pattern(row["log"], service):
            assert re.search(text, log), f"{what}: the log of {service} does not say {text!r}"


@pytest.fixture
def container(engine):
    """One that runs whatever is broken, and is as it was afterwards."""
    engine.ok("run", "-d", "--name", "stays", "busybox", "sleep", "600")
    pid = engine.inspect("stays")["State"]["Pid"]
    yield
    engine.wait_supervised(60)
    state = engine.inspect("stays")["State"]
    assert (state["Pid"], state["Running"]) == (pid, True)
    wait_until(lambda: health(engine)[0] == 0, 60)


@contextmanager
def unsupervised(engine):
    """The launcher sees nothing of what happens meanwhile, and starts nothing."""
    launcher = engine.pid("launcher")
    os.kill(launcher, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(launcher, signal.SIGCONT)


def kill_all(engine, services):
    pids = [engine.pid(service) for service in services]
    engine.kill(*services)
    for pid in pids:  # a zombie, while nobody reaps it
        wait_until(lambda pid=pid: _state(pid) in ("Z", ""), what=f"{pid} has ended")


def _state(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_killed(engine, container):
    with unsupervised(engine):
        kill_all(engine, SERVICES)
        expect(engine, "killed, and not started again", SERVICES)
    engine.wait_serving(60)
    log = engine.log("launcher")
    for service in SERVICES:
        assert re.search(pattern(ROWS["killed, and started again"]["log"], service)[0], log)


def test_stopped(engine, container):
    for service in SERVICES:
        os.kill(engine.pid(service), signal.SIGSTOP)
    try:
        expect(engine, "stopped (SIGSTOP), or hanging", SERVICES)
    finally:
        for service in SERVICES:
            os.kill(engine.pid(service), signal.SIGCONT)
        engine.wait_serving()


@pytest.mark.parametrize("victim", ["gateway", "execd"])
def test_one_that_hangs_holds_up_no_others_row(engine, victim):
    os.kill(engine.pid(victim), signal.SIGSTOP)
    others = set(SERVICES) - {victim}
    try:
        # On a machine with no processor to spare another may be too slow once.
        rows = wait_until(lambda: found if all((found := health(engine)[1])[name]["health"] == "serving"
                                               for name in others) else None, 60, f"all but {victim} serve")
        assert (rows[victim]["health"], rows[victim]["pid"]) == ("hung", engine.pid(victim))
    finally:
        os.kill(engine.pid(victim), signal.SIGCONT)


def test_its_socket_removed(engine, container):
    for service in SERVICES:
        engine.instance.socket(service).unlink()
    expect(engine, "its socket removed", SERVICES)
    assert engine.metric("netd", "pier_sockets_present") == 0
    engine.kill(*SERVICES)


def test_its_database_damaged(engine, container):
    """Bytes of the file's header, and of the first page of its log, which may hold the header anew: refused until both
    are whole again."""
    with unsupervised(engine):
        kill_all(engine, STATEFUL)
        whole = {
            path: path.read_bytes() for service in STATEFUL
            for path in engine.instance.state(service).glob(f"{service}.db*") if not path.name.endswith("-shm")
        }
        try:
            for path, data in whole.items():
                at = 60 if path.name.endswith("-wal") else 3
                if len(data) > at:
                    path.write_bytes(data[:at] + b"flipped" + data[at + 7:])
            assert try_to_run(engine, STATEFUL) == [1] * len(STATEFUL)
            expect(engine, "its database damaged (bytes flipped)", STATEFUL)
        finally:
            for path, data in whole.items():
                path.write_bytes(data)
    engine.wait_serving(60)
    assert engine.pier("system", "fsck").stdout.strip() == "nothing found"


def try_to_run(engine, services):
    """Start the services as the launcher does, all at once, and wait for their ends: their exit codes."""
    log = engine.instance.root / "log"
    running = []
    for program in programs(engine.instance, None):
        if program.name in services:
            with (log / f"{program.name}.log").open("ab") as output:
                running.append(subprocess.Popen(program.argv, env=engine.service_environment, stdout=output,
                                                stderr=output, stdin=subprocess.DEVNULL))
    return [process.wait(60) for process in running]


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """An engine whose services have a file system each."""
    directory = tmp_path_factory.mktemp("apart")
    places = [directory / "root" / service for service in SERVICES]
    for place in places:
        place.mkdir(parents=True)
        kernel.mount(b"tmpfs", bytes(place), b"tmpfs", 0, b"size=96m")  # full is less than 64 MiB free
    with running("apart", directory, PIER_IMAGED_DISK_RESERVE_BYTES="1048576") as engine:
        engine.load_busybox()
        engine.ok("build", "-", input=BUILT)
        yield engine
    for place in places:
        kernel.umount(bytes(place), kernel.MNT_DETACH)


BUILT = "FROM busybox\nRUN true\n"
NO_SPACE = "no space left on device"
REFUSED = {
    "gateway": (), "buildd": (),
    "imaged": (("create", "busybox"), ("tag", "busybox", "b"), ("volume", "create", "vol")),
    "netd": (("network", "create", "net"), ("run", "--rm", "busybox", "true")),
    "execd": (("create", "busybox"),),
}


@contextmanager
def no_room(directory):
    """Not for a byte more."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


@pytest.mark.parametrize("service", SERVICES)
def test_its_own_disk_full(apart, service):
    row = DISKS[service]
    before = len(apart.log(service))
    assert not re.search(pattern(row["doctor"], service)[0], apart.pier("system", "doctor", timeout=60).stdout)
    with no_room(apart.instance.state(service)):
        for words in REFUSED[service]:
            done = apart.docker(*words)
            assert done.returncode != 0
            assert NO_SPACE in done.stderr, f"{words}: {done.stderr}"
        if not REFUSED[service]:
            wait_until(lambda: apart.ok("build", "-q", "-", input=BUILT) and noticed(apart, service), 30)
        wait_until(lambda: health(apart)[0] == 0, 60, "all answer")
        said = apart.pier("system", "doctor", timeout=60).stdout
        for text in (*pattern(row["doctor"], service), *pattern(ROWS["its disk full"]["doctor"], service)):
            assert re.search(text, said), said
        assert apart.metric(service, "pier_state_free_bytes") == 0
        log = apart.log(service)[before:]
        for text in pattern(row["log"], service):
            assert re.search(text, log), log
    apart.ok("run", "--rm", "busybox", "true")
    wait_until(lambda: apart.pier("system", "fsck").stdout == "nothing found\n", 30)


def noticed(engine, service):
    """The service has found no room for what nobody waits for."""
    if service == "gateway":
        return engine.metric("gateway", "pier_audit_lines_lost_total") > 0
    return "database or disk is full" in engine.log(service)


def test_the_page_names_alerts_that_there_are():
    rules = (tools.PROJECT / "deploy" / "prometheus" / "rules.yml").read_text()
    for row in ROWS.values():
        for name in re.findall(r"Pier[A-Z]\w+", row["alert"]):
            assert f"alert: {name}\n" in rules
