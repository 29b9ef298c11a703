"""Services of two neighbouring versions work together: each of the previous one's with all others of today's."""

import pytest

from chassis.instance import SERVICES
from tests import previous
from tests.engine import wait_until


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The previous version's services."""
    commit = previous.commit()
    if not commit:
        pytest.skip("this clone's history does not have the previous version (deploy/previous): fetch it")
    directory = tmp_path_factory.mktemp("previous")
    previous.unpack(commit, directory)
    return directory


@pytest.fixture(scope="module", params=SERVICES)
def mixed(request, source, tmp_path_factory):
    """An engine with one service of the previous version, and that service's name."""
    with previous.running("mixed", tmp_path_factory.mktemp("mixed"), source, request.param) as engine:
        engine.load_busybox()
        yield engine, request.param


@pytest.fixture
def no_containers_left():
    """In place of the directory's own, whose engine is not needed here."""


def test_a_service_of_the_previous_version_works_with_todays_and_is_upgraded_under_a_container(source, mixed):
    engine, service = mixed
    assert runs_from(engine, service) == str(source / "services")
    engine.ok("network", "create", "net")
    engine.ok("create", "--name", "over", "--network", "net", "-v", "vol:/data", "-p", "127.0.0.1::80", "busybox", "sh",
              "-c", "echo said; exec sleep 600")
    engine.ok("start", "over")
    pid = engine.inspect("over")["State"]["Pid"]
    use(engine)
    engine.ok("build", "-t", "built", "-", input="FROM busybox\nRUN echo built > /file\n")
    assert engine.ok("run", "--rm", "built", "cat", "/file") == "built"
    wait_until(lambda: engine.pier("system", "status").returncode == 0, 60)
    engine.upgrade(service)
    assert runs_from(engine, service) != str(source / "services")
    assert engine.inspect("over")["State"]["Pid"] == pid
    use(engine)
    engine.ok("stop", "-t", "0", "over")
    assert engine.inspect("over")["State"]["ExitCode"] == 137
    engine.ok("rm", "over")
    engine.ok("volume", "rm", "vol")
    engine.ok("network", "rm", "net")
    engine.ok("rmi", "built")
    engine.ok("builder", "prune", "-af")
    wait_until(lambda: engine.pier("system", "fsck").stdout == "nothing found\n", 60)


def use(engine):
    """What a container that runs is used for."""
    assert engine.ok("exec", "over", "hostname") == engine.inspect("over")["Id"][:12]
    wait_until(lambda: engine.ok("logs", "over") == "said")
    assert "over" in engine.ok("ps", "--format", "{{.Names}}").split()
    assert engine.docker("cp", "over:/etc/hostname", "-").returncode == 0


def runs_from(engine, service):
    """The first place where it looks for its code."""
    with open(f"/proc/{engine.pid(service)}/environ", "rb") as file:
        variables = dict(line.partition(b"=")[::2] for line in file.read().split(b"\0") if line)
    return variables[b"PYTHONPATH"].decode()


def test_what_has_no_history_is_skipped_and_not_passed(monkeypatch):
    monkeypatch.setenv("PIER_TEST_PREVIOUS", "v0.0.0-nowhere")
    assert previous.commit() == ""
