"""The body of ``pier build``: its context, and then what the engine asks for while the build goes.

The frames are those of the engine's `POST /build` for this content type: a letter, a length, as many bytes.
"""

from __future__ import annotations

import binascii
import queue
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from pier_cli.engine import to_bytes
from pier_cli.failure import Failure

if TYPE_CHECKING:
    from typing import Any

    from pier_cli.build_ssh import Agents
    from pier_cli.http import Connection

CONTENT_TYPE = "application/vnd.pier.build"
_FRAME = struct.Struct(">cI")
_NUMBER = struct.Struct(">Q")


class Upload:
    """``read`` gives the body's blocks to the thread that sends them, ``take`` is told what the engine says.

    ``open_context`` opens a further context by its name, for reading in blocks.
    """

    def __init__(
        self, extension: Mapping[str, Any], context: Callable[[], bytes],
        open_context: Callable[[str], Callable[[], bytes]], agents: Agents,
    ) -> None:
        self._extension, self._context = extension, context
        self._open_context, self._agents = open_context, agents
        self._asked: queue.SimpleQueue[tuple[int, str, bytes] | None] = queue.SimpleQueue()
        self._next: queue.SimpleQueue[Iterator[bytes] | None] = queue.SimpleQueue()
        self._blocks = self._body()
        self._connection: Connection | None = None
        self.error: Failure | None = None

    def read(self) -> bytes:
        try:
            return next(self._blocks, b"")
        except Failure as error:
            self._fail(error)
        except OSError as error:
            self._fail(Failure(f"unable to prepare context: {error}"))
        return b""

    def follow(self, connection: Connection, events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The engine's events but those that are answered here. Failure where what is asked for cannot be sent."""
        self._connection = connection
        threading.Thread(target=self._ask, daemon=True).start()
        try:
            for event in events:
                if "wanted" in event:
                    self._next.put(self._further(str(event["wanted"])))
                elif "agentRequest" in event:
                    self._asked.put((event["agentRequest"], event["agent"], binascii.a2b_base64(event["message"])))
                else:
                    yield event
        except Failure as error:
            raise self.error or error from None
        finally:
            self._asked.put(None)
            self._next.put(None)

    def _fail(self, error: Failure) -> None:
        """Nothing more can be sent: the build ends with its connection."""
        self.error = error
        if self._connection is not None:
            import _socket

            self._connection.socket.shutdown(_socket.SHUT_RDWR)

    def _body(self) -> Iterator[bytes]:
        data = to_bytes({key: value for key, value in self._extension.items() if value})
        yield len(data).to_bytes(4, "big") + data
        yield from _pieces(self._context)
        while (frames := self._next.get()) is not None:
            yield from frames

    def _further(self, name: str) -> Iterator[bytes]:
        yield _frame(b"n", name.encode("utf-8", "surrogateescape"))
        yield from _pieces(self._open_context(name))

    def _ask(self) -> None:
        """An agent may ask its owner first: the contexts do not wait for that."""
        while (asked := self._asked.get()) is not None:
            number, id_, message = asked
            self._next.put(iter([_frame(b"a", _NUMBER.pack(number) + self._agents.ask(id_, message))]))


def _pieces(read: Callable[[], bytes]) -> Iterator[bytes]:
    while piece := read():
        yield _frame(b"c", piece)
    yield _frame(b"e", b"")


def _frame(kind: bytes, payload: bytes) -> bytes:
    return _FRAME.pack(kind, len(payload)) + payload
