"""What the engine tells of itself and its machine."""

import asyncio

import pytest

from gateway.rest import host_facts, image_transfer, later, system_json, versions
from gateway.rest.routes import match
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.system.v1 import system_pb2


def containers(*states):
    return [exec_pb2.Container(status=exec_pb2.ContainerStatus(state=state)) for state in states]


async def test_info_counts_containers_by_what_docker_calls_them():
    states = containers(
        exec_pb2.CONTAINER_STATE_RUNNING, exec_pb2.CONTAINER_STATE_PAUSED, exec_pb2.CONTAINER_STATE_EXITED,
        exec_pb2.CONTAINER_STATE_CREATED,
    )
    facts = {"default_runtime": "crun", "runtime.crun": "/usr/bin/crun"}
    made = system_json.info(host_facts.read(), "id", "/", states, 3, facts, 2, versions.NEWEST)
    assert [made[f"Containers{word}"] for word in ("", "Running", "Paused", "Stopped")] == [4, 1, 1, 2]
    assert (made["Images"], made["DefaultRuntime"]) == (3, "crun")
    assert made["Runtimes"] == {"crun": {"path": "/usr/bin/crun"}}
    assert made["Swarm"]["LocalNodeState"] == "inactive"
    assert made["MemTotal"] > 1 << 20
    assert made["OSType"] == "linux"
    assert made["NEventsListener"] == 2
    assert "BridgeNfIptables" not in made


async def test_a_proxys_password_is_not_shown(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:3128")
    made = system_json.info(host_facts.read(), "id", "/", [], 0, {}, 0, versions.OLDEST)
    assert made["HttpsProxy"] == "http://proxy:3128"
    assert asyncio.all_tasks()


def test_version_names_the_engine_first_then_who_answered():
    told = [system_pb2.InfoResponse(service="netd", version="1.2")]
    made = system_json.version(host_facts.read(), told)
    assert [part["Name"] for part in made["Components"]] == ["Engine", "netd"]
    assert made["Components"][0]["Details"]["ApiVersion"] == made["ApiVersion"]
    assert made["MinAPIVersion"] == "1.24"


@pytest.mark.parametrize(
    "text,platform",
    [
        ("linux/arm64/v8", ("linux", "arm64", "v8")), ("linux/amd64", ("linux", "amd64", "")),
        ("arm64", ("linux", "arm64", "")), ("linux", ("linux", "", "")),
    ],
)
def test_a_platform_is_read_as_docker_writes_it(text, platform):
    found = image_transfer.platform_of(text)
    assert found is not None
    assert (found.os, found.architecture, found.variant) == platform
    assert image_transfer.platform_of("") is None


def test_what_docker_has_and_we_do_not_is_a_route_all_the_same():
    for method, path in (("GET", "/swarm"), ("POST", "/services/x/update")):
        assert match(later.routes.entries, method, path)


def test_load_tells_the_names_that_the_archive_gave():
    image = image_pb2.Image(id="sha256:1", familiar=["a:1", "before:1"])
    told = image_transfer._loaded(image_pb2.LoadResponse(image=image, familiar=["a:1"]), quiet=True)
    assert told == [{"stream": "Loaded image: a:1\n"}]
    told = image_transfer._loaded(image_pb2.LoadResponse(image=image), quiet=True)
    assert told == [{"stream": "Loaded image ID: sha256:1\n"}]
