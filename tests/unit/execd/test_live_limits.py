"""What is written to cgroups where limits change."""

from hypothesis import given
from hypothesis import strategies as st

from execd.live_limits import Write, v1_writes, v2_writes

MIB = 1 << 20
MEMORY = st.builds(
    lambda limit, more: {"memory": {"limit": limit * MIB, "swap": (limit + more) * MIB}},
    st.integers(6, 500), st.integers(0, 500))


def test_only_what_changes_is_written():
    before = {"memory": {"limit": 64 * MIB, "swap": 128 * MIB}, "pids": {"limit": 5}}
    assert v1_writes(before, before) == v2_writes(before, before) == []
    after = {**before, "cpu": {"shares": 512, "period": 100000, "quota": 50000}}
    assert v1_writes(before, after) == [
        Write("cpu", "cpu.shares", "512"), Write("cpu", "cpu.cfs_period_us", "100000"),
        Write("cpu", "cpu.cfs_quota_us", "50000")]
    assert v2_writes(before, after) == [Write("", "cpu.weight", "20"), Write("", "cpu.max", "50000 100000")]


def test_a_limit_that_is_taken_away_is_unlimited():
    before = {"pids": {"limit": 5}}
    assert v1_writes(before, {}) == [Write("pids", "pids.max", "max")]
    assert v2_writes(before, {}) == [Write("", "pids.max", "max")]


def test_after_a_kill_everything_is_written():
    both = {"pids": {"limit": 5}, "memory": {"limit": 64 * MIB, "swap": -1}}
    assert {write.file for write in v1_writes(both, both, every=True)} == {
        "pids.max", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"}
    assert Write("", "memory.swap.max", "max") in v2_writes(both, both, every=True)


@given(MEMORY, MEMORY)
def test_the_memory_limit_is_never_above_that_of_memory_and_swap(before, after):
    held = {"memory.limit_in_bytes": before["memory"]["limit"], "memory.memsw.limit_in_bytes": before["memory"]["swap"]}
    for write in v1_writes(before, after):
        held[write.file] = int(write.value)
        assert held["memory.limit_in_bytes"] <= held["memory.memsw.limit_in_bytes"]
    assert held == {"memory.limit_in_bytes": after["memory"]["limit"],
                    "memory.memsw.limit_in_bytes": after["memory"]["swap"]}


DISK, OTHER = {"major": 8, "minor": 0}, {"major": 8, "minor": 16}


def test_limits_of_single_devices_change_and_are_taken_back_device_by_device():
    before = {"blockIO": {"throttleReadBpsDevice": [{**DISK, "rate": 100}, {**OTHER, "rate": 5}]}}
    after = {"blockIO": {"throttleReadBpsDevice": [{**DISK, "rate": 200}],
                         "throttleWriteIOPSDevice": [{**DISK, "rate": 7}], "weightDevice": [{**DISK, "weight": 500}]}}
    assert v1_writes(before, before) == v2_writes(before, before) == []
    assert v1_writes(before, after) == [
        Write("blkio", "blkio.weight_device", "8:0 500", "8:0 0"),
        Write("blkio", "blkio.throttle.read_bps_device", "8:0 200", "8:0 100"),
        Write("blkio", "blkio.throttle.read_bps_device", "8:16 0", "8:16 5"),
        Write("blkio", "blkio.throttle.write_iops_device", "8:0 7", "8:0 0"),
    ]
    none = "rbps=max wbps=max riops=max wiops=max"
    assert v2_writes(before, after) == [
        Write("", "io.weight", "8:0 4950", "8:0 default"),
        Write("", "io.max", "8:0 rbps=200 wbps=max riops=max wiops=7", "8:0 rbps=100 wbps=max riops=max wiops=max"),
        Write("", "io.max", f"8:16 {none}", "8:16 rbps=5 wbps=max riops=max wiops=max"),
    ]


def test_after_a_kill_every_device_of_before_and_after_is_written():
    before = {"blockIO": {"throttleReadBpsDevice": [{**OTHER, "rate": 5}]}}
    after = {"blockIO": {"throttleReadBpsDevice": [{**DISK, "rate": 100}]}}
    for one, other in ((before, after), (after, after)):
        written = {write.value for write in v1_writes(one, other, every=True)}
        assert {"8:0 100", *(["8:16 0"] if one is before else [])} <= written
