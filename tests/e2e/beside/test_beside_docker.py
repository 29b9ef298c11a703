"""Pier on a host that a dockerd lives on: neither is in the other's way.

Their containers are to one another what those of two Docker networks are: neither reaches the other's address, either
reaches what the other has published at the host's (docs/decisions/0007).
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

from tests import world
from tests.e2e.beside.conftest import Both, Container, rules
from tests.e2e.beside.dockerd import Dockerd
from tests.e2e.builds.corpus.cases import cases
from tests.e2e.builds.corpus.recorded import DOCKER, recorded, reference
from tests.engine import Engine, wait_until
from tests.service.netd.packets import (
    PATIENCE_SECONDS,
    SocketMaker,
    attempt,
    in_namespace,
    in_namespace6,
    listener,
    on_host,
    reach,
)

FIRST = "docker"
OUTSIDE = in_namespace(world.OUTSIDE)
OUTSIDE6 = in_namespace6(world.OUTSIDE)
LONGEST_CUT = 2
"""How many tries in a row may fail, each of which waits for REFUSED_SECONDS: what a repair takes is less."""


def has_a_way_out(container: Container) -> bool:
    """Does the container reach the far side, translated to the host's address?"""
    with listener(OUTSIDE, world.FAR, 7001) as server:
        return reach(container.sockets, world.FAR, 7001, server) == world.ADDRESS


def reaches(make: SocketMaker, address: str, port: int, at: Container) -> bool:
    """Do sockets of ``make`` reach port 80 of the container ``at`` by ``address``:``port``?"""
    with listener(at.sockets, "0.0.0.0", 80) as server:
        return reach(make, address, port, server) is not None


def is_kept_from(make: SocketMaker, address: str, port: int, at: Container) -> bool:
    """The reverse of ``reaches``, without its patience."""
    with listener(at.sockets, "0.0.0.0", 80) as server:
        return attempt(make, address, port, server) is None


def without_pier(both: Both, lines: list[str]) -> list[str]:
    return [line for line in lines if f"{both.pier.instance.nft_table} " not in line]


def accepts(both: Both) -> list[str]:
    """Pier's own rules among those of iptables."""
    return [line for line in rules() if f"{both.pier.instance.nft_table} " in line]


def subnet(engine: Engine | Dockerd) -> IPv4Network:
    """The default network's; since Docker 26 its IPv6 one may come first."""
    return next(IPv4Network(pool["Subnet"]) for pool in engine.inspect("bridge")["IPAM"]["Config"]
                if ":" not in pool["Subnet"])


def test_the_two_take_different_subnets(both: Both) -> None:
    mine, theirs = (subnet(engine) for engine in (both.pier, both.docker))
    assert not mine.overlaps(theirs)


def test_containers_of_both_have_a_way_out(both: Both) -> None:
    assert has_a_way_out(both.start(both.pier))
    assert has_a_way_out(both.start(both.docker))


def test_containers_of_a_network_made_beside_docker_have_a_way_out(both: Both) -> None:
    both.pier.ok("network", "create", "blue")
    assert has_a_way_out(both.start(both.pier, "--network", "blue"))
    both.pier.remove_everything()
    both.pier.ok("network", "rm", "blue")


def test_containers_of_both_have_a_way_out_over_ipv6(both: Both) -> None:
    assert "-P FORWARD DROP" in subprocess.run(["ip6tables", "-S"], check=True, capture_output=True, text=True).stdout
    both.pier.ok("network", "create", "--ipv6", "six")
    containers = [both.start(both.pier, "--network", "six", "-p", "18081:80"), both.start(both.docker)]
    with listener(OUTSIDE6, world.GATEWAY6, 7001) as server:
        for container in containers:
            assert reach(container.sockets6, world.GATEWAY6, 7001, server) == world.ADDRESS6
    with listener(containers[0].sockets6, "::", 80) as server:
        assert reach(OUTSIDE6, world.ADDRESS6, 18081, server) == world.GATEWAY6
    both.pier.remove_everything()
    both.pier.ok("network", "rm", "six")


def test_a_linking_container_is_told_what_docker_tells_it(both: Both) -> None:
    exposed = [word for port in ("80-82", "90", "91", "53/udp", "53") for word in ("--expose", port)]

    def told(engine: Engine | Dockerd) -> set[str]:
        db = both.start(engine, "--name", "db", "-e", "KEY=a=b", *exposed)
        text = engine.ok("run", "--rm", "--name", "web", "--link", "db:my-db", "busybox", "env")
        return {line.replace(db.address, "ADDRESS") for line in text.splitlines() if line.startswith("MY_DB")}

    assert told(both.pier) == told(both.docker)


def test_published_ports_of_both_answer_from_the_host_and_from_outside(both: Both) -> None:
    published = {18081: both.start(both.pier, "-p", "18081:80"), 18082: both.start(both.docker, "-p", "18082:80")}
    for port, container in published.items():
        assert reaches(on_host, "127.0.0.1", port, container)
        assert reaches(on_host, world.ADDRESS, port, container)
        assert reaches(OUTSIDE, world.ADDRESS, port, container)


def test_a_port_that_one_has_published_is_taken_for_the_other(both: Both) -> None:
    both.start(both.docker, "-p", "18082:80")
    refused = both.pier.docker("run", "--rm", "-p", "18082:80", "busybox", "true")
    assert refused.returncode == 125
    assert "port is already allocated" in refused.stderr


def test_containers_of_the_two_are_apart_as_two_networks_of_docker_s(both: Both) -> None:
    both.docker.ok("network", "create", "red")
    pier = both.start(both.pier, "-p", "18081:80")
    docker = both.start(both.docker, "-p", "18082:80")
    red = both.start(both.docker, "--network", "red", "-p", "18083:80")
    ports = {18081: pier, 18082: docker, 18083: red}
    for here, there in ((docker, red), (pier, docker), (pier, red), (docker, pier), (red, pier)):
        (port,) = (port for port, container in ports.items() if container is there)
        assert is_kept_from(here.sockets, there.address, 80, there)
        assert reaches(here.sockets, world.ADDRESS, port, there)


def test_each_lists_only_its_own(both: Both) -> None:
    mine = both.pier.ok("run", "-d", "--name", "of-pier", "busybox", "sleep", "1000")
    theirs = both.docker.ok("run", "-d", "--name", "of-docker", "--stop-signal", "KILL", "busybox", "sleep", "1000")
    assert both.pier.ok("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}") == f"{mine} of-pier"
    assert both.docker.ok("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}") == f"{theirs} of-docker"
    networks = [set(engine.ok("network", "ls", "-q").split()) for engine in (both.pier, both.docker)]
    assert len(networks[0]) == len(networks[1]) == 3
    assert networks[0].isdisjoint(networks[1])


def test_what_pier_s_networks_and_containers_add_to_docker_s_rules_goes_with_them(both: Both) -> None:
    before = rules()
    both.pier.ok("network", "create", "blue")
    both.start(both.pier, "--network", "blue", "-p", "18081:80")
    assert without_pier(both, rules()) == without_pier(both, before)
    assert len(accepts(both)) > len([line for line in before if line not in without_pier(both, before)])
    both.pier.remove_everything()
    both.pier.ok("network", "rm", "blue")
    assert rules() == before


def test_pier_s_end_leaves_docker_s_rules_as_they_were(both: Both) -> None:
    before = rules()
    assert accepts(both)
    both.pier.down()
    try:
        assert rules() == without_pier(both, before)
    finally:
        both.pier.up()
    wait_until(lambda: rules() == before)


def test_a_container_keeps_its_way_out_when_pier_s_services_end(both: Both) -> None:
    container = both.start(both.pier)
    both.pier.down()
    try:
        assert has_a_way_out(container)
    finally:
        both.pier.up()


@contextmanager
def longest_cut(container: Container) -> Iterator[list[int]]:
    """Make one connection after another from the container while the block runs; then the list holds how many failed in
    a row at most."""
    over, began, found = threading.Event(), threading.Event(), list[int]()

    def connect() -> None:
        with listener(OUTSIDE, world.FAR, 7001) as server:
            failed, longest = 0, 0
            while not over.is_set():
                if attempt(container.sockets, world.FAR, 7001, server) is not None:
                    began.set()
                    failed = 0
                elif began.is_set():
                    failed += 1
                    longest = max(longest, failed)
            found.append(longest)

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        assert began.wait(PATIENCE_SECONDS), "no way out to begin with"
        yield found
    finally:
        over.set()
        thread.join()


def test_a_restart_of_dockerd_cuts_no_container_of_pier_s(both: Both) -> None:
    container = both.start(both.pier)
    before = rules()
    with longest_cut(container) as cut:
        both.docker.stop()
        both.docker.start()
    assert cut[0] <= LONGEST_CUT
    assert rules() == before


def test_docker_s_rules_flushed_and_built_anew_let_pier_s_containers_through_again(both: Both) -> None:
    container = both.start(both.pier)
    before = rules()
    both.docker.stop()
    for table in ("filter", "nat"):
        subprocess.run(["iptables", "-t", table, "-F"], check=True)
        subprocess.run(["iptables", "-t", table, "-X"], check=True)
    with listener(OUTSIDE, world.FAR, 7001) as server:
        assert attempt(container.sockets, world.FAR, 7001, server) is None, "the policy alone drops it"
    both.docker.start()
    assert has_a_way_out(container)
    assert rules() == before
    assert has_a_way_out(both.start(both.docker))


def test_what_was_recorded_of_debians_builder_is_what_it_makes_here(both: Both, tmp_path: Path) -> None:
    few = [case for case in cases() if case.name in ("copy_over", "entrypoint_takes_the_bases_command")]
    for name, made in recorded(both.docker, few, tmp_path).items():
        wanted = reference(DOCKER)[name]
        assert (made.config, made.files, made.removed) == (wanted.config, wanted.files, wanted.removed)
