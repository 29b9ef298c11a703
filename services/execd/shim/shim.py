"""The shim's verbs: what execd asks, done with the process, the mounts and the runtime. See protocol for the words."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

from chassis import attach
from execd.shim import cgroups, mounts, protocol, record
from execd.shim.clients import Client, Handshake
from execd.shim.description import described
from execd.shim.doors import Doors
from execd.shim.intake import Intake
from execd.shim.jsonlog import JsonLog
from execd.shim.lines import LineConnection
from execd.shim.loop import Loop
from execd.shim.process import Process
from execd.shim.protocol import CREATED, RUNNING, STARTING, Exit, MountEntry, ProtocolError, RuntimeSpec, ShimSpec
from execd.shim.release import Release
from execd.shim.runtime import Children, Runtime, read_pid
from execd.shim.stdio import ConsoleSocket
from execd.shim.steps import Mark, Steps
from execd.shim.succession import take_over

INIT: Final = attach.INIT
_RECORD_RETRY: Final = 1.0
Message = Mapping[str, object]
Reply = Callable[[Mapping[str, object]], None]


class Shim:
    """One container's shim. ``run`` serves until it is released and everybody has everything."""

    def __init__(self, loop: Loop, children: Children, spec: ShimSpec) -> None:
        self._loop = loop
        self._children = children
        self._spec = spec
        self._execs: dict[str, Process] = {}
        self._runtime: Runtime | None = None
        self._cgroup = ""
        self._entered = False
        self._mounted = False
        self._oom_seen = 0
        self._released = False
        self._verb = ""
        self._answer: Mapping[str, object] = {}
        self._joined: list[Reply] = []
        self._exec_replies: dict[str, Reply] = {}
        self._log = self._open_log()
        self._init = Process(
            loop, INIT, tty=spec.tty, stdin=spec.stdin, stdin_once=spec.stdin_once, exit_path=spec.exit_path,
            log=self._log, on_gone=self._gone, on_detached=self._detached,
        )
        self._verbs: dict[str, Callable[[LineConnection, Message, Reply], None]] = {
            "describe": lambda _connection, _message, reply: reply(self._describe()),
            "watch": self._watch,
            "mount": self._mount_verb,
            "run": lambda _connection, message, reply: self._make(message, reply, "run"),
            "create": lambda _connection, message, reply: self._make(message, reply, "create"),
            "start": self._start,
            "take_over": self._take_over,
            "signal": self._signal,
            "resize": self._resize,
            "exec.create": self._exec_create,
            "exec.start": self._exec_start,
            "release": self._release,
        }
        self._doors = Doors(loop, spec.run_dir, self._request, self._attach)
        if self._log is not None:
            self._log.resume()

    def adopt(self, sock: socket.socket, seq: object) -> None:
        """The connection on which the zygote was asked for this shim: its answer is ours to give."""
        self._doors.connect(sock).send({"seq": seq, "ok": True, **self._describe()})

    def _open_log(self) -> JsonLog | None:
        log = self._spec.log
        if log.driver == "none":
            return None
        return JsonLog(log.path, log.max_bytes, log.max_files, self._log_lost, log.attributes,
                       lambda: self._doors.tell("log_rotated"),
                       Intake(os.path.join(self._spec.run_dir, protocol.INTAKE)))

    def _attach(self, handshake: Handshake, request: attach.AttachRequest, early: bytes) -> None:
        process = self._init if request.target == INIT else self._execs.get(request.target)
        if process is None:
            handshake.refuse(f"attach: no process {request.target} here", "NO_SUCH_TARGET")
        elif process.is_over():
            handshake.refuse(f"attach: process {request.target} has ended", "ENDED")
        else:
            patient = process.state in (CREATED, STARTING)
            client = Client(self._loop, handshake.accept(), request, process, patient)
            process.attach(client)
            client.greet(early)

    def _request(self, connection: LineConnection, message: Message) -> None:
        seq = message.get("seq")

        def reply(answer: Message) -> None:
            connection.send({"seq": seq, "ok": True, **answer})

        try:
            if message.get("version") != protocol.VERSION:
                raise ProtocolError(f"version {message.get('version')!r} is not spoken", "BAD_VERSION")
            verb = self._verbs.get(protocol.text(message, "verb"))
            if verb is None:
                raise ProtocolError(f"unknown verb {message.get('verb')!r}", "UNKNOWN_VERB")
            verb(connection, message, reply)
        except ProtocolError as error:
            connection.send({"seq": seq, "ok": False, "error": str(error), "reason": error.reason})
        except OSError as error:
            connection.send({"seq": seq, "ok": False, "error": str(error), "reason": "INTERNAL"})

    # Verbs.

    def _describe(self) -> Message:
        return described(self._spec.id, self._init, self._execs.values(), self._log, released=self._released)

    def _watch(self, connection: LineConnection, message: Message, reply: Reply) -> None:
        reply(self._describe())
        connection.watching = True

    def _make(self, message: Message, reply: Reply, verb: str) -> None:
        """``run`` or ``create``: the same verb again joins the first."""
        if self._verb == verb:
            self._join(reply)
            return
        if self._verb or self._init.state != CREATED:
            raise ProtocolError(f"the container is {self._init.state}", "BAD_STATE")
        spec = protocol.run_spec(message)
        steps = Steps()
        self._verb = verb
        self._init.state = STARTING
        self._joined.append(reply)
        try:
            if not self._mounted:
                self._mount(spec.mounts, steps)
            self._cgroup = spec.cgroup
            self._runtime = Runtime(self._loop, self._children, spec.runtime, self._spec.id, self._spec.run_dir)
            command = ["run", "--detach"] if verb == "run" else ["create"]
            self._spawn(self._init, [*command, "--bundle", spec.bundle], steps, verb)
        except (ProtocolError, OSError) as error:
            reason = error.reason if isinstance(error, ProtocolError) else "INTERNAL"
            self._make_failed(str(error), reason)

    def _join(self, reply: Reply) -> None:
        if self._answer:
            reply(self._answer)
        else:
            self._joined.append(reply)

    def _settle(self, answer: Message) -> None:
        self._answer = answer
        for reply in self._joined:
            reply(answer)
        self._joined.clear()

    def _make_failed(self, error: str, reason: str) -> None:
        self._settle({"ok": False, "error": error, "reason": reason})
        self._init.failed(error)

    def _mount_verb(self, connection: LineConnection, message: Message, reply: Reply) -> None:
        """``mount``: once; again it has nothing to do."""
        steps = Steps()
        if self._init.state != CREATED:
            raise ProtocolError(f"the container is {self._init.state}", "BAD_STATE")
        if not self._mounted:
            self._mount(protocol.mount_entries(message), steps)
        reply({"steps": steps.list})

    def _mount(self, entries: tuple[MountEntry, ...], steps: Steps) -> None:
        if self._entered:
            raise ProtocolError("an earlier attempt to mount has failed", "BAD_STATE")
        peers = mounts.prepare(entries)
        mounts.enter()
        self._entered = True
        steps.done("namespace")
        mounts.mount_all(entries, peers, self._spec.run_dir)
        self._mounted = True
        steps.done("mount")

    def _spawn(self, process: Process, command: list[str], steps: Steps, verb: str) -> None:
        """Let the runtime make ``process``; the answer follows when the runtime has ended."""
        assert self._runtime is not None
        runtime = self._runtime
        pid_file = runtime.scratch("pid")
        console = ConsoleSocket(runtime.scratch("tty")) if process.tty else None
        if console is not None:
            command = [*command, "--console-socket", console.path]

        def done(code: int, error: str) -> None:
            steps.done("runtime")
            pid = 0
            try:
                if code:
                    raise ProtocolError(error, "RUNTIME_FAILED")
                pid = read_pid(pid_file)
                process.running(pid, console.receive() if console else -1)
            except (ProtocolError, OSError, ValueError) as problem:
                if pid:
                    os.kill(pid, signal.SIGKILL)  # it runs without the terminal that it was promised
                self._failed(process, str(problem))
                return
            finally:
                if console is not None:
                    console.close()
            answer = {"pid": pid, "started": process.started, "steps": steps.list, "held": process.held()}
            if verb == "create":
                process.state = CREATED
            else:
                self._doors.tell("started", target=process.target, pid=pid, started=process.started)
            self._spawned(process, answer)
            self._children.wait(pid, lambda status, time_ns: self._ended(
                process, record.from_status(status, False, time_ns)))

        try:
            self._reserve(process)
            runtime.call([*command, "--pid-file", pid_file], process.child_fds(), done)
        except ProtocolError:
            if console is not None:
                console.close()
            raise

    def _reserve(self, process: Process) -> None:
        """The container's end is always recorded. An exec's needs no disk: see ``_record``."""
        if process is self._init:
            try:
                record.reserve(process.exit_path)
            except OSError as error:
                raise ProtocolError(f"no room for the exit record: {error.strerror}", "RUNTIME_FAILED") from error

    def _spawned(self, process: Process, answer: Message) -> None:
        if process is self._init:
            self._settle(answer)
        else:
            self._exec_replies.pop(process.target)(answer)

    def _failed(self, process: Process, error: str) -> None:
        if process is self._init:
            self._make_failed(error, "RUNTIME_FAILED")
        else:
            self._exec_replies.pop(process.target)({"ok": False, "error": error, "reason": "RUNTIME_FAILED"})
            process.failed(error)

    def _start(self, connection: LineConnection, message: Message, reply: Reply) -> None:
        """Let a created container go."""
        init, runtime = self._init, self._runtime
        if init.state == RUNNING:
            reply({"pid": init.pid, "started": init.started, "steps": []})
            return
        if runtime is None or init.state != CREATED or not init.pid:
            raise ProtocolError(f"the container is {init.state}", "BAD_STATE")
        steps = Steps()
        init.state = STARTING

        def done(code: int, error: str) -> None:
            steps.done("runtime_start")
            if code:
                init.error = error
                reply({"ok": False, "error": error, "reason": "RUNTIME_FAILED"})
                return
            if init.state == STARTING:
                init.state = RUNNING
            init.started = time.time_ns()
            self._doors.tell("started", target=INIT, pid=init.pid, started=init.started)
            reply({"pid": init.pid, "started": init.started, "steps": steps.list})

        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            runtime.call(["start"], [null, null, null], done)
        finally:
            os.close(null)

    def _take_over(self, connection: LineConnection, message: Message, reply: Reply) -> None:
        """Be the shim of a container whose own was killed."""
        if self._verb or self._init.state != CREATED:
            raise ProtocolError(f"the container is {self._init.state}", "BAD_STATE")
        runtime = protocol.group(message, "runtime")
        spec = RuntimeSpec(protocol.text(runtime, "path"), protocol.text(runtime, "root"))
        self._runtime = Runtime(self._loop, self._children, spec, self._spec.id, self._spec.run_dir)
        self._cgroup = protocol.text(message, "cgroup")
        mounts.enter()
        self._entered = True
        take_over(self._loop, self._init, message, lambda exit_: self._ended(self._init, exit_))
        self._verb = "take_over"
        reply({"held": self._init.held()})

    def _signal(self, connection: LineConnection, message: Message, reply: Reply) -> None:
        self._target(message).signal(protocol.number(message, "signal"))
        reply({})

    def _resize(self, connection: LineConnection, message: Message, reply: Reply) -> None:
        self._target(message).resize(protocol.number(message, "rows"), protocol.number(message, "columns"))
        reply({})

    def _target(self, message: Message) -> Process:
        name = protocol.text(message, "target")
        process = self._init if name == INIT else self._execs.get(name)
        if process is None:
            raise ProtocolError(f"no process {name} here", "NO_SUCH_TARGET")
        return process

    def _exec_create(self, connection: LineConnection, message: Message, reply: Reply) -> None:
        target = protocol.text(message, "target")
        if self._init.state != RUNNING:
            raise ProtocolError(f"the container is {self._init.state}", "BAD_STATE")
        if target not in self._execs:
            self._execs[target] = Process(
                self._loop, target, tty=protocol.flag(message, "tty"), stdin=protocol.flag(message, "stdin"),
                stdin_once=True, exit_path=protocol.text(message, "exit_path"), log=None, on_gone=self._gone,
                on_detached=self._detached,
            )
        reply({})

    def _exec_start(self, connection: LineConnection, message: Message, reply: Reply) -> None:
        process = self._target(message)
        if process is self._init or process.state != CREATED or self._runtime is None:
            raise ProtocolError(f"process {process.target} is {process.state}", "BAD_STATE")
        command = ["exec", "--detach", "--process", protocol.text(message, "process")]
        process.state = STARTING
        self._exec_replies[process.target] = reply
        try:
            self._spawn(process, command, Steps(), "exec")
        except (ProtocolError, OSError) as error:
            self._failed(process, str(error))

    def _release(self, connection: LineConnection, message: Message, reply: Reply) -> None:
        """Delete the container from the runtime, and leave."""
        if self._init.state in (RUNNING, STARTING):
            raise ProtocolError(f"the container is {self._init.state}", "BAD_STATE")
        runtime = protocol.group(message, "runtime")
        spec = RuntimeSpec(protocol.text(runtime, "path"), protocol.text(runtime, "root"))
        if not self._entered:
            mounts.enter()
            self._entered = True

        def done(error: str) -> None:
            if error:
                reply({"ok": False, "error": error, "reason": "RUNTIME_FAILED"})
                return
            self._released = True
            reply({})
            self._end_waiting_execs()
            if self._init.state == CREATED and not self._init.pid:
                self._init.failed("")
            self._leave_if_done()

        Release(self._loop, self._children, self._spec, str(message.get("cgroup") or self._cgroup)).begin(spec, done)

    # Ends.

    def _ended(self, process: Process, exit_: Exit) -> None:
        oom = False
        if process is self._init or exit_.signal == signal.SIGKILL:
            kills = cgroups.oom_kills(self._cgroup)
            oom, self._oom_seen = kills > (0 if process is self._init else self._oom_seen), kills
        process.ended(exit_._replace(oom=oom))
        if process is self._init:
            self._end_waiting_execs()
        self._record(process)

    def _end_waiting_execs(self) -> None:
        """Those that were created and never started have no container to run in any more: their clients are let go."""
        for process in list(self._execs.values()):
            if process.state == CREATED:
                process.failed("the container has ended")

    def _record(self, process: Process) -> None:
        """Write the exit record. A disk that refuses it delays the news of the container's end, since what is not
        durable is not told; an exec's is told all the same, so that nobody hangs who is there to make room."""
        assert process.exit is not None
        try:
            with Mark("exit.write_record"):
                record.write(process.exit_path, process.exit)
        except FileNotFoundError:
            pass  # the container's directory was removed: nobody is left to read a record
        except OSError:
            if process is self._init:
                self._loop.later(_RECORD_RETRY, lambda: self._record(process))
                return
        self._doors.tell("exit", target=process.target, pid=process.pid, exit=process.exit._asdict())
        process.recorded()

    def _log_lost(self, count: int, records: int, error: str) -> None:
        self._doors.tell("log_lost", bytes=count, records=records, error=error)

    def _detached(self, process: Process) -> None:
        self._doors.tell("detached", target=process.target)

    def _gone(self, process: Process) -> None:
        self._execs.pop(process.target, None)
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._released and self._init.is_over() and not self._init.clients and not self._execs:
            self._loop.stop()
