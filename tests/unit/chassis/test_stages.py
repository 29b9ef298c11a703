"""Stages: spans nest over tasks and threads, failures are told, fault points act where they are armed."""

import asyncio
import os
import subprocess
import sys

import pytest

from chassis import stages
from chassis.blocking import Pool
from chassis.errors import Conflict, Internal


@pytest.fixture
def armed(monkeypatch):
    def arm(value):
        monkeypatch.setenv("PIER_FAULT", value)
        stages.configure("sample")

    yield arm
    monkeypatch.delenv("PIER_FAULT", raising=False)
    stages.configure("sample")


def outline(node):
    return {node.name: [outline(child) for child in node.children]}


async def test_stages_nest_through_threads_and_tasks():
    pool = Pool("unit", 2)

    def blocking():
        with stages.stage("start.mount"):
            pass

    with stages.trace("Start") as root:
        async with stages.stage("start.prepare"):
            async with asyncio.TaskGroup() as group:
                group.create_task(pool.run(blocking))
        with stages.stage("start.run"):
            pass
    pool.close()
    assert outline(root) == {"Start": [{"start.prepare": [{"start.mount": []}]}, {"start.run": []}]}
    span = root.to_span()
    assert span.duration.ToNanoseconds() >= sum(child.duration.ToNanoseconds() for child in span.children)


def test_a_failed_stage_carries_the_reason():
    with pytest.raises(Conflict), stages.trace("Start") as root, stages.stage("start.run"):
        raise Conflict("running", reason="RUNNING")
    assert root.children[0].error == "RUNNING"


def test_a_fault_of_error_fails_the_stage_before_its_body(armed):
    armed("sample:start.run:error")
    ran = []
    with pytest.raises(Internal) as caught, stages.stage("start.run"):
        ran.append(True)
    assert caught.value.reason == "FAULT"
    assert ran == []


def test_a_fault_at_the_end_acts_after_the_body(armed):
    armed("sample:start.run@end:error")
    ran = []
    with pytest.raises(Internal), stages.stage("start.run"):
        ran.append(True)
    assert ran == [True]


def test_a_fault_of_another_service_does_nothing(armed):
    armed("other:start.run:error")
    with stages.stage("start.run"):
        pass


def test_a_fault_file_is_looked_at_live_and_acts_once(armed, tmp_path):
    file = tmp_path / "fault"
    armed(f"@{file}")
    with stages.stage("start.run"):
        file.write_text("other:start.run@end:error")
    assert file.exists(), "it is meant for another service"
    file.write_text("sample:start.run:error\n")
    with stages.stage("start.other"):
        pass
    with pytest.raises(Internal), stages.stage("start.run"):
        pass
    assert not file.exists()
    with stages.stage("start.run"):
        pass


def test_an_unknown_action_is_refused(armed):
    with pytest.raises(Internal, match="no action"):
        armed("sample:start.run:explode")


def test_a_fault_of_kill_ends_the_process_at_the_boundary(tmp_path):
    program = (
        "from chassis import stages\nstages.configure('sample')\n"
        f"import pathlib\nwith stages.stage('a.b'):\n    pathlib.Path({str(tmp_path / 'mark')!r}).touch()\n"
        "print('never')\n"
    )
    environment = {**os.environ, "PIER_FAULT": "sample:a.b@end:kill", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -9
    assert "never" not in done.stdout
    assert (tmp_path / "mark").exists()


def test_a_trailer_that_would_be_too_large_loses_its_leaves():
    with stages.trace("List") as root:
        for number in range(400):
            with stages.stage(f"list.step{number}"), stages.stage("list.leaf", fact="x" * 100):
                pass
    trailer = stages.to_trailer(root)
    assert trailer is not None
    assert len(trailer) < 24 * 1024
