"""What probes make of a container's health."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from execd import health
from pier.exec.v1 import exec_pb2

CHECK = exec_pb2.HealthCheck(test=[b"CMD", b"x"], retries=2)


def after(codes: list[int], check: exec_pb2.HealthCheck = CHECK, since_start: float = 100.0) -> exec_pb2.Health:
    now = exec_pb2.Health(status=health.STARTING)
    for code in codes:
        now = health.judged(now, check, exec_pb2.Probe(exit_code=code), since_start)
    return now


def test_one_success_is_healthy_and_so_many_failures_in_a_row_are_unhealthy() -> None:
    assert [after(codes).status for codes in ([], [0], [1], [1, 1], [1, 0, 1], [1, 1, 0], [0, -1, 1])] == [
        "starting", "healthy", "starting", "unhealthy", "healthy", "healthy", "unhealthy"]
    assert after([1, 1, 1]).failing_streak == 3


def test_failures_of_the_start_period_do_not_count_before_the_first_success() -> None:
    check = exec_pb2.HealthCheck(test=[b"CMD", b"x"], retries=1)
    check.start_period.FromSeconds(60)
    assert after([1, 1, 1], check, 59).status == "starting"
    assert after([1], check, 60).status == "unhealthy"
    assert after([0, 1], check, 59).status == "unhealthy"
    assert health.pause(exec_pb2.Health(status="starting"), check, 59) == 5
    assert health.pause(exec_pb2.Health(status="starting"), check, 61) == 30
    assert health.pause(exec_pb2.Health(status="healthy"), check, 59) == 30


@given(st.lists(st.integers(-1, 3), max_size=30), st.integers(0, 5))
def test_the_last_five_are_kept_and_the_streak_is_that_of_the_end(codes: list[int], retries: int) -> None:
    found = after(codes, exec_pb2.HealthCheck(test=[b"CMD", b"x"], retries=retries))
    assert [probe.exit_code for probe in found.probes] == codes[-5:]
    streak = next((number for number, code in enumerate(reversed(codes)) if code == 0), len(codes))
    assert found.failing_streak == streak
    assert (found.status == "unhealthy") is (streak >= (retries or 3))
