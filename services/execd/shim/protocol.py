"""The protocol between execd and a shim (and execd and the zygote), version 1.

Transport. A path-based unix stream socket of mode 0600 in the shim's run directory (``shim.sock``); one JSON object
per line, ASCII, at most LINE_MAX bytes. Bytes that are no UTF-8 travel as Python's surrogate escapes. A request is
``{"version": 1, "seq": N, "verb": WORD, ...}``; its answer ``{"seq": N, "ok": true, ...}`` or ``{"seq": N, "ok": false,
"error": TEXT, "reason": WORD}``. Answers come in any order. On a connection that said ``watch``, lines with ``event``
and without ``seq`` come between them.

Compatibility. A shim lives as long as its container, so a newer execd drives older shims: verbs and fields are only
ever added, an unknown verb is answered UNKNOWN_VERB, an unknown field is ignored only where ``describe`` answered
the version that has it.

Vocabulary.
  *run directory*  the shim's own, named by execd: ``lock`` (held with flock by the living shim), ``shim.sock``,
                   ``attach.sock``, ``rootfs`` (mount point, mounted in the shim's namespace only), ``intake`` (what
                   was read and not yet logged, see the module).
  *target*         ``init`` or an exec's id.
  *state*          of a target: created → starting → running → ended; starting → failed.
  *exit*           ``{"code", "signal", "oom", "time"}``: code as a shell counts it (128 + signal for a signal), time in
                   nanoseconds since 1970; code −1 (UNSEEN) where nobody could see it.
  *held*           the shim's descriptors of a process's output, by stream. Who copies them (pidfd_getfd) keeps the
                   container from a broken pipe where the shim is killed, and has a successor take them over.
  *witness*        the holder's pidfd of the process, by whose copy a successor is told of an end that came before it.

Lifecycle. execd asks the zygote to ``fork`` a shim; the connection is handed to it and carries on as its first
control connection, so the answer to ``fork`` comes from the shim itself once it listens. Attach clients may come from
now on; nothing is mounted yet. ``run`` (or ``create``, then ``start``) makes the mount namespace, mounts the rootfs and
calls the runtime. The container's end is written to the exit path, fsynced, renamed, and then announced to
watchers. ``release`` deletes the container from the runtime; the shim leaves when the last attach client
has everything. A fresh shim that is told ``release`` cleans up after one that was killed.

Verbs, their fields and their answers:
  fork        shim: ShimSpec                                       describe's answer
  describe                                                         pid, id, state, targets, log, released
  watch                                                            describe's answer, then events
  mount       mounts                                               steps: the namespace is made, the rootfs is there
  run         RunSpec, whose mounts count only without mount       pid, started, steps, held
  create      RunSpec                                              pid, steps: made, not started yet
  start                                                            pid, started, steps
  signal      target, signal                                       sent to the one process, which is still ours to reap
  take_over   pid, started, holder (a pid), held, witness,         instead of run: goes on with a killed shim's process
              cgroup, runtime
  resize      target, rows, columns
  exec.create target, tty, stdin, exit_path                        attach clients of that target may come
  exec.start  target, process (path of an OCI process.json)        pid, started, steps
  release     runtime, cgroup (for a fresh shim)                   done, and the shim leaves
Events: ``started`` {target, pid, started}, ``exit`` {target, pid, exit}, ``log_lost`` {bytes, records, error},
``log_rotated`` {}: there is another old log file, ``detached`` {target}: a client has gone by its detach keys.
Reasons: BAD_REQUEST, BAD_VERSION, UNKNOWN_VERB, NO_SUCH_TARGET, BAD_STATE, MOUNT_FAILED, RUNTIME_FAILED,
ALREADY_RUNNING, INTERNAL.

Example (``>`` is execd)::

    > {"version":1,"seq":1,"verb":"run","bundle":"/var/lib/pier/execd/c/3f…","mounts":[…],"runtime":{…},"method":"run"}
    < {"event":"started","target":"init","pid":4711,"started":1764035000000000000}
    < {"seq":1,"ok":true,"pid":4711,"started":1764035000000000000,"steps":[["namespace",81001,310000],…]}
    < {"event":"exit","target":"init","pid":4711,"exit":{"code":7,"signal":0,"oom":false,"time":1764035009000000000}}
    > {"version":1,"seq":2,"verb":"release"}
    < {"seq":2,"ok":true}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

VERSION: Final = 1
LINE_MAX: Final = 4 << 20
"""Longest line in bytes, newline included: a mount description of hundreds of layers fits many times."""

LOG_FORM: Final = 2
"""What a shim's log can be, as ``describe`` tells by ``log.form``: from 2 on records with attributes, in files that say
where they begin and that rotation takes along when they are compressed. One that does not tell has the first form."""

CONTROL_SOCKET: Final = "shim.sock"
ATTACH_SOCKET: Final = "attach.sock"
LOCK: Final = "lock"
ROOTFS: Final = "rootfs"
INTAKE: Final = "intake"

UNSEEN: Final = -1
"""An exit's code that nobody knows."""

FOREIGN: Final = "foreign"
"""Type of a mount that is a copy of one in another mount namespace."""

CREATED: Final = "created"
STARTING: Final = "starting"
RUNNING: Final = "running"
ENDED: Final = "ended"
FAILED: Final = "failed"


class ProtocolError(Exception):
    """A request that the shim refuses; ``reason`` is one of the module's words."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class LogSpec(NamedTuple):
    """Where and how output is kept. ``driver`` "json" writes ``path``, rotated at ``max_bytes`` (0: never) with
    ``max_files`` files in all; "none" keeps nothing. ``attributes`` is the JSON object that each record carries, or
    ""."""

    driver: str
    path: str
    max_bytes: int
    max_files: int
    attributes: str = ""


class ShimSpec(NamedTuple):
    """What a shim is forked with. ``cgroup_parent`` has no leading slash; ``exit_path`` is init's."""

    id: str
    run_dir: str
    cgroup_parent: str
    tty: bool
    stdin: bool
    stdin_once: bool
    exit_path: str
    log: LogSpec


class MountEntry(NamedTuple):
    """One mount, in order. ``target`` is below the rootfs ("" is the rootfs itself), or below ``binds`` of the run
    directory where it starts with "@/". ``options`` are mount(8)'s; for overlay also the kernel's ``lowerdir+=PATH``,
    one for each layer, topmost first, for bind ``subpath=PATH``: that part of the source, which is all of it where this
    is not given."""

    type: str
    source: str
    target: str
    options: tuple[str, ...]


class RuntimeSpec(NamedTuple):
    """The OCI runtime: its program, its state directory (``--root``)."""

    path: str
    root: str


class RunSpec(NamedTuple):
    """What ``run`` and ``create`` need. ``bundle`` holds config.json; ``cgroup`` is the container's path below each
    hierarchy, without a leading slash, for OOM kills."""

    bundle: str
    runtime: RuntimeSpec
    mounts: tuple[MountEntry, ...]
    cgroup: str


class Exit(NamedTuple):
    """How a process ended; see the module's vocabulary."""

    code: int
    signal: int
    oom: bool
    time: int


def _field(message: Mapping[str, object], name: str, kind: type, default: object = None) -> object:
    value = message.get(name, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ProtocolError(f"{name} is not of type {kind.__name__}", "BAD_REQUEST")
    return value


def text(message: Mapping[str, object], name: str) -> str:
    """A string field; ProtocolError (BAD_REQUEST) where there is none."""
    return str(_field(message, name, str))


def number(message: Mapping[str, object], name: str) -> int:
    """An integer field."""
    value = _field(message, name, int)
    assert isinstance(value, int)
    return value


def flag(message: Mapping[str, object], name: str) -> bool:
    """A boolean field, false where absent."""
    return bool(_field(message, name, bool, False))


def group(message: Mapping[str, object], name: str) -> Mapping[str, object]:
    """A field that is an object."""
    value = _field(message, name, dict)
    assert isinstance(value, dict)
    return value


def shim_spec(message: Mapping[str, object]) -> ShimSpec:
    """The ShimSpec in a ``fork``'s ``shim``."""
    log = group(message, "log")
    driver = text(log, "driver")
    if driver not in ("json", "none"):
        raise ProtocolError(f"log driver {driver!r} is not built", "BAD_REQUEST")
    return ShimSpec(
        id=text(message, "id"), run_dir=text(message, "run_dir"), cgroup_parent=text(message, "cgroup_parent"),
        tty=flag(message, "tty"), stdin=flag(message, "stdin"), stdin_once=flag(message, "stdin_once"),
        exit_path=text(message, "exit_path"),
        log=LogSpec(
            driver, text(log, "path"), number(log, "max_bytes"), number(log, "max_files"),
            str(_field(log, "attributes", str, "")),
        ),
    )


def run_spec(message: Mapping[str, object]) -> RunSpec:
    """The RunSpec in a ``run`` or ``create``."""
    runtime = group(message, "runtime")
    return RunSpec(
        bundle=text(message, "bundle"), runtime=RuntimeSpec(text(runtime, "path"), text(runtime, "root")),
        mounts=mount_entries(message), cgroup=text(message, "cgroup"),
    )


def mount_entries(message: Mapping[str, object]) -> tuple[MountEntry, ...]:
    """The mounts in a ``mount``, ``run`` or ``create``."""
    listed = _field(message, "mounts", list, [])
    assert isinstance(listed, list)
    mounts = []
    for entry in listed:
        if not isinstance(entry, dict) or not isinstance(entry.get("options"), list):
            raise ProtocolError("mounts: an entry is {type, source, target, options}", "BAD_REQUEST")
        options = tuple(str(option) for option in entry["options"])
        mounts.append(MountEntry(text(entry, "type"), text(entry, "source"), text(entry, "target"), options))
    return tuple(mounts)


def to_message(value: object) -> object:
    """A value object as the plain dictionaries and lists that go into a line."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: to_message(item) for name, item in value._asdict().items()}
    if isinstance(value, (tuple, list)):
        return [to_message(item) for item in value]
    return value
