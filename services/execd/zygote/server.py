"""The zygote's one verb: fork a shim, and hand it the connection that asked.

It is single-threaded, holds no state and may be killed at any moment: shims are not its concern once they are forked.
Verbs are those of execd.shim.protocol: ``fork``, and ``describe``, which answers {version, pid}.
"""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Final

from chassis import kernel
from execd.shim import cgroups, protocol
from execd.shim import main as shim_main
from execd.shim.lines import LineConnection
from execd.shim.loop import READ, Loop

_POOL: Final = 16384
_POOL_HEADER: Final = 48
"""pymalloc's: bytes of a pool, bytes before its first block."""


class Zygote:
    """Listens on ``path`` (mode 0600)."""

    def __init__(self, path: str, tasks: list[str]) -> None:
        self._tasks = tasks
        self._loop = Loop(lambda _pid, _status, _time: None)
        self._connections: list[LineConnection] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        self._listener.bind(path)
        os.chmod(path, 0o600)
        self._listener.listen(128)
        self._listener.setblocking(False)
        self._loop.add(self._listener.fileno(), READ, self._accept)

    def serve(self) -> None:
        signal.signal(signal.SIGTERM, lambda _number, _frame: self._loop.stop())
        signal.signal(signal.SIGINT, lambda _number, _frame: self._loop.stop())
        self._loop.run()

    def _accept(self, _events: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        self._connections.append(LineConnection(self._loop, sock, self._request, self._connections.remove))

    def _request(self, connection: LineConnection, message: Mapping[str, object]) -> None:
        seq, verb = message.get("seq"), message.get("verb")
        try:
            if message.get("version") != protocol.VERSION:
                raise protocol.ProtocolError(f"version {message.get('version')!r} is not spoken", "BAD_VERSION")
            if verb == "describe":
                connection.send({"seq": seq, "ok": True, "version": protocol.VERSION, "pid": os.getpid()})
            elif verb == "fork":
                self._fork(connection, seq, protocol.shim_spec(protocol.group(message, "shim")))
            else:
                raise protocol.ProtocolError(f"unknown verb {verb!r}", "UNKNOWN_VERB")
        except protocol.ProtocolError as error:
            connection.send({"seq": seq, "ok": False, "error": str(error), "reason": error.reason})
        except OSError as error:
            connection.send({"seq": seq, "ok": False, "error": f"fork: {error.strerror}", "reason": "INTERNAL"})

    def _fork(self, connection: LineConnection, seq: object, spec: protocol.ShimSpec) -> None:
        if os.fork():
            connection.close()
            return
        status = 1
        try:
            status = shim_main.become(self._shed(connection), seq, spec, self._tasks)
        except BaseException:  # noqa: BLE001 - a child must never return into its parent's loop
            traceback.print_exc()
        finally:
            os._exit(status)

    def _shed(self, kept: LineConnection) -> socket.socket:
        """In the child: close everything of the zygote's but the one connection. Objects give their descriptors up
        first, lest a later garbage collection closes a number that has become something else."""
        self._loop.close()
        sock = kept.take()
        for other in self._connections:
            if other is not kept:
                other.take().detach()
        self._connections.clear()
        self._listener.detach()
        kernel.close_all_but([sock.fileno()])
        return sock


def main(arguments: Sequence[str]) -> int:
    """Run until SIGTERM. Exit status 1 where another zygote has the socket."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    path, parent = options["--socket"], options["--cgroup-parent"]
    os.umask(0o077)
    lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"zygote: another one has {path}", file=sys.stderr)
        return 1
    kernel.set_process_name(b"pier-zygote")
    kernel.keep_heap_small()
    cgroups.enter(cgroups.prepare(parent, tracking=False))
    zygote = Zygote(path, cgroups.prepare(parent, tracking=True))
    gc.disable()
    gc.collect()
    gc.freeze()
    fillers = _fill_holes()
    zygote.serve()
    fillers.clear()
    return 0


def _fill_holes() -> list[object]:
    """Objects that fill every gap which imports left in the allocator's pools, until it begins a fresh one for each size.

    A shim's own objects then lie side by side on few pages, and not one here and one there on pages that are shared.
    """
    fillers: list[object] = []
    for size in range(48, 513, 16):
        while True:
            filler = bytes(size - 33)
            fillers.append(filler)
            if id(filler) % _POOL == _POOL_HEADER:
                break
    return fillers
