"""Which gRPC calls change something, and to what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chassis import effects
from pier.build.v1 import build_pb2
from pier.engine.v1 import container_pb2, engine_pb2, image_pb2, network_pb2, volume_pb2
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2 as images_pb2
from pier.network.v1 import network_pb2 as networks_pb2
from pier.system.v1 import system_pb2

CONTRACTS = (build_pb2, container_pb2, engine_pb2, image_pb2, network_pb2, volume_pb2, exec_pb2, images_pb2,
             networks_pb2, system_pb2)
READING = ("Get", "List", "Events", "Read", "Stat", "Wait", "Info", "Config", "SnapshotUsage", "VolumeUsage")


def methods() -> Iterator[tuple[str, object]]:
    for contract in CONTRACTS:
        for service in contract.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"{service.full_name}/{method.name}", method


def test_every_method_that_is_named_is_there() -> None:
    assert {*effects.READS, *effects.BY_MESSAGE} <= {name for name, _ in methods()}


def test_what_reads_by_its_name_is_a_readers() -> None:
    names = [name for name, _ in methods() if name.partition("/")[2].startswith(READING)]
    assert [name for name in names if name not in effects.READS] == []


@pytest.mark.parametrize("verb", [
    "Create", "Remove", "Start", "Stop", "Kill", "Exec", "Tag", "Pull", "Push", "Set", "Load", "Commit", "Write",
    "Delete", "Prepare", "Update", "Rename", "Pause", "Build", "Prune",
])
def test_what_changes_by_its_name_is_no_readers(verb: str) -> None:
    assert [name for name in effects.READS if name.partition("/")[2].startswith(verb)] == []


def test_the_message_tells_where_the_method_does_not() -> None:
    fsck, attach = "pier.system.v1.SystemService/Fsck", "pier.engine.v1.ContainerService/Attach"
    request, opened = container_pb2.AttachRequest, container_pb2.AttachOpen
    assert effects.is_read(fsck, system_pb2.FsckRequest())
    assert not effects.is_read(fsck, system_pb2.FsckRequest(repair=True))
    assert effects.is_read(attach, request(open=opened(container="x", stdout=True)))
    assert not effects.is_read(attach, request(open=opened(container="x", stdin=True)))
    assert not effects.is_read(attach, request(stdin=b"x"))
    assert not effects.is_read(attach, request(resize=container_pb2.TerminalSize(height=1, width=1)))
    assert effects.is_read(attach, request(stdin_end=True))


def test_what_is_not_named_changes_something() -> None:
    assert not effects.is_read("pier.new.v1.Service/GetSomething", system_pb2.InfoRequest())


@pytest.mark.parametrize("message, subject", [
    (container_pb2.StartContainerRequest(operation_id="o", container="web"), "web"),
    (container_pb2.CreateContainerRequest(name="n", image="busybox"), "busybox"),
    (container_pb2.ExecRequest(open=container_pb2.ExecOpen(container="web")), "web"),
    (images_pb2.ImportRequest(options=images_pb2.ImportOptions(reference="app:1")), "app:1"),
    (volume_pb2.CreateVolumeRequest(name="v", options={"a": "b"}), "v"),
    (images_pb2.CollectGarbageRequest(), ""),
])
def test_what_a_message_is_about_is_told(message: object, subject: str) -> None:
    assert effects.subject(message) == subject


@pytest.mark.parametrize("message", [
    method.input_type._concrete_class for _, method in methods()  # type: ignore[attr-defined]
], ids=lambda message: message.DESCRIPTOR.full_name)
def test_every_request_can_be_asked_what_it_is_about(message: type) -> None:
    assert effects.subject(message()) == ""
