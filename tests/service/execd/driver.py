"""What execd is to a zygote and its shims, in blocking calls: the driver of the tests."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
from pathlib import Path
from typing import Any

from chassis import attach
from chassis.ids import new_id
from tests.engine import wait_until
from tests.service.execd import bundle

SOURCES = Path(__file__).parents[3] / "services"
ZYGOTE = SOURCES / "execd" / "zygote" / "__main__.py"
TIMEOUT = 60.0


class Refused(Exception):
    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(answer["error"])
        self.reason = answer["reason"]


class Control:
    """One JSON-line connection."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(TIMEOUT)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile("rb")
        self.events: list[dict[str, Any]] = []
        self.seq = 0

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        self.seq += 1
        line = json.dumps({"version": 1, "seq": self.seq, "verb": verb, **fields})
        self.socket.sendall(line.encode() + b"\n")
        while True:
            message = self.next_line()
            if message.get("seq") == self.seq and "event" not in message:
                if not message["ok"]:
                    raise Refused(message)
                return message
            self.events.append(message)

    def next_line(self) -> dict[str, Any]:
        line = self.file.readline()
        if not line:
            raise EOFError("the other side has closed")
        message: dict[str, Any] = json.loads(line)
        return message

    def event(self, name: str, target: str | None = None) -> dict[str, Any]:
        """The next event called ``name`` of ``target``."""
        while True:
            for index, message in enumerate(self.events):
                if message["event"] == name and target in (None, message.get("target")):
                    return self.events.pop(index)
            self.events.append(self.next_line())

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class Attached:
    """One attach connection."""

    def __init__(self, path: Path, target: str = "init", **options: Any) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(str(path))
        wanted = {"stdin": True, "stdout": True, "stderr": True, "framed": True, "detach_keys": None, **options}
        self.framed = wanted["framed"]
        self.bite = 65536
        self.socket.sendall(attach.encode_request(attach.AttachRequest(target=target, **wanted)))
        line = b""
        while not line.endswith(b"\n"):
            piece = self.socket.recv(1)
            if not piece:
                raise EOFError
            line += piece
        self.error, self.reason = attach.decode_answer(line)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def read_all(self) -> bytes:
        """Everything until the end, raw."""
        pieces = []
        while piece := self.socket.recv(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes in pieces of ``bite``; nothing at the end."""
        data = bytearray()
        while len(data) < count:
            piece = self.socket.recv(min(self.bite, count - len(data)))
            if not piece:
                assert not data, "the stream ended inside a frame"
                break
            data += piece
        return bytes(data)

    def read_until(self, wanted: bytes) -> bytes:
        """Raw output until it ends with or holds ``wanted``."""
        data = b""
        while wanted not in data:
            piece = self.socket.recv(65536)
            if not piece:
                raise EOFError(repr(data))
            data += piece
        return data

    def streams(self) -> dict[int, bytes]:
        return demultiplex(self.read_all())

    def close(self) -> None:
        self.socket.close()


def demultiplex(data: bytes) -> dict[int, bytes]:
    """Docker's frames, joined by stream."""
    joined: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
    position = 0
    while position < len(data):
        stream, size = attach.HEADER.unpack_from(data, position)
        position += attach.HEADER.size
        joined[stream].append(data[position : position + size])
        position += size
    return {stream: b"".join(pieces) for stream, pieces in joined.items()}


class Shim:
    """One container's shim, made on demand, and the files around it."""

    def __init__(self, engine: Engine, *, tty: bool = False, stdin: bool = False, log: dict[str, Any] | None = None,
                 stdin_once: bool = True) -> None:
        self.engine = engine
        self.clients: list[Attached] = []
        self.id = new_id()
        self.tty = tty
        self.run_dir = engine.run / self.id[:16]
        self.state = engine.root / self.id[:16]
        self.state.mkdir()
        self.cgroup = f"{engine.cgroup}/{self.id}"
        self.log = self.state / "json.log"
        self.exit = self.state / "exit.json"
        logging = {"driver": "json", "path": str(self.log), "max_bytes": 10 << 20, "max_files": 3, **(log or {})}
        self.spec = {
            "id": self.id, "run_dir": str(self.run_dir), "cgroup_parent": engine.cgroup, "tty": tty, "stdin": stdin,
            "stdin_once": stdin_once, "exit_path": str(self.exit), "log": logging,
        }
        self.runtime = {"path": "/usr/bin/crun", "root": str(engine.run / "runtime")}
        self.control = Control(engine.socket)
        self.fork()

    def fork(self) -> None:
        self.control.close()
        self.control = Control(self.engine.socket)
        self.forked = self.control.ask("fork", shim=self.spec)
        self.pid = self.forked["pid"]
        self.control.ask("watch")

    def mounts(self) -> list[dict[str, Any]]:
        for name in ("upper", "work"):
            (self.state / name).mkdir(exist_ok=True)
        options = [f"lowerdir+={self.engine.rootfs}", f"upperdir={self.state}/upper", f"workdir={self.state}/work",
                   "redirect_dir=nofollow", "metacopy=off", "index=off"]
        return [{"type": "overlay", "source": "overlay", "target": "", "options": options}]

    def run(self, *args: str, verb: str = "run", mounts: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        root = str(self.run_dir / "rootfs")
        made = bundle.make_bundle(self.state / "bundle", root, list(args), tty=self.tty, cgroup=self.cgroup)
        return self.control.ask(
            verb, bundle=str(made), runtime=self.runtime, cgroup=self.cgroup,
            mounts=self.mounts() if mounts is None else mounts,
        )

    def attach(self, target: str = "init", **options: Any) -> Attached:
        options.setdefault("framed", not self.tty)
        self.clients.append(Attached(self.run_dir / "attach.sock", target, **options))
        return self.clients[-1]

    def close(self) -> None:
        self.control.close()
        for client in self.clients:
            client.close()

    def reconnect(self) -> None:
        """As a restarted execd does."""
        self.control.close()
        self.control = Control(self.run_dir / "shim.sock")
        self.control.ask("watch")

    def wait(self, target: str = "init") -> dict[str, Any]:
        event: dict[str, Any] = self.control.event("exit", target)["exit"]
        return event

    def exec(self, *args: str, tty: bool = False, stdin: bool = False, client: bool = True) -> tuple[str, Any]:
        """Create, attach to and start an exec."""
        target = new_id()
        self.control.ask("exec.create", target=target, tty=tty, stdin=stdin,
                         exit_path=str(self.state / f"exec-{target[:16]}.json"))
        attached = self.attach(target, framed=not tty) if client else None
        process = json.loads((self.state / "bundle" / "config.json").read_text())["process"]
        process.update(args=list(args), terminal=tty)
        path = self.state / f"process-{target[:16]}.json"
        path.write_text(json.dumps(process))
        self.control.ask("exec.start", target=target, process=str(path))
        return target, attached

    def records(self) -> list[dict[str, Any]]:
        def age(path: Path) -> int:
            return int(path.suffix[1:]) if path.suffix[1:].isdigit() else 0

        paths = sorted(self.state.glob("json.log*"), key=age, reverse=True)
        return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]

    def logged(self, stream: str = "stdout") -> str:
        return "".join(record["log"] for record in self.records() if record["stream"] == stream)

    def release(self) -> None:
        """Let the shim delete the container and leave; proves that it left."""
        pidfd = os.pidfd_open(self.pid)
        try:
            self.control.ask("release", runtime=self.runtime)
            readable, _, _ = select.select([pidfd], [], [], TIMEOUT)
            assert readable, "the shim did not leave"
        finally:
            os.close(pidfd)
            self.control.close()


class Engine:
    """A zygote of the test's own, with directories for its shims."""

    def __init__(self, base: Path, name: str) -> None:
        self.run = base / "run"
        self.root = base / "root"
        self.rootfs = base / "rootfs"
        for directory in (self.run, self.root):
            directory.mkdir(mode=0o700)
        bundle.make_root(self.rootfs)
        self.cgroup = name
        self.socket = self.run / "zygote.sock"
        self.shims: list[Shim] = []
        self.start_zygote()

    def zygote_command(self, *more: str) -> list[str]:
        return ["/usr/bin/python3", "-I", "-S", "-E", str(ZYGOTE), "--socket", str(self.socket), "--cgroup-parent",
                self.cgroup, *more]

    def start_zygote(self) -> None:
        """Start one and return when it listens; one that is there is replaced."""
        self.zygote = subprocess.Popen(self.zygote_command())
        wait_until(lambda: self.listening() == self.zygote.pid, TIMEOUT, "the zygote listens")

    def listening(self) -> int | None:
        """Pid of the zygote that answers; None where there is none."""
        try:
            control = Control(self.socket)
        except OSError:
            return None
        try:
            return int(control.ask("describe")["pid"])
        except (OSError, EOFError):
            return None
        finally:
            control.close()

    def shim(self, **options: Any) -> Shim:
        self.shims.append(Shim(self, **options))
        return self.shims[-1]

    def close(self) -> None:
        self.zygote.terminate()
        self.zygote.wait(TIMEOUT)
