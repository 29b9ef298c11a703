"""Which ends a restart policy follows with another life, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execd import policy
from pier.exec.v1 import exec_pb2

SECOND = 10**9


def wants(name: str, code: int | None, most: int = 0, restarts: int = 0, **more: bool) -> bool:
    container = exec_pb2.Container(
        spec=exec_pb2.ContainerSpec(
            restart_policy=exec_pb2.RestartPolicy(name=name, maximum_retry_count=most),
            auto_remove=more.get("auto_remove", False),
        ),
        status=exec_pb2.ContainerStatus(restart_count=restarts, stopped_by_hand=more.get("stopped", False)),
    )
    return policy.wants_another(container, exec_pb2.Exit() if code is None else exec_pb2.Exit(code=code))


@pytest.mark.parametrize("name, after", [
    ("", (False, False, False)), ("no", (False, False, False)), ("always", (True, True, True)),
    ("unless-stopped", (True, True, True)), ("on-failure", (False, True, True)),
])
def test_a_policy_judges_by_the_exit(name: str, after: tuple[bool, ...]) -> None:
    assert tuple(wants(name, code) for code in (0, 3, None)) == after


def test_on_failure_ends_with_its_count() -> None:
    assert [wants("on-failure", 1, most=3, restarts=number) for number in range(5)] == [True, True, True, False, False]


@given(st.sampled_from(policy.NAMES), st.none() | st.integers(0, 255), st.integers(0, 9), st.integers(0, 9))
def test_what_was_stopped_by_hand_or_goes_at_its_end_stays_down(
    name: str, code: int | None, most: int, restarts: int
) -> None:
    assert not wants(name, code, most, restarts, stopped=True)
    assert not wants(name, code, most, restarts, auto_remove=True)


def test_pauses_double_up_to_a_minute_and_begin_anew_after_a_long_life() -> None:
    pauses = [0.0]
    for _ in range(12):
        pauses.append(policy.next_pause(pauses[-1], SECOND))
    assert pauses[1:5] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == 60.0
    assert policy.next_pause(60.0, 10 * SECOND) == 0.1


@given(st.sampled_from(policy.NAMES), st.booleans(), st.booleans(), st.sampled_from(["", "healthy", "unhealthy"]))
def test_an_unhealthy_end_counts_as_a_failure_only_where_that_was_asked(
    name: str, asked: bool, stopped: bool, found: str
) -> None:
    container = exec_pb2.Container(
        spec=exec_pb2.ContainerSpec(restart_policy=exec_pb2.RestartPolicy(name=name), restart_unhealthy=asked),
        status=exec_pb2.ContainerStatus(stopped_by_hand=stopped, health=exec_pb2.Health(status=found)),
    )
    ends = policy.ends_unhealthy(container)
    assert ends == (asked and not stopped and found == "unhealthy" and name not in ("", "no"))
    expected = not stopped and (name in ("always", "unless-stopped") or (name == "on-failure" and ends))
    assert policy.wants_another(container, exec_pb2.Exit(code=0)) == expected
