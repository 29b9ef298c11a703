"""``pier system dial-stdio``: standard input and output become a connection to the engine. ssh:// runs it elsewhere."""

from __future__ import annotations

import _socket
import posix

from pier_cli import out
from pier_cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options

_BLOCK = 65536


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    import select

    connection = context.engine.connect()
    engine, reading = connection.socket, True
    while True:
        ready, _, _ = select.select([engine.fileno(), *([0] if reading else [])], [], [])
        if engine.fileno() in ready:
            data = engine.recv(_BLOCK)
            if not data:
                return 0
            out.write(1, data)
        if 0 in ready:
            data = posix.read(0, _BLOCK)
            if data:
                connection.send(data)
            else:
                reading = False
                engine.shutdown(_socket.SHUT_WR)


COMMAND = Command(_run, most=0, text="It is what ssh:// runs on the engine's machine.")
