"""pier.engine.v1: images, networks, volumes, events, information; and that it describes itself."""

import asyncio
import base64
import json

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from pier_client import PierError


def test_images_are_tagged_shown_pushed_pulled_and_removed(pier, engine, registry):
    reference = f"{registry.host}/engine/app:1"
    pier.images.tag("busybox", reference)
    id_ = pier.images.get(reference).id
    assert reference in next(each for each in pier.images.list() if each.id == id_).familiar
    assert pier.images.push(reference).digest.startswith("sha256:")
    assert pier.images.remove(reference).removed[0].untagged == reference
    answers = list(pier.images.pulling(reference))
    assert (answers[0].WhichOneof("event"), answers[-1].end.image.id) == ("begin", id_)
    pier.images.remove(reference)
    with pytest.raises(PierError) as caught:
        pier.images.pull(f"{registry.host}/engine/none:1")
    assert caught.value.code == "NOT_FOUND"


def test_an_image_in_use_stays(pier):
    pier.containers.create("busybox", name="user")
    with pytest.raises(PierError) as caught:
        pier.images.remove(pier.images.get("busybox").id)
    assert caught.value.code == "FAILED_PRECONDITION"


def test_networks_are_made_joined_and_left(pier, engine):
    made = pier.networks.create("inner", operation_id="net-1")
    assert pier.networks.create("inner", operation_id="net-1").id == made.id
    container = pier.containers.create("busybox", ["sleep", "1000"], name="box")
    pier.containers.start("box")
    pier.networks.connect("inner", "box")
    assert set(engine.inspect("box")["NetworkSettings"]["Networks"]) == {"bridge", "inner"}
    found = pier.networks.get("inner")
    assert [each.sandbox_id for each in found.endpoints] == [container.record.id]
    assert [(each.subnet, each.in_use) for each in found.usage] == [(made.spec.pools[0].subnet, 4)]
    assert made.spec.pools[0].chosen
    with pytest.raises(PierError) as caught:
        pier.networks.remove("inner")
    assert caught.value.reason == "IN_USE"
    pier.networks.disconnect("inner", "box")
    pier.networks.remove("inner")
    assert "inner" not in [each.name for each in pier.networks.list()]


def test_volumes_are_used_and_kept_while_they_are(pier):
    volume = pier.volumes.create(labels={"a": "b"})
    pier.containers.run("busybox", ["sh", "-c", "echo kept >/v/file"], volumes=[f"{volume.name}:/v"])
    assert pier.containers.run("busybox", ["cat", "/v/file"], volumes=[f"{volume.name}:/v:ro"]).stdout == b"kept\n"
    pier.containers.create("busybox", name="user", volumes=[f"{volume.name}:/v"])
    with pytest.raises(PierError) as caught:
        pier.volumes.remove(volume.name)
    assert caught.value.reason == "IN_USE"
    pier.containers.remove("user")
    assert pier.volumes.remove(volume.name) > 0
    with pytest.raises(PierError) as caught:
        pier.volumes.get(volume.name)
    assert caught.value.code == "NOT_FOUND"


def _of_another_life(cursor):
    """The cursor with another epoch of execd's: as if its database had been lost since."""
    places = json.loads(base64.urlsafe_b64decode(cursor))
    places["execd"] = ["0" * 32, places["execd"][1]]
    return base64.urlsafe_b64encode(json.dumps(places).encode()).decode()


def test_events_go_on_exactly_behind_a_cursor_over_a_killed_gateway(asyncly, engine):
    async def work(apier):
        async def until(events, action):
            async for answer in events:
                if answer.HasField("event"):
                    seen.append(answer.event.action)
                if answer.HasField("event") and answer.event.action == action:
                    return answer.cursor
            raise AssertionError("the stream ended")

        seen: list[str] = []
        events = apier.events(types=["container"])
        first = await anext(events)
        assert not first.HasField("event")
        made = await apier.containers.create("busybox", ["true"])
        cursor = await until(events, "create")
        await events.aclose()
        await apier.containers.start(made.record.id)
        await apier.containers.wait(made.record.id)
        engine.kill("gateway")
        await asyncio.to_thread(engine.wait_supervised)
        await apier.containers.remove(made.record.id)
        again = apier.events(cursor, types=["container"], ids=[made.record.id])
        await until(again, "destroy")
        await again.aclose()
        assert [each for each in seen if each in ("create", "start", "die", "destroy")] == [
            "create", "start", "die", "destroy"]
        for after, why in (("nonsense", "BAD_CURSOR"), (_of_another_life(cursor), "EVENTS_GAP")):
            with pytest.raises(PierError) as caught:
                async for _ in apier.events(after):
                    pass
            assert caught.value.reason == why

    asyncly(work)


def test_the_engine_tells_which_services_answer(pier, engine):
    info = pier.info()
    assert [each.name for each in info.services] == ["imaged", "netd", "execd", "buildd"]
    assert all(each.HasField("info") for each in info.services)
    assert info.instance == engine.instance.name


def test_the_face_describes_itself(address):
    with grpc.insecure_channel(address.replace("unix://", "unix:")) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        symbol = "pier.engine.v1.ContainerService"
        answer, described = stub.ServerReflectionInfo(iter([
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol),
        ]))
    files = map(descriptor_pb2.FileDescriptorProto.FromString, described.file_descriptor_response.file_descriptor_proto)
    assert "pier/engine/v1/container.proto" in [each.name for each in files]
    names = {each.name for each in answer.list_services_response.service}
    assert {f"pier.engine.v1.{noun}Service" for noun in ("Engine", "Container", "Image", "Network", "Volume")} <= names
