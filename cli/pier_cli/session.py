"""A foreground session with a container's process: terminal, signals, resize, detach, exit status."""

from __future__ import annotations

import select

from pier_cli import signals
from pier_cli.failure import Failure, Plain
from pier_cli.streams import Detached, Streams
from pier_cli.terminal import DEFAULT_DETACH_KEYS, Escape, Raw, parse_detach_keys, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from pier_cli.engine import Engine
    from pier_cli.http import Connection, Response


class Killed(Exception):
    """A signal ends this process; the terminal is given back first."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Session:
    """Use as ``with Session(...) as session:`` before the process is started, so that no signal is lost.

    ``resize_path`` is "" where there is no terminal. ``kill_path``: signals are handed on to the process there; "":
    they end this command as usual.
    """

    def __init__(self, engine: Engine, resize_path: str, kill_path: str, detach_keys: str) -> None:
        self._engine = engine
        self._resize_path = resize_path
        self._kill_path = kill_path
        self._keys = parse_detach_keys(detach_keys or DEFAULT_DETACH_KEYS) if resize_path else b""
        caught = signals.FORWARDED if kill_path else signals.ENDING
        self._catcher = signals.Catcher((*caught, signals.SIGWINCH) if resize_path else caught)
        self._streams: Streams | None = None

    def __enter__(self) -> Self:
        self._catcher.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: object) -> None:
        self._catcher.__exit__(None, None, None)
        if isinstance(value, Killed):
            signals.die_of(value.number)

    def stream(self, connection: Connection, *, stdin: bool, tty: bool) -> bool:
        """Copy until the stream ends; True where the user detached before."""
        escape = Escape(self._keys) if tty and stdin else None
        streams = Streams(
            connection, self._catcher, self._signal, tty=tty, stdin=stdin, escape=escape,
            on_resize=self.resize if self._resize_path else None,
        )
        self._streams = streams
        # Only a terminal that this command reads for the container is put in raw mode.
        with Raw(0 if tty and stdin else -1) as raw:
            try:
                streams.run()
            except Detached:
                raw.restore()
                return True
        return False

    def resize(self, grow: int = 0) -> bool:
        """Tell the engine the terminal's size; whether it took it."""
        height, width = size()
        if not height and not width:
            return True
        try:
            self._engine.call_raw(
                "POST", self._resize_path, (("h", str(height + grow)), ("w", str(width + grow)))
            )
        except Failure:
            return False
        return True

    def exit_code(self, waiting: Response) -> int:
        """The status that the engine answers ``waiting`` with, signals handed on meanwhile."""
        connection = waiting.connection
        poll = select.poll()
        poll.register(self._catcher.fd, select.POLLIN)
        poll.register(connection.socket.fileno(), select.POLLIN)
        ready = bool(connection.buffer)
        while not ready:
            for fd, _ in poll.poll():
                if fd == self._catcher.fd:
                    for number in self._catcher.take():
                        self._signal(number)
                else:
                    ready = True
        return read_status(waiting)

    def _signal(self, number: int) -> None:
        if number == signals.SIGWINCH:
            if self._streams:
                self._streams.resize_soon()
        elif self._kill_path:
            try:
                self._engine.call_raw("POST", self._kill_path, (("signal", signals.name(number)),))
            except Failure:
                pass  # it has ended meanwhile: then its status is on the way
        else:
            raise Killed(number)


def read_status(waiting: Response) -> int:
    """The exit status of a wait's answer."""
    from pier_cli.codec import loads

    try:
        answer = loads(waiting.read())
    except (Failure, ValueError) as broken:
        raise Plain(f"error waiting for container: {broken}", 125) from None
    finally:
        waiting.connection.close()
    error = answer.get("Error")
    if error and error.get("Message"):
        raise Failure(str(error["Message"]), 125)
    return int(answer["StatusCode"])
