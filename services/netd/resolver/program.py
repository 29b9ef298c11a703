"""The process: its place, its control socket, its end.

One at a time holds the lock beside the socket. A successor asks it to retire, and is handed the sockets with what is
answered on them: no question is lost by an upgrade. Told to stop (SIGTERM) it ends at once, or with ``--stays`` when
the last sandbox is dropped: containers that run on under a stopped engine go on finding each other.
"""

from __future__ import annotations

import array
import fcntl
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from chassis import kernel
from netd.resolver import protocol
from netd.resolver.counters import Counters
from netd.resolver.hosts import HostResolvers
from netd.resolver.loop import Loop
from netd.resolver.protocol import Served
from netd.resolver.sandboxes import Sandboxes

_NOBODY: Final = 65534
_RETIRE_WITHIN: Final = 2.0
_SOCKETS: Final = 2


class Control:
    """Listens on ``path`` (mode 0600) for netd."""

    def __init__(self, loop: Loop, path: str, sandboxes: Sandboxes) -> None:
        self._loop = loop
        self._sandboxes = sandboxes
        self._clients: set[socket.socket] = set()
        self.stopping = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        self._listener.bind(path)
        os.chmod(path, 0o600)
        self._listener.listen(8)
        loop.watch(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Speak to nobody any more."""
        for sock in (self._listener, *self._clients):
            self._loop.forget(sock.fileno())
            sock.close()
        self._clients.clear()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        client.setblocking(False)
        self._clients.add(client)
        self._loop.watch(client.fileno(), lambda: self._message(client))

    def _message(self, client: socket.socket) -> None:
        try:
            data, sockets = _receive(client)
        except BlockingIOError:
            return
        except OSError:
            data, sockets = b"", []
        if not data:
            self._loop.forget(client.fileno())
            self._clients.remove(client)
            client.close()
            return
        answer = self._answer(client, data, sockets)
        try:
            client.send(answer)
        except OSError:
            return  # netd is gone; its end is the next message

    def _answer(self, client: socket.socket, data: bytes, sockets: list[socket.socket]) -> bytes:
        seq = None
        try:
            message = protocol.unpack(data)
            seq = message.get("seq")
            result = self._do(client, message, sockets)
            return protocol.pack(seq=seq, ok=True, **result)
        except (LookupError, ValueError, TypeError, OSError) as error:
            for sock in sockets:
                sock.close()
            return protocol.pack(seq=seq, ok=False, error=f"{type(error).__name__}: {error}"[:500])

    def _do(
        self, client: socket.socket, message: dict[str, Any], sockets: list[socket.socket]
    ) -> dict[str, object]:
        verb = message.get("verb")
        if verb == "hello":
            if message.get("version") != protocol.VERSION:
                raise ValueError(f"version {message.get('version')!r} is not spoken, {protocol.VERSION} is")
            return {"served": [id_ for id_ in self._sandboxes.ids if id_ > message["after"]][:protocol.PAGE]}
        if verb == "put":
            pair = (sockets[0], sockets[1]) if len(sockets) == _SOCKETS else None
            self._sandboxes.put(Served.from_json(message["sandbox"]), pair)
        elif verb == "drop":
            self._sandboxes.drop(message["id"])
            if self.stopping and not self._sandboxes:
                self._loop.stop()
        elif verb == "retire":
            self._loop.stop()
            if message.get("version") == protocol.VERSION:
                self._hand_over(client)
        else:
            raise ValueError(f"unknown verb {verb!r}")
        return {}

    def _hand_over(self, successor: socket.socket) -> None:
        """Everything that is served, a message each. What does not get there netd gives the successor."""
        successor.settimeout(_RETIRE_WITHIN)
        for served, pair in self._sandboxes.served():
            numbers = [sock.fileno() for sock in pair]
            socket.send_fds(successor, [protocol.pack(sandbox=served.to_json())], numbers)


def _receive(client: socket.socket) -> tuple[bytes, list[socket.socket]]:
    """A message and the sockets that came with it, close-on-exec."""
    numbers = array.array("i")
    data, ancillary, _, _ = client.recvmsg(
        protocol.MESSAGE_MAX, socket.CMSG_SPACE(_SOCKETS * numbers.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(payload[:len(payload) - len(payload) % numbers.itemsize])
    return data, [socket.socket(fileno=number) for number in numbers]


def main(arguments: Sequence[str]) -> int:
    """Run until SIGTERM or a successor. Exit status 1 where another one has the socket and does not leave it."""
    stays = "--stays" in arguments
    rest = [word for word in arguments if word != "--stays"]
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    path, counters = options["--socket"], options["--counters"]
    os.umask(0o077)
    lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    taken: list[tuple[Served, list[socket.socket]]] = []
    if not _takes_over(lock, path, taken):
        print(f"resolver: another one has {path}", file=sys.stderr)
        return 1
    kernel.set_process_name(b"pier-resolver")
    kernel.keep_heap_small()
    loop = Loop()
    sandboxes = Sandboxes(loop, Counters(counters), HostResolvers())
    for served, (udp, tcp) in taken:
        sandboxes.put(served, (udp, tcp))
    control = Control(loop, path, sandboxes)
    wake, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    parent = os.getppid()
    _give_up_privileges()

    def told() -> None:
        os.read(wake, 64)
        control.stopping = True
        if not (stays and sandboxes):
            loop.stop()

    loop.watch(wake, told)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    # The change of user has undone what the launcher set, so it is set again: its end is as good as a SIGTERM.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
    loop.run()
    control.close()
    loop.close()
    return 0


def _give_up_privileges() -> None:
    """From here on it is nobody, may do nothing, and imports nothing."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # two for each sandbox, one for each question under way
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)  # and with it every capability
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    sys.meta_path.clear()


def _takes_over(lock: int, path: str, taken: list[tuple[Served, list[socket.socket]]]) -> bool:
    """Take the lock, which another one leaves when it is asked to, and into ``taken`` what it serves; False where it
    stays."""
    deadline = time.monotonic() + _RETIRE_WITHIN
    asked = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
        if not asked:
            asked = _ask_to_retire(path, taken)
        time.sleep(0.01)


def _ask_to_retire(path: str, taken: list[tuple[Served, list[socket.socket]]]) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.settimeout(_RETIRE_WITHIN)
        try:
            other.connect(path)
            other.send(protocol.pack(seq=0, verb="retire", version=protocol.VERSION))
        except OSError:
            return False  # it starts, or ends
        try:
            while True:
                data, sockets = _receive(other)
                if not data or len(sockets) != _SOCKETS:
                    return True
                taken.append((Served.from_json(protocol.unpack(data)["sandbox"]), sockets))
        except OSError:
            return True
