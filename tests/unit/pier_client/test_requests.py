"""The client's requests, and that both of its forms have the same names."""

from __future__ import annotations

import inspect
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wheel_backend
from pier.exec.v1 import exec_pb2
from pier_client import aio, aio_session, requests, sync, sync_session, target_of


@pytest.mark.parametrize("text, port", [
    ("80", ("tcp", 80, 0, "")), ("8080:80", ("tcp", 80, 8080, "")), ("53:53/udp", ("udp", 53, 53, "")),
    ("127.0.0.1:8080:80", ("tcp", 80, 8080, "127.0.0.1")), ("[::]:1:2/udp", ("udp", 2, 1, "::")),
    ("127.0.0.1::80", ("tcp", 80, 0, "127.0.0.1")),
])
def test_a_port_is_read_as_docker_writes_it(text: str, port: tuple[str, int, int, str]) -> None:
    found = requests.port(text)
    assert (found.protocol, found.container_port, found.host_port, found.host_ip) == port


@given(st.text())
def test_a_word_is_a_port_or_a_value_error(text: str) -> None:
    try:
        assert requests.port(text).container_port >= 0
    except ValueError:
        pass


@pytest.mark.parametrize("options", [
    {"binds": ["/a"]}, {"binds": ["/a:b"]}, {"volumes": ["v:/x:rx"]}, {"volumes": ["v:/x:ro:ro"]}, {"ports": ["x"]},
])
def test_what_is_no_mount_or_port_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        requests.create("i", **options)


def test_what_is_given_goes_on_top_of_a_specification() -> None:
    spec = exec_pb2.ContainerSpec(hostname="h", labels={"kept": "1"})
    request = requests.create(
        "i", [b"\xff"], spec=spec, environment={"A": "b"}, labels={"new": "2"}, cpus=1.5, volumes=[":/v"], stdin=True)
    assert (request.spec.hostname, dict(request.spec.labels)) == ("h", {"kept": "1", "new": "2"})
    assert (list(request.command.words), list(request.spec.process.env)) == ([b"\xff"], [b"A=b"])
    assert (request.spec.resources.nano_cpus, request.plan.volumes[0].name) == (1_500_000_000, "")
    assert request.spec.process.stdin_open
    assert not request.HasField("entrypoint")
    assert requests.create("i", entrypoint=[]).HasField("entrypoint")
    assert dict(spec.labels) == {"kept": "1"}


def test_a_time_needs_its_zone() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    assert requests.events(since=when).since.ToDatetime(UTC) == when
    with pytest.raises(ValueError, match="zone"):
        requests.events(since=datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused


@pytest.mark.parametrize("address, target", [
    ("unix:///run/x", "unix:/run/x"), ("tcp://h:1", "h:1"), ("tcp://[::1]:1", "[::1]:1"),
])
def test_an_address_is_grpcs_target(address: str, target: str) -> None:
    assert target_of(address) == target


@pytest.mark.parametrize("address", ["", "/run/x", "http://h:1", "tcp://", "unix:/x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        target_of(address)


@pytest.mark.parametrize("group", ["Containers", "Images", "Networks", "Volumes", "Pier"])
def test_both_forms_have_the_same_names_and_parameters(group: str) -> None:
    def parameters(cls: type) -> dict[str, list[str]]:
        return {
            name: [str(each) for each in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("__")
        }

    other = "AsyncPier" if group == "Pier" else group
    assert parameters(getattr(sync, group)) == parameters(getattr(aio, other))


def test_a_session_has_the_same_names_in_both_forms() -> None:
    both = (sync_session.Session, aio_session.Session)
    waiting, awaiting = ({name for name in vars(each) if not name.startswith("_")} for each in both)
    assert waiting == awaiting


def test_the_wheel_holds_the_client_and_the_contracts_and_is_the_same_each_time(tmp_path: Path) -> None:
    made = []
    for directory in (tmp_path / "one", tmp_path / "two"):
        directory.mkdir()
        made.append(directory / wheel_backend.build_wheel(str(directory)))
    assert made[0].read_bytes() == made[1].read_bytes()
    with zipfile.ZipFile(made[0]) as wheel:
        names = wheel.namelist()
    assert {"pier_client/py.typed", "pier/engine/v1/container_pb2.pyi", "pier/exec/v1/exec_pb2_grpc.py"} <= set(names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"pier", "pier_client"}
    assert not [name for name in names if "__pycache__" in name]
    with pytest.raises(ValueError, match="no settings"):
        wheel_backend.build_wheel(str(tmp_path), {"x": "y"})
