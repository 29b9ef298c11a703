"""The gateway alone, started with several sockets as systemd passes them: each leads to its face."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from chassis import listening
from chassis.listening import Address
from pier.engine.v1 import engine_pb2, engine_pb2_grpc

_EXEC = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@contextmanager
def gateway(directory: Path, passed: Sequence[tuple[str, socket.socket]], *flags: str) -> Iterator[None]:
    """Serving, with these sockets under their names."""
    argv = [sys.executable, "-c", _EXEC, "-m", "gateway", "--root", str(directory / "root"), "--run",
            str(directory / "run"), "--metrics-port", "0", *flags]
    reading, writing = os.pipe()
    high = [(fd, 200 + place) for place, fd in enumerate(each.fileno() for _, each in passed)]
    actions: list[tuple[int, ...]] = [(os.POSIX_SPAWN_DUP2, fd, place) for fd, place in high]
    actions += [(os.POSIX_SPAWN_DUP2, place, 3 + number) for number, (_, place) in enumerate(high)]
    actions += [(os.POSIX_SPAWN_CLOSE, place) for _, place in high]
    actions += [(os.POSIX_SPAWN_DUP2, writing, 2)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                   "LISTEN_FDS": str(len(passed)), "LISTEN_FDNAMES": ":".join(name for name, _ in passed)}
    pid = os.posix_spawn(sys.executable, argv, environment, file_actions=actions)
    os.close(writing)
    with open(reading) as log:
        try:
            for line in log:
                if json.loads(line)["event"] == "serving":
                    break
            else:
                raise AssertionError("it ended")
            yield
        finally:
            os.kill(pid, 15)
            log.read()
            os.waitpid(pid, 0)


def ping(family: socket.AddressFamily, address: Any) -> int:
    client = http.client.HTTPConnection("127.0.0.1", timeout=20)
    client.sock = socket.socket(family)
    client.sock.connect(address)
    client.request("GET", "/_ping")
    status = client.getresponse().status
    client.close()
    return status


def instance(target: str) -> str:
    with grpc.insecure_channel(target) as channel:
        stub = engine_pb2_grpc.EngineServiceStub(channel)
        return stub.GetInfo(engine_pb2.GetInfoRequest(), timeout=20).instance


def test_several_sockets_lead_to_their_faces_and_stay_when_it_ends(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("rest.sock", "engine.sock")]
    rest, engine = (listening.bind(Address(str(path))) for path in paths)
    tcp, rpc = (listening.bind(Address("127.0.0.1", 0)) for _ in range(2))
    passed = [("pier.socket", rest), ("engine", engine), ("", tcp), ("engine", rpc)]
    with rest, engine, tcp, rpc:
        for _ in range(2):  # the next one takes the same
            with gateway(tmp_path, passed, "-H", "fd://", "-H", f"unix://{tmp_path}/more.sock"):
                assert ping(socket.AF_UNIX, str(paths[0])) == 200
                assert ping(socket.AF_INET, tcp.getsockname()) == 200
                assert ping(socket.AF_UNIX, str(tmp_path / "more.sock")) == 200
                assert instance(f"unix:{paths[1]}") == "pier"
                assert instance(f"127.0.0.1:{rpc.getsockname()[1]}") == "pier"
                assert not (tmp_path / "run" / "pier.sock").exists()
            assert all(path.exists() for path in paths)
            assert not (tmp_path / "more.sock").exists()


def test_without_any_it_listens_where_the_instance_has_its_sockets(tmp_path: Path) -> None:
    with gateway(tmp_path, []):
        assert ping(socket.AF_UNIX, str(tmp_path / "run" / "pier.sock")) == 200
        assert instance(f"unix:{tmp_path}/run/engine.sock") == "pier"
    assert not (tmp_path / "run" / "pier.sock").exists()
    assert not (tmp_path / "run" / "engine.sock").exists()


def test_a_passed_socket_that_everybody_reaches_needs_tls(tmp_path: Path) -> None:
    with listening.bind(Address("0.0.0.0", 0)) as wide:
        with pytest.raises(AssertionError, match="it ended"), gateway(tmp_path, [("", wide)]):
            pass
