"""A real service process: lock, socket mode, health, reflection, errors and traces over the wire, graceful stop."""

import asyncio
import json
import os
import stat
import subprocess
import sys
import urllib.request

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis import context, stages
from chassis.client import Peer
from chassis.errors import NotFound, Unavailable, Unimplemented
from pier.network.v1 import network_pb2, network_pb2_grpc
from pier.system.v1 import system_pb2, system_pb2_grpc


def start(tmp_path, *flags, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.unit.chassis.sample_service", "--root", tmp_path / "root", "--run",
         tmp_path / "run", "--metrics-port", "0", *flags],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **environment},
        stderr=subprocess.PIPE, text=True,
    )


def wait_serving(process):
    for line in process.stderr:
        if json.loads(line)["event"] == "serving":
            return
    raise AssertionError(f"it ended with {process.wait()}")


@pytest.fixture
def service(tmp_path):
    process = start(tmp_path)
    wait_serving(process)
    yield tmp_path / "run" / "netd.sock"
    process.terminate()
    assert process.wait(10) == 0
    process.stderr.close()


@pytest.fixture
async def peer(service):
    opened = Peer("netd", service)
    yield opened
    await opened.close()


async def test_an_answer_brings_its_stages_along(peer):
    stub = network_pb2_grpc.NetworkServiceStub(peer.channel)
    with stages.trace("Create") as root:
        answer = await peer.call(stub.GetNetwork, network_pb2.GetNetworkRequest(network="bridge"))
    assert answer.network.name == "bridge"
    (span,) = root.to_span().children
    assert (span.name, span.service, [child.name for child in span.children]) == ("GetNetwork", "netd", ["get.look"])


async def test_an_error_arrives_as_its_class_with_field_and_stages(peer):
    stub = network_pb2_grpc.NetworkServiceStub(peer.channel)
    with stages.trace("Create") as root:
        with pytest.raises(NotFound, match="network nope not found") as caught:
            await peer.call(stub.GetNetwork, network_pb2.GetNetworkRequest(network="nope"))
    assert (caught.value.field, caught.value.expected) == ("network", "bridge")
    assert root.to_span().children[0].children[0].error == "NOT_FOUND"


async def test_what_is_not_built_says_so_by_name(peer):
    stub = network_pb2_grpc.NetworkServiceStub(peer.channel)
    with pytest.raises(Unimplemented, match="NetworkService/SetPorts is not built yet"):
        await peer.call(stub.SetPorts, network_pb2.SetPortsRequest())
    with pytest.raises(Unimplemented, match="NetworkService/Events is not built yet"):
        _ = [event async for event in peer.stream(stub.Events, network_pb2.EventsRequest())]


async def test_health_and_information_are_answered(peer):
    health = await health_pb2_grpc.HealthStub(peer.channel).Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    stub = system_pb2_grpc.SystemServiceStub(peer.channel)
    info = await peer.call(stub.Info, system_pb2.InfoRequest())
    assert (info.service, info.instance) == ("netd", "pier")
    values = (await peer.call(stub.Config, system_pb2.ConfigRequest())).values
    assert {value.key: value.source for value in values}["root"] == "flag --root"


async def test_reflection_names_the_services(peer):
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    stub = reflection_pb2_grpc.ServerReflectionStub(peer.channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    names = {service.name async for answer in call for service in answer.list_services_response.service}
    assert {"pier.network.v1.NetworkService", "pier.system.v1.SystemService", "grpc.health.v1.Health"} <= names


def test_socket_and_directories_are_private(service):
    assert stat.S_IMODE(service.stat().st_mode) == 0o600
    assert stat.S_IMODE((service.parent / "netd").stat().st_mode) == 0o700


def test_a_second_process_on_the_same_state_is_refused_and_the_first_goes_on(service, tmp_path):
    second = start(tmp_path)
    _, text = second.communicate(timeout=20)
    assert second.returncode == 1
    assert "another process of this service holds it" in text
    assert service.exists()


async def test_the_request_id_is_on_the_peers_log_lines(tmp_path):
    process = start(tmp_path, "--log-level", "debug")
    wait_serving(process)
    peer = Peer("netd", tmp_path / "run" / "netd.sock")
    context.adopt("request-42")
    stub = network_pb2_grpc.NetworkServiceStub(peer.channel)
    await peer.call(stub.GetNetwork, network_pb2.GetNetworkRequest(network="bridge"))
    await peer.close()
    process.terminate()
    lines = [json.loads(line) for line in process.communicate()[1].splitlines()]
    (line,) = [line for line in lines if line["event"] == "stage"]
    assert (line["request_id"], line["stage"], line["service"]) == ("request-42", "get.look", "netd")


async def test_a_peer_that_is_down_is_unavailable_and_found_again(tmp_path):
    peer = Peer("netd", tmp_path / "run" / "netd.sock")
    stub = network_pb2_grpc.NetworkServiceStub(peer.channel)
    with pytest.raises(Unavailable):
        await peer.call(stub.GetNetwork, network_pb2.GetNetworkRequest(network="bridge"))
    process = start(tmp_path)
    await asyncio.to_thread(wait_serving, process)
    async with asyncio.timeout(30):
        await peer.channel.channel_ready()
    await peer.call(stub.GetNetwork, network_pb2.GetNetworkRequest(network="bridge"))
    await peer.close()
    process.terminate()
    process.communicate()


def test_metrics_are_scraped_on_loopback(tmp_path):
    with __import__("socket").socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = start(tmp_path, "--metrics-port", str(port))
    wait_serving(process)
    with grpc.insecure_channel(f"unix:{tmp_path}/run/netd.sock") as channel:
        network_pb2_grpc.NetworkServiceStub(channel).GetNetwork(network_pb2.GetNetworkRequest(network="bridge"))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    process.terminate()
    process.communicate()
    assert 'pier_rpc_duration_seconds_count{code="OK",method="pier.network.v1.NetworkService/GetNetwork"} 1.0' in text
    assert 'pier_stage_duration_seconds_count{outcome="ok",stage="get.look"} 1.0' in text
    assert 'pier_build_info{instance="pier",service="netd"' in text
