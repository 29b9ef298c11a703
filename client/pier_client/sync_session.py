"""A session at a process's terminal or pipes, for programs that wait."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any, Self

from pier.engine.v1 import container_pb2
from pier.exec.v1 import exec_pb2
from pier_client.errors import told

_BLOCK = 64 << 10
_HELD = 16
"""Messages of input that wait for the engine before ``send`` does."""


class Session:
    """Iterate over its output (``stream`` 1 stdout, 2 stderr; ``data``); ``send`` and ``end_input`` meanwhile, from
    another thread where both are needed at once. ``exit`` of an exec is there when its output has ended. Use it as a
    context manager: leaving it ends the session, not the process."""

    def __init__(self, method: Any, opening: Any, message: Callable[..., Any]) -> None:
        self._message = message
        self._input: queue.Queue[Any] = queue.Queue(_HELD)
        self._input.put(opening)
        self._ended = False
        self._call = method(iter(self._input.get, None))
        self.exit: exec_pb2.Exit | None = None
        try:
            with told():
                first = next(self._call, None)
        except BaseException:
            self._input.put(None)
            raise
        self.opened = None if first is None else first.opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._call.cancel()
        self.end_input()

    def __iter__(self) -> Iterator[container_pb2.Output]:
        with told():
            for answer in self._call:
                if answer.HasField("output"):
                    yield answer.output
                else:
                    self.exit = answer.exit

    def read(self) -> tuple[bytes, bytes]:
        """All of (stdout, stderr)."""
        found: dict[int, list[bytes]] = {1: [], 2: []}
        for output in self:
            found[output.stream].append(output.data)
        return b"".join(found[1]), b"".join(found[2])

    def send(self, data: bytes) -> None:
        """Give the process input. It waits where the process does not read."""
        for start in range(0, len(data), _BLOCK):
            self._put(self._message(stdin=data[start : start + _BLOCK]))

    def resize(self, height: int, width: int) -> None:
        """Tell its terminal how large it is, in characters."""
        self._put(self._message(resize=container_pb2.TerminalSize(height=height, width=width)))

    def end_input(self) -> None:
        """No more input comes; output goes on."""
        if not self._ended:
            self._ended = True
            self._put(None)

    def _put(self, message: Any) -> None:
        while self._call.is_active():
            try:
                self._input.put(message, timeout=0.2)
                return
            except queue.Full:
                continue
        # Nobody takes it any more; the thread that waits for the next message is let go.
        try:
            self._input.get_nowait()
        except queue.Empty:
            pass
        self._input.put(None)
