"""Sets of processors and memory nodes, held against what the host has."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from execd.oci import cpu_sets
from pier.exec.v1 import exec_pb2

LAST = cpu_sets.ranges(cpu_sets.online(cpu_sets._KINDS[0].online))[-1][1]


def check(cpus="", mems=""):
    cpu_sets.check(exec_pb2.Resources(cpuset_cpus=cpus, cpuset_mems=mems), "spec.resources")


@pytest.mark.parametrize("cpus", ["", "0", f"0-{LAST}", f"0,{LAST}", f"{LAST}"])
def test_what_the_host_has_is_taken(cpus):
    check(cpus, "0")


@pytest.mark.parametrize("cpus,words", [
    (f"{LAST + 1}", f"Requested CPUs are not available - requested {LAST + 1}, available: 0"),
    (f"0-{LAST + 1}", "not available"), ("0-999999", "not available"), ("1-", "Invalid value '1-' for cpuset cpus"),
    ("-1", "Invalid"), ("a", "Invalid"), ("0 ", "Invalid"), ("٣", "Invalid"), ("9" * 100, "Invalid"),
])
def test_what_it_has_not_and_what_is_no_set_is_refused(cpus, words):
    with pytest.raises(InvalidArgument, match=words) as raised:
        check(cpus)
    assert raised.value.field == "spec.resources.cpuset_cpus"


def test_a_memory_node_is_one_of_the_hosts():
    with pytest.raises(InvalidArgument, match="Requested memory nodes are not available - requested 77"):
        check(mems="77")


@given(st.text(alphabet="0123456789-, ", max_size=30))
def test_what_is_taken_is_never_more_than_the_host_has(cpus):
    with suppress(InvalidArgument):
        check(cpus)
        assert all(high <= LAST for _, high in cpu_sets.ranges(cpus or "0"))
