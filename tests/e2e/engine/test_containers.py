"""pier.engine.v1: containers from create to remove, as a program drives them, beside docker's view of the same ones."""

import os
import stat

import pytest

from pier.exec.v1 import exec_pb2
from pier_client import PierError
from tests.engine import wait_until


def sleeper(pier, name, **options):
    made = pier.containers.create("busybox", ["sleep", "1000"], name=name, **options)
    pier.containers.start(made.record.id)
    return made.record.id


def reason(call, *arguments, **options):
    with pytest.raises(PierError) as caught:
        call(*arguments, **options)
    return caught.value.reason


def test_a_command_runs_to_its_end_and_leaves_nothing(pier, engine):
    result = pier.containers.run("busybox", ["sh", "-c", "cat; echo there >&2; exit 3"], input=b"here")
    assert (result.code, result.stdout, result.stderr) == (3, b"here", b"there\n")
    assert engine.ok("ps", "-aq") == ""


def test_both_faces_show_the_same_container(pier, engine):
    id_ = sleeper(pier, "web", labels={"a": "b"}, environment={"KEY": "value"}, ports=["0:80"], memory=64 << 20,
                  binds=["/etc:/host:ro"], volumes=["kept:/kept"])
    shown = engine.inspect("web")
    assert (shown["Id"], shown["Config"]["Labels"]["a"], shown["HostConfig"]["Memory"]) == (id_, "b", 64 << 20)
    assert shown["HostConfig"]["Binds"] == ["/etc:/host:ro", "kept:/kept"]
    assert "KEY=value" in shown["Config"]["Env"]
    found = pier.containers.get("web").container
    assert found.record.spec.resources.memory == 64 << 20
    assert found.record.status.state == exec_pb2.CONTAINER_STATE_RUNNING
    assert found.endpoints[0].ipv4.partition("/")[0] == shown["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    port = shown["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]
    assert str(found.endpoints[0].ports[0].host_port) == port
    assert not found.record.extensions
    assert [each.record.name for each in pier.containers.list(labels={"a": "b"})] == ["web"]
    pier.containers.remove("web", force=True)
    pier.volumes.remove("kept")


def test_what_a_docker_made_is_driven_and_the_reverse(pier, engine):
    engine.ok("run", "-d", "--name", "theirs", "busybox", "sleep", "1000")
    pier.containers.rename("theirs", "ours")
    pier.containers.pause("ours")
    assert engine.inspect("ours")["State"]["Status"] == "paused"
    pier.containers.unpause("ours")
    pier.containers.restart("ours", timeout=0)
    pier.containers.kill("ours", "KILL")
    assert pier.containers.wait("ours").code == 137
    assert reason(pier.containers.stop, "ours") == "NOT_MODIFIED"
    pier.containers.remove("ours")
    assert reason(pier.containers.get, "ours") == "NO_SUCH_CONTAINER"


def test_refusals_have_a_code_a_reason_and_a_field(pier):
    sleeper(pier, "taken")
    with pytest.raises(PierError, match="taken") as caught:
        pier.containers.create("busybox", name="taken")
    assert (caught.value.code, caught.value.reason) == ("ALREADY_EXISTS", "NAME_TAKEN")
    assert reason(pier.containers.create, "nothing-here") == "NO_SUCH_IMAGE"
    assert reason(pier.containers.create, "busybox", network="nowhere") == "NOT_FOUND"
    assert reason(pier.containers.create, "busybox", network="host", ports=["80"]) == "BAD_FIELD"
    assert reason(pier.containers.remove, "taken") == "RUNNING"
    made = pier.containers.create("busybox", ["/no/such"])
    with pytest.raises(PierError) as caught:
        pier.containers.start(made.record.id)
    assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", "COMMAND_NOT_FOUND")


def test_the_same_operation_is_done_once_also_by_another_gateway(pier, engine):
    first = pier.containers.create("busybox", ["true"], operation_id="make-1")
    again = pier.containers.create("busybox", ["true"], operation_id="make-1")
    assert first.record.id == again.record.id
    assert reason(pier.containers.create, "busybox", ["false"], operation_id="make-1") == "SPEC_DIFFERS"
    pier.containers.start(first.record.id, operation_id="start-1")
    pier.containers.wait(first.record.id)
    assert pier.containers.start(first.record.id, operation_id="start-1").record.status.incarnation == 1
    pid = engine.pid("gateway")
    engine.kill("gateway")
    wait_until(lambda: (engine.instance.run / "gateway.pid").exists() and engine.pid("gateway") != pid, 30)
    engine.wait_serving()
    assert pier.containers.create("busybox", ["true"], operation_id="make-1").record.id == first.record.id
    assert reason(pier.containers.create, "busybox", ["false"], operation_id="make-1") == "SPEC_DIFFERS"
    assert len(pier.containers.list()) == 1


def test_an_exec_has_streams_an_exit_and_a_record(pier):
    sleeper(pier, "box")
    done = pier.containers.exec("box", ["sh", "-c", "cat; echo no >&2; exit 4"], input=b"x" * 300_000)
    assert (done.code, len(done.stdout), done.stderr) == (4, 300_000, b"no\n")
    with pier.containers.open_exec("box", ["sh"], terminal=True, stdin=True) as session:
        session.resize(33, 77)
        session.send(b"stty size; exit 7\n")
        stdout, _ = session.read()
    assert b"33 77" in stdout
    assert session.exit.code == 7
    assert pier.containers.exec("box", ["sh", "-c", "exit 9"], operation_id="exec-1").code == 9
    with pytest.raises(PierError) as caught:
        pier.containers.exec("box", ["sh", "-c", "exit 9"], operation_id="exec-1")
    assert caught.value.reason == "ALREADY_RUN"
    assert pier.containers.exec_of(caught.value.facts["exec_id"]).exit.code == 9
    assert reason(pier.containers.exec, "box", ["/no/such"]) == "COMMAND_NOT_FOUND"
    assert reason(pier.containers.exec, "box", []) == "NO_COMMAND"


def test_a_terminal_is_attached_before_the_start_and_input_ends_alone(asyncly):
    async def work(apier):
        made = await apier.containers.create("busybox", ["sh", "-c", "cat; echo end"], stdin=True)
        async with apier.containers.attach(made.record.id, stdin=True) as session:
            await apier.containers.start(made.record.id)
            await session.send(b"in\n")
            await session.end_input()
            assert await session.read() == (b"in\nend\n", b"")
        assert (await apier.containers.wait(made.record.id)).code == 0

    asyncly(work)


def test_messages_that_make_no_sense_end_the_session_with_their_field(asyncly):
    async def work(apier):
        made = await apier.containers.create("busybox", ["sleep", "1000"])
        await apier.containers.start(made.record.id)
        for message in ({"stdin": b"x"}, {"resize": {"height": 0, "width": 5}}):
            async with apier.containers.attach(made.record.id) as session:
                await session._write(session._message(**message))
                with pytest.raises(PierError) as caught:
                    await session.read()
            assert (caught.value.code, caught.value.reason) == ("INVALID_ARGUMENT", "BAD_FIELD")

    asyncly(work)


def test_logs_stats_and_processes_are_read(pier):
    made = pier.containers.create("busybox", ["sh", "-c", "echo one; echo two >&2; exec sleep 1000"], name="box")
    pier.containers.start(made.record.id)
    following = pier.containers.logs("box", follow=True)
    assert {next(following).data, next(following).data} == {b"one\n", b"two\n"}
    following.close()
    assert [each.data for each in pier.containers.logs("box", stderr=False, tail=5)] == [b"one\n"]
    (sample,) = pier.containers.stats("box", once=True)
    assert sample.memory_usage > 0
    assert [list(each.args) for each in pier.containers.processes("box")] == [[b"sleep", b"1000"]]


def test_the_socket_is_its_groups_and_nobodys_else(engine):
    assert stat.S_IMODE(os.stat(engine.instance.engine_socket).st_mode) == 0o660


def test_reads_answer_what_was_known_while_execd_stands_still(asyncly, engine):
    async def work(apier):
        await apier.containers.create("busybox", ["true"], name="known")
        assert len(await apier.containers.list()) == 1
        engine.ok("ps", "-a")
        os.kill(engine.pid("execd"), 19)
        try:
            found = await apier.containers.get("known")
            assert (found.container.record.name, found.HasField("stale_since")) == ("known", True)
        finally:
            os.kill(engine.pid("execd"), 18)

    asyncly(work)
