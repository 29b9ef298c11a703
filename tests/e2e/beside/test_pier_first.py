"""A host on which Pier was first, and a dockerd came later: what differs by order, over again."""

from __future__ import annotations

from tests.e2e.beside.test_beside_docker import (
    test_a_restart_of_dockerd_cuts_no_container_of_pier_s,
    test_containers_of_both_have_a_way_out,
    test_containers_of_the_two_are_apart_as_two_networks_of_docker_s,
    test_published_ports_of_both_answer_from_the_host_and_from_outside,
    test_the_two_take_different_subnets,
)

FIRST = "pier"

__all__ = [
    "test_a_restart_of_dockerd_cuts_no_container_of_pier_s",
    "test_containers_of_both_have_a_way_out",
    "test_containers_of_the_two_are_apart_as_two_networks_of_docker_s",
    "test_published_ports_of_both_answer_from_the_host_and_from_outside",
    "test_the_two_take_different_subnets",
]
