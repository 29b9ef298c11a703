"""Plans and names before a container is made: what is filled in, what is found, what contradicts itself."""

import pytest

from chassis.errors import AlreadyExists, InvalidArgument, NotFound
from chassis.ids import new_id
from coordinator import generated_names, planning
from coordinator.coordinator import Coordinator
from coordinator.create import NewContainer
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2
from tests.unit.coordinator.fakes import FakeWorld

Plan, Attachment = engine_pb2.ContainerPlan, network_pb2.Attachment
NETWORKS = {"bridge": "bridge", "inner": "inner", "abc123": "inner"}


class World(FakeWorld):
    """With networks that may be asked for by name and id, and containers by name."""

    def GetNetwork(self, request):
        if request.network not in NETWORKS:
            raise NotFound(f"network {request.network} not found")
        return network_pb2.GetNetworkResponse(network=network_pb2.Network(name=NETWORKS[request.network]))

    def record(self, id_):
        return next((each for each in self.records.values() if each.name == id_), None) or super().record(id_)


@pytest.fixture
async def coordinator():
    made = Coordinator(World().services)
    yield made
    await made.close()


def new(name):
    plan = Plan(network_mode="bridge", attachments=[Attachment(network="bridge")])
    return NewContainer(new_id(), name, "busybox", exec_pb2.ContainerSpec(), plan)


async def test_what_is_not_said_is_the_bridge(coordinator):
    plan = await planning.resolved(coordinator, Plan(ports=[network_pb2.PublishedPort(container_port=80)]))
    assert (plan.network_mode, len(plan.ports)) == ("bridge", 1)
    assert [each.network for each in plan.attachments] == ["bridge"]


async def test_networks_have_their_names_and_a_volume_without_one_is_the_containers_own(coordinator):
    volumes = [engine_pb2.VolumeMount(target=b"/v"), engine_pb2.VolumeMount(name="n")]
    asked = Plan(network_mode="abc123", volumes=volumes)
    plan = await planning.resolved(coordinator, asked)
    assert plan.attachments[0].network == "inner"
    assert [(len(each.name), each.anonymous) for each in plan.volumes] == [(64, True), (1, False)]
    assert asked.volumes[0].name == ""


async def test_another_container_is_joined_by_its_id_whatever_it_was_called_by(coordinator):
    other = (await coordinator.create(new("web"))).container.id
    plan = await planning.resolved(coordinator, Plan(network_mode="container:web"))
    assert plan.network_mode == f"container:{other}"
    spec = exec_pb2.ContainerSpec(namespaces=[exec_pb2.NamespaceRef(container="web"), exec_pb2.NamespaceRef(host=True)])
    await planning.joined(coordinator, spec)
    assert [each.WhichOneof("source") for each in spec.namespaces] == ["container", "host"]
    assert spec.namespaces[0].container == other
    with pytest.raises(NotFound):
        await planning.resolved(coordinator, Plan(network_mode="container:nobody"))


@pytest.mark.parametrize("plan, field", [
    (Plan(network_mode="host", ports=[network_pb2.PublishedPort(container_port=80)]), "plan.ports"),
    (Plan(network_mode="none", attachments=[Attachment(network="inner")]), "plan.attachments"),
    (Plan(network_mode="container:x", attachments=[Attachment(network="inner")]), "plan.attachments"),
    (Plan(attachments=[Attachment(network="inner"), Attachment(network="abc123")]), "plan.attachments"),
    (Plan(attachments=[Attachment(network="inner", ports=[network_pb2.PublishedPort(container_port=1)])]),
     "plan.attachments[0].ports"),
])
async def test_what_contradicts_itself_is_refused_by_its_field(coordinator, plan, field):
    with pytest.raises(InvalidArgument) as caught:
        await planning.resolved(coordinator, plan)
    assert caught.value.field == field


async def test_a_network_that_is_not_there_is_told_at_once(coordinator):
    with pytest.raises(NotFound, match="nowhere"):
        await planning.resolved(coordinator, Plan(attachments=[Attachment(network="nowhere")]))


async def test_a_name_that_was_made_up_and_is_taken_is_made_up_anew(coordinator, monkeypatch):
    monkeypatch.setattr(generated_names, "generate", lambda attempt: f"name{min(attempt, 3)}")
    names = [(await coordinator.create(new(""))).container.name for _ in range(4)]
    assert names == ["name0", "name1", "name2", "name3"]
    with pytest.raises(AlreadyExists):
        await coordinator.create(new(""))
    with pytest.raises(AlreadyExists):
        await coordinator.create(new("name0"))
