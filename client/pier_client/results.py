"""What a command that ran to its end has left."""

from __future__ import annotations

from dataclasses import dataclass

from pier.exec.v1 import exec_pb2


@dataclass(frozen=True)
class ExecResult:
    """``code`` is the exit status, or 128 + signal; None where nobody could see it."""

    code: int | None
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class RunResult:
    """Of a container that was made, run to its end and removed."""

    id: str
    code: int | None
    stdout: bytes
    stderr: bytes


def code_of(exit_: exec_pb2.Exit) -> int | None:
    return exit_.code if exit_.HasField("code") else None
