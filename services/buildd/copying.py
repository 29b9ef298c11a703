"""COPY and ADD: files of the context, of a stage, of an image, of the Dockerfile or of a URL into the step's ground."""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from buildd import fetch, git, git_address, snapshots
from buildd.build import Build
from buildd.config import Config
from buildd.configure import bad
from buildd.dockerfile import instructions as df
from buildd.dockerfile.errors import located
from buildd.hashes import encoded
from buildd.records import Inputs
from buildd.snapshots import Ground
from buildd.steps import Worked
from chassis import modes
from chassis.errors import InvalidArgument, NotFound
from chassis.stages import stage
from chassis.tar import Entry, clean_name
from coordinator.dockerfile.errors import shown
from pier.image.v1 import image_pb2 as pb

_REMOTE: Final = ("http://", "https://")
_FILE_MODE: Final = 0o644
_FETCHED_MODE: Final = 0o600

Find = Callable[[df.Instruction, str], Awaitable[str]]
"""The snapshot that a name after ``from`` means; the context's for ""."""


@dataclass(frozen=True)
class Part:
    """Sources of one kind: ``files`` of a snapshot, or what is written into one first: ``content``, what is at a URL,
    or the ``directory`` of a git repository."""

    name: str
    digest: str
    files: pb.FileSelection | None = None
    content: tuple[Entry, bytes] | None = None
    remote: fetch.Remote | None = None
    repository: git.Repository | None = None
    directory: str = ""
    unpack: bool = False


@dataclass(frozen=True)
class Copying:
    """A COPY with its variables replaced and its sources found. ``shown`` is what history says after the verb."""

    inputs: Inputs
    parts: Sequence[Part]
    target: str
    step: df.Copy

    @property
    def digest(self) -> str:
        """Of all that is copied."""
        return hashlib.sha256("".join(part.digest for part in self.parts).encode()).hexdigest()


async def prepare(build: Build, ground: Ground, config: Config, step: df.Copy, find: Find) -> Copying:
    """Find the sources of ``step``, whose variables have been replaced, and say of what it is made. InvalidArgument
    (NO_SUCH_FILE) where one is not there."""
    with located("Dockerfile", step.location):
        if step.chmod:
            modes.parse(step.chmod)
        _check_sources(step)
    target = _target(config, step.target)
    if not target.endswith("/") and len(step.sources) + len(step.heredocs) > 1:
        raise bad(step, f"When using {verb(step)} with more than one source file, the destination must be a directory "
                        "and end with a /")
    snapshot = await find(step, step.from_) if step.sources else ""
    parts = await asyncio.gather(*(_found(build, step, source, snapshot) for source in step.sources))
    parts += [_written(heredoc) for heredoc in step.heredocs]
    inputs = Inputs(
        ground=ground.key, instruction=f"{verb(step)} {_flags(step)}{target}",
        files={part.name: part.digest for part in parts},
    )
    return Copying(inputs, parts, target, step)


def _check_sources(step: df.Copy) -> None:
    """InvalidArgument in BuildKit's words."""
    if not isinstance(step, df.Add):
        for source in step.sources:
            if git_address.is_git(source):
                raise _bad("source can't be a git ref for COPY", "ADD")
            if source.startswith(_REMOTE):
                raise _bad("source can't be a URL for COPY", "ADD")
    elif step.checksum:
        if len(step.sources) != 1 or step.heredocs:
            raise _bad("checksum can't be specified for multiple sources", "one source")
        if not (git_address.is_git(step.sources[0]) or step.sources[0].startswith(_REMOTE)):
            raise _bad("checksum requires HTTP(S) or Git sources", "a source that is a URL")


def _bad(message: str, expected: str) -> InvalidArgument:
    return InvalidArgument(message, reason="BAD_INSTRUCTION", field="sources", expected=expected)


def verb(step: df.Copy) -> str:
    return "ADD" if isinstance(step, df.Add) else "COPY"


def _flags(step: df.Copy) -> str:
    words = [
        *([f"--chown={step.chown}"] if step.chown else []), *([f"--chmod={step.chmod}"] if step.chmod else []),
        *(["--link"] if step.link else []), *(["--parents"] if step.parents else []),
        *(f"--exclude={pattern}" for pattern in step.exclude),
    ]
    return "".join(f"{word} " for word in words)


def _target(config: Config, target: str) -> str:
    """Absolute, with its trailing slash where it had one or is a directory by its last word."""
    joined = posixpath.join("/", config.working_dir or "/", target)
    clean = posixpath.normpath(joined)
    clean = clean[1:] if clean.startswith("//") else clean
    is_directory = target in (".", "..") or target.endswith(("/", "/.", "/.."))
    return clean if not is_directory or clean == "/" else clean + "/"


def _written(heredoc: df.Heredoc) -> Part:
    data = encoded(heredoc.text)
    entry = Entry(name=clean_name(encoded(heredoc.name)), mode=_FILE_MODE, size=len(data), mtime_ns=time.time_ns())
    return Part(f"<<{heredoc.name}", hashlib.sha256(data).hexdigest(), content=(entry, data))


async def _found(build: Build, step: df.Copy, source: str, snapshot: str) -> Part:
    if isinstance(step, df.Add) and git_address.is_git(source):
        return await _cloned(build, step, source)
    if isinstance(step, df.Add) and source.startswith(_REMOTE):
        return await _fetched(build, step, source)
    return await _source(build, step, source, snapshot)


async def _fetched(build: Build, step: df.Add, source: str) -> Part:
    remote = await fetch.remote(build.state, build.stack, source, step.checksum)
    return Part(source, remote.digest, remote=remote, unpack=bool(step.unpack))


async def _cloned(build: Build, step: df.Add, source: str) -> Part:
    address = git_address.parse(source, "ADD")
    if step.keep_git_dir and address.keep_git_dir is False:
        raise bad(step, "inconsistent keep-git-dir configuration")
    if step.checksum and address.checksum not in ("", step.checksum):
        raise bad(step, f"checksum mismatch {shown(step.checksum)} != {shown(address.checksum)}")
    address = replace(address, keep_git_dir=step.keep_git_dir or address.keep_git_dir)
    found = await git.repository(build.state, build.stack, address, step.checksum)
    return Part(source, found.digest, repository=found, directory=address.directory)


async def _source(build: Build, step: df.Copy, source: str, snapshot: str) -> Part:
    unpack = isinstance(step, df.Add) and step.unpack is not False
    files = build.hashes.selection(step, source, snapshot)
    async with stage("build.hash", source=source):
        try:
            answer = await build.hashes.of(files, parents=step.parents)
        except NotFound as error:
            if error.reason != "NO_SUCH_FILE":
                raise
            where = "" if step.from_ else "file not found in build context or excluded by .dockerignore: "
            raise InvalidArgument(
                f"{verb(step)} failed: {where}{error.message}", reason="NO_SUCH_FILE",
                facts={"first_line": str(step.location.first)}) from error
    return Part(source, answer.digest, files=files, unpack=unpack)


@asynccontextmanager
async def carry_out(build: Build, key: str, ground: Ground, copying: Copying) -> AsyncIterator[Worked]:
    """Copy into the writable snapshot ``key`` over ``ground``."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(snapshots.writable(build.state, build.namespace, ground, key))
        async with stage("build.copy", target=copying.target):
            for part in copying.parts:
                files = part.files or await _made(build, stack, part)
                await snapshots.copy(build.state, pb.CopyFilesRequest(
                    files=files, key=key, target=encoded(copying.target), parents=copying.step.parents,
                    chown=copying.step.chown, mode_change=copying.step.chmod, unpack=part.unpack,
                    link=copying.step.link,
                ))
        yield Worked()


async def _made(build: Build, stack: AsyncExitStack, part: Part) -> pb.FileSelection:
    """A snapshot that holds what does not come from one."""
    key = await stack.enter_async_context(snapshots.writable(build.state, build.namespace, snapshots.SCRATCH))
    if part.repository is not None:
        await part.repository.unpack(key)
        name = encoded(part.directory) or b"/"
    elif part.remote is not None:
        fetched = await part.remote.fetched()
        name = fetched.name
        entry = Entry(name=name, mode=_FETCHED_MODE, size=fetched.size, mtime_ns=fetched.mtime_ns)
        await snapshots.apply(build.state, key, fetch.as_tar(build.state, entry, fetched))
    else:
        assert part.content is not None
        name = part.content[0].name
        await snapshots.put_files(build.state, key, [part.content])
    return pb.FileSelection(snapshot=key, sources=[name], literal=True)
