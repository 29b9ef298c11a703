"""What a container is told of another that it links to on the default network."""

from __future__ import annotations

import pytest

from coordinator.links import Linked, Port, variables


def told(*ports: str, env: tuple[bytes, ...] = (), alias: str = "db") -> dict[str, str]:
    linked = Linked("172.17.0.2", tuple(sorted(map(Port.of, ports))), env)
    return dict(entry.decode().split("=", 1) for entry in variables("web", alias, linked))


def test_a_container_without_ports_is_told_by_its_name_alone() -> None:
    assert told(alias="my-db") == {"MY_DB_NAME": "/web/my-db"}


def test_each_port_is_told_in_parts_and_the_lowest_one_stands_for_all() -> None:
    found = told("443/tcp", "80/tcp")
    assert found["DB_PORT"] == found["DB_PORT_80_TCP"] == "tcp://172.17.0.2:80"
    assert (found["DB_PORT_443_TCP_ADDR"], found["DB_PORT_443_TCP_PORT"], found["DB_PORT_443_TCP_PROTO"]) == (
        "172.17.0.2", "443", "tcp")
    assert not [name for name in found if "START" in name]


def test_of_one_number_tcp_comes_first() -> None:
    assert told("53/udp", "53/tcp")["DB_PORT"] == "tcp://172.17.0.2:53"


@pytest.mark.parametrize("ports, run", [
    (("80/tcp", "81/tcp"), None), (("80/tcp", "81/tcp", "82/tcp"), ("80", "82")),
    (("70/tcp", "80/tcp", "81/tcp", "82/tcp", "90/tcp"), ("80", "82")),
])
def test_three_ports_in_a_row_are_told_as_a_run_too(ports: tuple[str, ...], run: tuple[str, str] | None) -> None:
    found = told(*ports)
    starts = [value for name, value in found.items() if name.endswith("_PORT_START")]
    ends = [value for name, value in found.items() if name.endswith("_PORT_END")]
    assert (starts, ends) == (([run[0]], [run[1]]) if run else ([], []))


def test_its_environment_is_told_but_for_what_is_its_own() -> None:
    found = told(env=(b"PATH=/bin", b"HOME=/root", b"KEY=a=b", b"bare"))
    assert {name: value for name, value in found.items() if "_ENV_" in name} == {"DB_ENV_KEY": "a=b"}
