"""What the gateway adds to a call: the same read by REST, and by gRPC from the service that owns it."""

import os
import statistics
import time

import grpc
import pytest

from coordinator.services import NAMESPACE
from pier.image.v1 import image_pb2, image_pb2_grpc
from tests.e2e.wire import Wire

pytestmark = pytest.mark.bench

CALLS = int(os.environ.get("PIER_BENCH_CALLS", "500"))
GOAL = 1.0  # milliseconds


@pytest.fixture
def wire(engine):
    yield Wire(engine.instance.api_socket)
    engine.remove_everything()


def milliseconds(action):
    action()
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        action()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def answered(wire, path):
    """Milliseconds of a GET by a connection that stays, as clients keep theirs."""
    with wire.connected() as connection:

        def get():
            connection.request(f"GET {path}")
            head = connection.head()
            assert head.status == 200
            connection.exactly(int(head.headers["content-length"]))

        return milliseconds(get)


def test_a_call_through_the_gateway(engine, wire):
    id_ = wire.run("sleep 1000", "asked", StopSignal="KILL")
    wire.post("/volumes/create", {"Name": "asked"})
    with grpc.insecure_channel(f"unix://{engine.instance.socket('imaged')}") as channel:
        stub = image_pb2_grpc.VolumeServiceStub(channel)
        request = image_pb2.GetVolumeRequest(namespace=NAMESPACE, name="asked")
        owner = milliseconds(lambda: stub.GetVolume(request))
    volume = answered(wire, "/volumes/asked")
    ping = answered(wire, "/_ping")
    container = answered(wire, f"/containers/{id_}/json")
    wire.call("DELETE", "/volumes/asked")
    print(f"\na volume's inspect {volume:.2f} ms, of which imaged's answer {owner:.2f}: the gateway adds "
          f"{volume - owner:.2f} (goal {GOAL}); a ping {ping:.2f}; a container's inspect, of three services, "
          f"{container:.2f}")
