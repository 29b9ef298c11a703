"""The verbs over several services: what they leave, what they undo, and what a second coordinator finds to finish."""

import asyncio
import contextlib

import pytest
from google.protobuf import any_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import AlreadyExists, Conflict, InvalidArgument, NotFound, NotModified, PierError, Unimplemented
from chassis.ids import new_id
from coordinator.commit import NewImage, is_frozen
from coordinator.coordinator import Coordinator
from coordinator.create import NewContainer, merged, planned
from coordinator.plans import PLAN
from coordinator.reconcile import keep_reconciled, reconcile
from coordinator.volumes import users
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.network.v1 import network_pb2
from pier.types.v1 import types_pb2
from tests.unit.coordinator.fakes import FakeWorld

BRIDGE = engine_pb2.ContainerPlan(network_mode="bridge", attachments=[network_pb2.Attachment(network="bridge")])


def new(image="busybox", plan=BRIDGE, name="web", **spec):
    return NewContainer(new_id(), name, image, exec_pb2.ContainerSpec(**spec), plan)


@pytest.fixture
def world():
    return FakeWorld()


@pytest.fixture
async def coordinator(world):
    made = Coordinator(world.services)
    yield made
    await made.close()


async def test_a_container_is_made_started_stopped_and_removed_and_nothing_is_left(world, coordinator):
    id_ = (await coordinator.create(new())).container.id
    await coordinator.start(id_)
    assert world.left == ({id_}, {id_}, {id_})
    await coordinator.stop(id_)
    assert world.left == ({id_}, {id_}, set())
    await coordinator.remove(id_)
    assert world.left == (set(), set(), set())


async def test_an_unknown_image_is_told_before_anything_is_made(world, coordinator):
    with pytest.raises(NotFound, match="No such image: missing:latest") as caught:
        await coordinator.create(new(image="missing"))
    assert caught.value.reason == "NO_SUCH_IMAGE"
    assert world.left == (set(), set(), set())


async def test_a_taken_name_leaves_its_holder_alone(world, coordinator):
    holder = (await coordinator.create(new())).container.id
    with pytest.raises(AlreadyExists):
        await coordinator.create(new())
    assert world.left == ({holder}, {holder}, set())


async def test_a_taken_port_leaves_no_sandbox_and_the_container_created(world, coordinator):
    plan = engine_pb2.ContainerPlan(
        network_mode="bridge", attachments=[network_pb2.Attachment(network="bridge")],
        ports=[network_pb2.PublishedPort(container_port=80, host_port=1)])
    id_ = (await coordinator.create(new(plan=plan))).container.id
    with pytest.raises(Conflict, match="port is already allocated"):
        await coordinator.start(id_)
    assert world.left == ({id_}, {id_}, set())
    assert world.records[id_].status.state == exec_pb2.CONTAINER_STATE_CREATED
    assert "port is already allocated" in world.records[id_].status.error


COMMIT = NewImage(reference="made:1", config=b"{}", author="", message="", pause=True)


@pytest.mark.parametrize("fail_after", [False, True])
@pytest.mark.parametrize("fail_for", [1, 100])
def test_a_container_goes_on_whatever_becomes_of_its_commit(fail_after, fail_for):
    """Whatever call fails, and where all calls fail from then on too, as if the coordinator had died."""
    async def run(fail_at):
        world = FakeWorld()
        coordinator = Coordinator(world.services)
        id_ = (await coordinator.create(new())).container.id
        await coordinator.start(id_)
        world.calls.clear()
        world.fail_at, world.fail_after, world.fail_for = fail_at, fail_after, fail_for
        with contextlib.suppress(PierError):
            await coordinator.commit(id_, COMMIT)
        made = len(world.calls)
        world.fail_at = 0
        world.fail_for = 0
        await reconcile(coordinator)
        assert world.records[id_].status.state == exec_pb2.CONTAINER_STATE_RUNNING, fail_at
        assert not is_frozen(world.records[id_]), fail_at
        await coordinator.close()
        return made

    calls = asyncio.run(run(10_000))
    for fail_at in range(1, calls + 1):
        asyncio.run(run(fail_at))


async def test_who_paused_a_container_finds_it_paused_after_a_commit(world, coordinator):
    id_ = (await coordinator.create(new())).container.id
    await coordinator.start(id_)
    world.records[id_].status.state = exec_pb2.CONTAINER_STATE_PAUSED
    await coordinator.commit(id_, COMMIT)
    await reconcile(coordinator)
    assert world.records[id_].status.state == exec_pb2.CONTAINER_STATE_PAUSED


async def test_a_running_container_is_not_started_again(coordinator):
    id_ = (await coordinator.create(new())).container.id
    await coordinator.start(id_)
    with pytest.raises(NotModified):
        await coordinator.start(id_)


async def test_the_end_of_a_container_removes_it_where_it_was_made_to_be(world, coordinator):
    id_ = (await coordinator.create(new(auto_remove=True))).container.id
    await coordinator.start(id_)
    world.end(id_)
    assert await coordinator.settle(id_)
    assert world.left == (set(), set(), set())


async def test_the_end_of_a_container_that_was_started_again_is_no_end(world, coordinator):
    id_ = (await coordinator.create(new(auto_remove=True))).container.id
    await coordinator.start(id_)
    assert not await coordinator.settle(id_)
    assert world.left == ({id_}, {id_}, {id_})


async def test_two_verbs_on_one_container_follow_one_another(world, coordinator):
    id_ = (await coordinator.create(new())).container.id
    results = await asyncio.gather(coordinator.start(id_), coordinator.start(id_), return_exceptions=True)
    assert [type(result) for result in results] == [exec_pb2.Container, NotModified]
    assert world.calls.count("StartContainer") == 1


async def test_a_client_that_goes_away_cancels_nothing(world, coordinator):
    id_ = (await coordinator.create(new())).container.id
    caller = asyncio.create_task(coordinator.start(id_))
    while "CreateSandbox" not in world.calls:
        await asyncio.sleep(0)
    caller.cancel()
    while coordinator.is_busy(id_):
        await asyncio.sleep(0)
    assert world.records[id_].status.state == exec_pb2.CONTAINER_STATE_RUNNING


async def test_a_container_may_join_the_network_of_a_running_one_only(world, coordinator):
    first = (await coordinator.create(new())).container.id
    plan = engine_pb2.ContainerPlan(network_mode=f"container:{first}")
    second = (await coordinator.create(new(plan=plan, name="two"))).container.id
    with pytest.raises(Conflict, match="non running container"):
        await coordinator.start(second)
    await coordinator.start(first)
    await coordinator.start(second)
    assert world.sandboxes == {first}


async def test_the_trace_of_a_start_is_kept_with_the_container(world, coordinator):
    id_ = (await coordinator.create(new())).container.id
    await coordinator.start(id_)
    while len(world.traces) < 2:
        await asyncio.sleep(0)
    assert {root.name for _, root in world.traces} == {"create", "start"}
    start = next(root for _, root in world.traces if root.name == "start")
    assert [child.name for child in start.children] == ["start.network", "start.run"]


@settings(max_examples=60, deadline=None)
@given(fail_at=st.integers(1, 14), fail_after=st.booleans(), auto_remove=st.booleans())
def test_whatever_call_fails_a_reconciler_leaves_all_or_nothing(fail_at, fail_after, auto_remove):
    """Each call of create, start, stop and remove fails once, before or after it acted."""

    async def scenario():
        world = FakeWorld()
        coordinator = Coordinator(world.services)
        world.fail_at, world.fail_after = fail_at, fail_after
        request = new(auto_remove=auto_remove)
        try:
            await coordinator.create(request)
            await coordinator.start(request.id)
            await coordinator.stop(request.id)
            await coordinator.remove(request.id)
        except (PierError, ExceptionGroup):
            pass
        await coordinator.close()
        world.fail_at = 0
        second = Coordinator(world.services)
        await reconcile(second)
        assert await reconcile(second) == 0, "a second pass finds nothing to do"
        records, snapshots, sandboxes = world.left
        assert snapshots == records
        running = {id_ for id_, r in world.records.items() if r.status.state == exec_pb2.CONTAINER_STATE_RUNNING}
        assert sandboxes == running
        for record in world.records.values():
            assert record.status.state != exec_pb2.CONTAINER_STATE_CREATING
        await second.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("fail_after", [False, True])
@pytest.mark.parametrize("fail_at", range(1, 15))
async def test_what_a_failed_call_left_is_settled_soon_and_not_in_a_minute(
    world, coordinator, monkeypatch, fail_at, fail_after
):
    monkeypatch.setattr("coordinator.reconcile._SOONEST", 0.01)
    keeper = asyncio.create_task(keep_reconciled(coordinator))
    while "Info" not in world.calls:  # the last call of its first pass
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    request = new()
    world.calls.clear()
    world.fail_at, world.fail_for, world.fail_after = fail_at, 2, fail_after
    try:
        await coordinator.create(request)
        await coordinator.start(request.id)
        await coordinator.stop(request.id)
    except (PierError, ExceptionGroup):
        pass
    async with asyncio.timeout(30):
        while not settled(world):
            await asyncio.sleep(0.01)
    keeper.cancel()


def settled(world):
    records, snapshots, sandboxes = world.left
    running = {id_ for id_, r in world.records.items() if r.status.state == exec_pb2.CONTAINER_STATE_RUNNING}
    return snapshots == records and sandboxes == running


def config(text):
    return image_pb2.Image(id="sha256:1", config=text)


def test_the_image_gives_what_was_not_asked_for():
    image = config(b'{"config":{"Entrypoint":["/e"],"Cmd":["c"],"Env":["A=1","B=2"],"User":"7","WorkingDir":"/w",'
                   b'"Labels":{"a":"1","b":"2"},"StopSignal":"SIGINT"}}')
    request = new(process=exec_pb2.Process(env=[b"B=3", b"C=4", b"A"]), labels={"b": "3"})
    spec = merged(request, image)
    assert list(spec.process.args) == [b"/e", b"c"]
    assert list(spec.process.env) == [b"B=3", b"C=4"]
    assert (spec.process.user, spec.process.cwd, spec.stop_signal) == ("7", b"/w", "SIGINT")
    assert dict(spec.labels) == {"a": "1", "b": "3"}


@pytest.mark.parametrize(
    "entrypoint,command,expected",
    [
        (None, None, [b"/e", b"c"]),
        (None, (b"x",), [b"/e", b"x"]),
        ((b"/n",), None, [b"/n"]),
        ((), (b"x",), [b"x"]),
        ((b"/n",), (b"x",), [b"/n", b"x"]),
    ],
)
def test_a_given_entrypoint_drops_the_images_command(entrypoint, command, expected):
    image = config(b'{"config":{"Entrypoint":["/e"],"Cmd":["c"]}}')
    request = NewContainer(new_id(), "web", "x", exec_pb2.ContainerSpec(), BRIDGE, entrypoint, command)
    assert list(merged(request, image).process.args) == expected


def test_nothing_to_run_is_refused():
    with pytest.raises(InvalidArgument, match="no command specified"):
        merged(new(), config(b"{}"))


def test_each_declared_volume_is_made_unless_something_is_mounted_there():
    image = config(b'{"config":{"Cmd":["x"],"Volumes":{"/data":{},"/b/":{},"/":{},"/b/../b":{},"c/../../data":{}}}}')
    mounts = [types_pb2.MountSpec(type="bind", source=b"/host", target=b"/data")]
    (volume,) = planned(new(mounts=mounts), image).volumes
    assert (volume.target, volume.anonymous, len(volume.name)) == (b"/b", True, 64)


def test_exposed_ports_are_taken_as_far_as_they_are_ports():
    image = config(b'{"config":{"Cmd":["x"],"ExposedPorts":{"80":{},"53/UDP":{},"x/tcp":{},"1/tcp/tcp":{},"":{}}}}')
    assert list(planned(new(), image).exposed_ports) == ["53/udp", "80/tcp"]


async def test_a_volume_is_in_use_while_its_container_is_being_made(world, coordinator):
    plan = engine_pb2.ContainerPlan(network_mode="none", volumes=[engine_pb2.VolumeMount(name="data", target=b"/d")])
    extension = any_pb2.Any()
    extension.Pack(plan)
    being_made = exec_pb2.Container(id="1", extensions={PLAN: extension})
    assert users(image_pb2.Volume(name="data", path=b"/volumes/data"), [being_made]) == ["1"]
    assert users(image_pb2.Volume(name="other", path=b"/volumes/other"), [being_made]) == []


@given(st.binary(max_size=60))
def test_a_hostile_config_is_refused_or_understood(data):
    try:
        merged(new(process=exec_pb2.Process(args=[])), config(data))
    except (InvalidArgument, Unimplemented):
        pass


@pytest.mark.parametrize("policy, by_hand, boot, started", [
    ("always", False, "before", True), ("always", True, "before", True), ("unless-stopped", False, "before", True),
    ("unless-stopped", True, "before", False), ("on-failure", False, "before", False), ("no", False, "before", False),
    ("always", False, "now", False),
])
async def test_a_reboot_is_followed_by_the_starts_that_policies_want(
    world, coordinator, policy, by_hand, boot, started
):
    id_ = (await coordinator.create(new(restart_policy=exec_pb2.RestartPolicy(name=policy)))).container.id
    await coordinator.start(id_)
    status = world.records[id_].status
    status.state, status.stopped_by_hand = exec_pb2.CONTAINER_STATE_EXITED, by_hand
    world.records[id_].boot_id = boot
    world.sandboxes.clear()
    await reconcile(coordinator)
    assert (world.records[id_].status.state == exec_pb2.CONTAINER_STATE_RUNNING) is started
    assert (id_ in world.sandboxes) is started
