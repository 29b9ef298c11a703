"""The zygote's one work: fork a shim, and hand it the connection that asked. One spare waits ready.

It is single-threaded, holds no state and may be killed at any moment: shims are not its concern once they are forked.
Verbs are those of execd.shim.protocol: ``fork``; ``describe``, which answers {version, pid}; and ``retire``, by which
the supervisor's zygote takes the place of one that execd started meanwhile (``--stopgap-of``).
"""

from __future__ import annotations

import array
import fcntl
import gc
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

from chassis import kernel
from execd.shim import cgroups, protocol
from execd.shim import main as shim_main
from execd.shim.lines import LineConnection
from execd.shim.loop import READ, Loop

_SPARE_REQUEST_MAX: Final = 65536
_LEAVE_WITHIN: Final = 0.3
_RETIRE_WITHIN: Final = 2.0
_POOL: Final = 16384
_POOL_HEADER: Final = 48
"""pymalloc's: bytes of a pool, bytes before its first block."""


class Zygote:
    """Listens on ``path`` (mode 0600)."""

    def __init__(self, path: str, tasks: list[str]) -> None:
        self._path = path
        self._tasks = tasks
        self._spare: Spare | None = None
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
        self._keep_spare()
        self._loop.run()

    def end(self) -> None:
        """Listen no more, and see the spare gone."""
        self._loop.close()
        self._listener.close()
        os.unlink(self._path)
        if self._spare is not None:
            self._spare.end()
            self._spare = None

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
            elif verb == "retire":
                self._loop.stop()
            elif verb == "fork":
                protocol.shim_spec(protocol.group(message, "shim"))
                self._fork(connection, message)
            else:
                raise protocol.ProtocolError(f"unknown verb {verb!r}", "UNKNOWN_VERB")
        except protocol.ProtocolError as error:
            connection.send({"seq": seq, "ok": False, "error": str(error), "reason": error.reason})
        except OSError as error:
            connection.send({"seq": seq, "ok": False, "error": f"fork: {error.strerror}", "reason": "INTERNAL"})

    def _fork(self, connection: LineConnection, message: Mapping[str, object]) -> None:
        """Hand the connection to the spare, or to a child that is forked now."""
        spare, self._spare = self._spare, None
        # At once, and not when the container has started: the next spare's change of cgroups makes the kernel wait for
        # RCU beside this container's mounts, and crun's own changes then find that done (13 ms of a start, measured).
        self._loop.later(0, self._keep_spare)
        sock = connection.socket
        if (spare is None or not spare.take(sock, message)) and os.fork() == 0:
            self._child(sock, lambda: _serve(sock, message))
        connection.close()

    def _keep_spare(self) -> None:
        if self._spare is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pid = os.fork()
            if pid == 0:
                ours.detach()
                self._child(theirs, lambda: _wait_as_spare(theirs))
            theirs.close()
            self._spare = Spare(ours, pid)

    def _child(self, kept: socket.socket, work: Callable[[], int]) -> NoReturn:
        """In the child: close everything of the zygote's but ``kept``, and never return. Objects give their descriptors
        up first, lest a later garbage collection closes a number that has become something else."""
        status = 1
        try:
            self._loop.close()
            for other in self._connections:
                if other.socket is not kept:
                    other.socket.detach()
            self._connections.clear()
            if self._spare is not None:
                self._spare.forget()
            self._listener.detach()
            kernel.close_all_but([kept.fileno()])
            shim_main.prepare(self._tasks)
            status = work()
        except BaseException:  # noqa: BLE001 - a child must never return into its parent's loop
            sys.excepthook(*sys.exc_info())  # what traceback prints, without its memory
        finally:
            os._exit(status)


class Spare:
    """A child that has left the zygote's cgroups already (5 to 15 ms, most of it waiting for RCU) and waits for its
    container. It ends when the zygote does."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self._socket = sock
        self._pid = pid

    def take(self, connection: socket.socket, message: Mapping[str, object]) -> bool:
        """Give it the connection and what was asked; False where it is gone, or the request does not fit."""
        data = json.dumps(message).encode()
        try:
            if len(data) > _SPARE_REQUEST_MAX:
                return False
            socket.send_fds(self._socket, [data], [connection.fileno()])
            return True
        except OSError:
            return False
        finally:
            self._socket.close()

    def forget(self) -> None:
        """In a child of the zygote's."""
        self._socket.detach()

    def end(self) -> None:
        """It ends at the end of its socket; returns when it has."""
        self._socket.close()
        try:
            os.waitpid(self._pid, 0)
        except ChildProcessError:
            return


def _wait_as_spare(sock: socket.socket) -> int:
    fds = array.array("i")
    data, ancillary, _, _ = sock.recvmsg(
        _SPARE_REQUEST_MAX, socket.CMSG_SPACE(fds.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    sock.close()
    if not data or not ancillary:
        return 0
    fds.frombytes(ancillary[0][2][: fds.itemsize])
    return _serve(socket.socket(fileno=fds[0]), json.loads(data))


def _serve(sock: socket.socket, message: Mapping[str, object]) -> int:
    return shim_main.serve(sock, message.get("seq"), protocol.shim_spec(protocol.group(message, "shim")))


def main(arguments: Sequence[str]) -> int:
    """Run until SIGTERM, or until execd, whose ``--stopgap-of`` this is, ends. Exit status 1 where another zygote has
    the socket and does not leave it to this one."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    path, parent, execd = options["--socket"], options["--cgroup-parent"], int(options.get("--stopgap-of", "0"))
    os.umask(0o077)
    if execd:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != execd:
            return 0
    lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _locked(lock) and not _takes_over(lock, path, ask=not execd):
        print(f"zygote: another one has {path}", file=sys.stderr)
        return 1
    if _in_chroot():
        print("zygote: this is a chroot: who joined a container's mount namespace would stand in the root that lies "
              "under it, not in the container. Start Pier in a mount namespace whose root this is (pivot_root, nspawn)",
              file=sys.stderr)
        return 1
    kernel.set_process_name(b"pier-zygote")
    kernel.keep_heap_small()
    before = cgroups.own_places()
    cgroups.enter(cgroups.prepare(parent, tracking=False))
    zygote = Zygote(path, cgroups.prepare(parent, tracking=True))
    gc.disable()
    gc.collect()
    gc.freeze()
    fillers = _fill_holes()
    zygote.serve()
    fillers.clear()
    zygote.end()
    cgroups.enter(before)
    # Shims that were released a moment ago leave within this time; those of running containers stay, and so do cgroups.
    deadline = time.monotonic() + _LEAVE_WITHIN
    while not cgroups.remove(parent) and time.monotonic() < deadline:
        time.sleep(0.01)
    return 0


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _takes_over(lock: int, path: str, ask: bool) -> bool:
    """Take the lock that the zygote at ``path`` leaves when it ends, or when it is asked to; False where it stays."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        if ask:
            try:
                other.connect(path)
                other.sendall(json.dumps({"version": protocol.VERSION, "seq": 0, "verb": "retire"}).encode() + b"\n")
            except OSError:
                pass  # it starts, or ends
        deadline = time.monotonic() + _RETIRE_WITHIN
        while not (locked := _locked(lock)) and time.monotonic() < deadline:
            time.sleep(0.01)
    return locked


def _in_chroot() -> bool:
    """Whether the root directory is not the mount namespace's: entering it anew, in a child, shows that one."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            here = os.stat("/")
            own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            kernel.setns(own, kernel.CLONE_NEWNS)
            status = 0 if os.path.samestat(here, os.stat("/")) else 1
        except OSError as error:
            print(f"zygote: cannot see whether this is a chroot: {error}", file=sys.stderr)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0


def _fill_holes() -> list[object]:
    """Objects that fill the gaps that imports left in the allocator's pools, until each size has begun a fresh pool.

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
