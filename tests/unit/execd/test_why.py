import pytest

from execd.restarts import why
from pier.exec.v1 import exec_pb2


@pytest.mark.parametrize("memory, exit_, told", [
    (512 << 20, exec_pb2.Exit(code=137, signal=9, oom_killed=True), "exit 137 by the OOM killer at 512 MiB"),
    (0, exec_pb2.Exit(code=137, signal=9, oom_killed=True), "exit 137 by the OOM killer"),
    (512 << 20, exec_pb2.Exit(code=137, signal=9), "exit 137 by signal 9"),
    (0, exec_pb2.Exit(code=3), "exit 3"), (0, exec_pb2.Exit(), "an end that nobody saw"),
])
def test_an_end_is_told_in_words(memory: int, exit_: exec_pb2.Exit, told: str) -> None:
    container = exec_pb2.Container(status=exec_pb2.ContainerStatus(exit=exit_))
    if memory:
        container.spec.resources.memory = memory
    assert why(container) == told
