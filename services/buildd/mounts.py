"""`RUN --mount`: what a command sees beside its ground.

Nothing of a path from a Dockerfile is ever resolved here: a bind's source is copied by imaged, which never leaves the
snapshot's root, into a snapshot of the step's own, whose top directory alone is what is bound (CVE-2024-1753).
"""

from __future__ import annotations

import hashlib
import itertools
import posixpath
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from buildd import cache_mounts, secret_files, snapshots, ssh_agents
from buildd.build import Build
from buildd.config import Config
from buildd.copying import Find
from buildd.dockerfile import instructions as df
from chassis.errors import InvalidArgument, NotFound
from chassis.tar import Entry
from pier.image.v1 import image_pb2 as pb
from pier.types.v1 import types_pb2

_SECRETS: Final = "/run/secrets"
_DEFAULT_AGENT: Final = "default"
_AGENTS: Final = "/run/buildkit/ssh_agent."
_PROGRAMS: Final = "/dev/pipes"
"""BuildKit's place for heredocs that name their program."""
_PROGRAM_MODE: Final = 0o755
_NAME: Final = b"source"
_VARIABLE_MAX: Final = 100 << 10
"""The kernel takes 128 KiB for one entry (MAX_ARG_STRLEN)."""


@dataclass(frozen=True)
class Wanted:
    """A mount with its variables replaced. ``files`` are a bind's, with their ``digest``; ``program`` is what the file
    of a bind that comes from none holds."""

    mount: df.Mount
    target: str
    files: pb.FileSelection | None = None
    digest: str = ""
    program: bytes = b""

    @property
    def described(self) -> str:
        """What of it counts for the cache key: where, and of what kind; never what a cache or a secret holds."""
        mount = self.mount
        parts = [mount.type, self.target, mount.id, mount.mode, mount.uid, mount.gid, mount.size, mount.read_only,
                 *([f"env {mount.env}"] if mount.env else [])]
        return " ".join(map(str, parts))


@dataclass
class Prepared:
    """What the container is made with: mounts, where they leave traces, variables, and such as are written nowhere."""

    specs: list[types_pb2.MountSpec] = field(default_factory=list)
    points: list[bytes] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    secret_env: list[bytes] = field(default_factory=list)


async def prepare(build: Build, config: Config, run: df.Run, find: Find) -> list[Wanted]:
    """Judge the mounts of ``run``, whose variables have been replaced, and find what binds are of."""
    agents = itertools.count()
    return [
        _wanted_agent(config, mount, next(agents)) if mount.type == "ssh"
        else await _wanted(build, config, run, mount, find) for mount in run.mounts
    ]


async def _wanted(build: Build, config: Config, run: df.Run, mount: df.Mount, find: Find) -> Wanted:
    target = mount.target
    if mount.type == "secret":
        return _wanted_secret(config, run, mount)
    target = posixpath.normpath(posixpath.join("/", config.working_dir or "/", target))
    if mount.type == "cache" and mount.source and not mount.from_:
        raise InvalidArgument(f"dockerfile line {run.location.first}: a cache that begins empty has no "
                              f"source={mount.source[:80]!a}", reason="BAD_MOUNT", field="--mount",
                              expected="from= beside it")
    if mount.type == "tmpfs" or (mount.type == "cache" and not mount.from_):
        return Wanted(mount, target)
    source = mount.source or "/"
    snapshot = await find(run, mount.from_)
    files = pb.FileSelection(
        snapshot=snapshot, sources=[source.encode("utf-8", "surrogateescape")], literal=True,
        ignore=build.context.ignored if snapshot == build.context.snapshot else (),
    )
    try:
        answer = await snapshots.hash_of(build.state, files)
    except NotFound as error:
        raise InvalidArgument(f"--mount source: {error.message}", reason="NO_SUCH_FILE",
                              facts={"line": str(run.location.first)}) from error
    return Wanted(mount, target, files, answer.digest)


def _wanted_agent(config: Config, mount: df.Mount, number: int) -> Wanted:
    """The ``number``th of its command's, from 0."""
    default = f"{_AGENTS}{number}"
    return Wanted(mount, posixpath.normpath(posixpath.join("/", config.working_dir or "/", mount.target or default)))


def _wanted_secret(config: Config, run: df.Run, mount: df.Mount) -> Wanted:
    """As a file where it has a target or no variable."""
    id_ = _secret_id(mount)
    if not id_:
        raise InvalidArgument(f"dockerfile line {run.location.first}: the secret has no id", reason="BAD_MOUNT",
                              field="--mount", expected="id= beside env=")
    if set(mount.env) & {"=", "\0"}:
        raise InvalidArgument(f"dockerfile line {run.location.first}: env={mount.env[:80]!a} is no name of a variable",
                              reason="BAD_MOUNT", field="--mount", expected="a name without =")
    if mount.target:
        return Wanted(mount, posixpath.join("/", config.working_dir or "/", mount.target))
    return Wanted(mount, "" if mount.env else f"{_SECRETS}/{id_}")


def program(heredoc: df.Heredoc) -> Wanted:
    """A heredoc that is a program of its own, as a file that can be executed."""
    data = heredoc.text.encode("utf-8", "surrogateescape")
    target = f"{_PROGRAMS}/{posixpath.basename(heredoc.name) or _NAME.decode()}"
    return Wanted(df.Mount("bind", target), target, digest=hashlib.sha256(data).hexdigest(), program=data)


@asynccontextmanager
async def made(build: Build, wanted: Sequence[Wanted]) -> AsyncIterator[Prepared]:
    """What they are mounted from, for as long as the block lasts."""
    prepared = Prepared()
    async with AsyncExitStack() as stack:
        for each in wanted:
            if each.mount.type == "secret" and (value := _secret_of(build, each.mount)) is not None:
                prepared.secret_env += _variable(each.mount, value)
            spec = await _made(build, stack, each)
            if spec is None:
                continue
            spec.target = each.target.encode("utf-8", "surrogateescape")
            prepared.specs.append(spec)
            if each.mount.type == "ssh":
                prepared.variables.setdefault("SSH_AUTH_SOCK", each.target)
            prepared.points += _points(each.target)
        yield prepared


def _points(target: str) -> list[bytes]:
    """The target and the directories above it: what was made there for the mount is no change."""
    found = []
    while target not in ("/", ""):
        found.append(target.encode("utf-8", "surrogateescape"))
        target = posixpath.dirname(target)
    return found


async def _made(build: Build, stack: AsyncExitStack, wanted: Wanted) -> types_pb2.MountSpec | None:
    mount = wanted.mount
    match mount.type:
        case "tmpfs":
            spec = types_pb2.MountSpec(type="tmpfs")
            if mount.size:
                spec.options.add(key="size", value=str(mount.size).encode())
            return spec
        case "secret":
            return await _secret(build, stack, wanted)
        case "ssh":
            return await _agent(build, stack, wanted)
        case "cache":
            path = await stack.enter_async_context(cache_mounts.held(
                build, mount, wanted.target, wanted.files, wanted.digest))
            return _bind(path, read_only=bool(mount.read_only))
        case _:
            key = await stack.enter_async_context(
                snapshots.writable(build.state, build.namespace, snapshots.SCRATCH))
            if wanted.files is None:
                entry = Entry(name=_NAME, mode=_PROGRAM_MODE, size=len(wanted.program))
                await snapshots.put_files(build.state, key, [(entry, wanted.program)])
            else:
                await snapshots.copy(build.state, pb.CopyFilesRequest(
                    files=wanted.files, key=key, target=b"/" + _NAME, keep_owners=True))
            return _bind(await snapshots.upper(build.state, key) + b"/" + _NAME, read_only=mount.read_only is not False)


def _secret_id(mount: df.Mount) -> str:
    return mount.id or mount.source or posixpath.basename(mount.target)


def _secret_of(build: Build, mount: df.Mount) -> bytes | None:
    """None where the client has none and none is required."""
    id_ = _secret_id(mount)
    value = next((each.value for each in build.options.secrets if each.id == id_), None)
    if value is None and mount.required:
        raise InvalidArgument(f"secret {id_[:80]!a}: not found", reason="NO_SECRET", field="secrets")
    return value


def _variable(mount: df.Mount, value: bytes) -> list[bytes]:
    """The secret as an entry of an environment, where it is to be one."""
    if not mount.env:
        return []
    if b"\0" in value or len(value) > _VARIABLE_MAX:
        raise InvalidArgument(
            f"secret {_secret_id(mount)[:80]!a} cannot be the value of a variable", reason="BAD_SECRET",
            field="secrets", expected=f"no zero byte, and at most {_VARIABLE_MAX} bytes")
    return [mount.env.encode("utf-8", "surrogateescape") + b"=" + value]


async def _secret(build: Build, stack: AsyncExitStack, wanted: Wanted) -> types_pb2.MountSpec | None:
    mount = wanted.mount
    value = _secret_of(build, mount)
    if value is None or not wanted.target:
        return None
    owner = _owner(mount, 0o400)
    path = await stack.enter_async_context(secret_files.file(build.state, value, owner))
    return _bind(bytes(path), read_only=True)


async def _agent(build: Build, stack: AsyncExitStack, wanted: Wanted) -> types_pb2.MountSpec | None:
    mount = wanted.mount
    id_ = mount.id or _DEFAULT_AGENT
    if id_ not in build.options.ssh:
        if mount.required:
            raise InvalidArgument(f"unset ssh forward key {id_[:80]!a}", reason="NO_AGENT", field="ssh",
                                  expected="an agent of that id, handed on by the client")
        return None
    path = await stack.enter_async_context(
        ssh_agents.socket(build.state, build.uplink, id_, _owner(mount, 0o600)))
    return _bind(bytes(path), read_only=True)


def _owner(mount: df.Mount, mode: int) -> secret_files.Owner:
    return secret_files.Owner(mount.uid or 0, mount.gid or 0, mode if mount.mode is None else mount.mode)


def _bind(source: bytes, *, read_only: bool) -> types_pb2.MountSpec:
    spec = types_pb2.MountSpec(type="bind", source=source)
    for flag in ("nosuid", "nodev", *(["ro"] if read_only else [])):
        spec.options.add(key=flag)
    return spec


def settings(wanted: Sequence[Wanted]) -> dict[str, str]:
    """For the cache key."""
    if not wanted:
        return {}
    return {"mounts": hashlib.sha256("\0".join(each.described for each in wanted).encode()).hexdigest()}


def files(wanted: Sequence[Wanted]) -> dict[str, str]:
    """What binds hold, for the cache key."""
    return {f"--mount {each.target}": each.digest for each in wanted if each.digest}
