"""The build context: a tar in a snapshot, the Dockerfile in it, and what .dockerignore leaves out of it."""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from buildd import fetch, git, git_address, snapshots
from buildd.state import State
from chassis import ids, ignore
from chassis.errors import InvalidArgument, NotFound
from chassis.stages import stage
from pier.build.v1 import build_pb2 as pb
from pier.image.v1 import image_pb2

LOCAL: Final = "local:"
"""What a further context is that the client sends."""
DOCKERFILE: Final = "Dockerfile"
IGNORE: Final = ".dockerignore"
_KEEP_GIT: Final = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
_DOCKERFILE_MAX: Final = 1 << 20
_TAR: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
_USTAR: Final = slice(257, 262)
_BLOCK: Final = 512


@dataclass(frozen=True)
class Context:
    """``snapshot`` is its key, "" where nothing was sent; ``ignored`` are .dockerignore's patterns."""

    snapshot: str = ""
    dockerfile: bytes = b""
    ignored: tuple[bytes, ...] = ()


@asynccontextmanager
async def received(
    state: State, options: pb.BuildOptions, data: AsyncIterator[bytes]
) -> AsyncIterator[Context]:
    """The context of a build, for as long as the block lasts. InvalidArgument (BAD_DOCKERFILE) without a Dockerfile."""
    async with AsyncExitStack() as stack:
        text = options.dockerfile_text
        if options.remote:
            key = await stack.enter_async_context(snapshots.writable(state, options.namespace, snapshots.SCRATCH))
            text = await _fetched(state, stack, key, options) or text
        else:
            key = await _sent(state, stack, options, data)
        text, ignored = await asyncio.gather(
            _dockerfile(state, key, options.dockerfile, text), _ignored(state, key, options.dockerfile or DOCKERFILE))
        yield Context(key, text, ignored)


async def _sent(state: State, stack: AsyncExitStack, options: pb.BuildOptions, data: AsyncIterator[bytes]) -> str:
    """The client's own context; "" where it has none."""
    if options.context_pour:
        ids.key(options.context_pour, "options.context_pour")
        async with stage("build.context"):
            key = await snapshots.unpacked(state, stack, options.namespace, data, options.context_pour)
            async for _ in data:  # its end says that the stream was whole
                pass
        return key
    async with aclosing(_first_of(data)) as pieces:
        if not await anext(pieces):
            return ""
        async with stage("build.context"):
            return await snapshots.unpacked(state, stack, options.namespace, pieces)


async def _first_of(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The first piece, b"" for none, and then all of them."""
    first = await anext(pieces, b"")
    yield first
    if first:
        yield first
    async for piece in pieces:
        yield piece


async def _fetched(state: State, stack: AsyncExitStack, key: str, options: pb.BuildOptions) -> bytes:
    """Bring the remote context. What is no archive is the Dockerfile itself, as Docker has it: its text."""
    url = options.remote
    keep = options.build_args.get(_KEEP_GIT, "") not in ("", "0", "false")
    found = await brought(state, stack, options.namespace, key, url, "remote", keep_git_dir=keep)
    if found is None:
        return b""
    if found.size > _DOCKERFILE_MAX:
        raise _bad(f"{fetch.shown(url)}: no archive, and too long for a Dockerfile")
    return b"".join([piece async for piece in fetch.content(state, found)])


async def brought(
    state: State, stack: AsyncExitStack, namespace: str, key: str, url: str, field: str, *, keep_git_dir: bool = False
) -> fetch.Fetched | None:
    """Bring what is at ``url``, a tar or a git repository, into the writable snapshot ``key``; what it is where it is
    neither; ``keep_git_dir``: with the repository's .git, unless the URL says otherwise. InvalidArgument (BAD_URL)."""
    if git_address.is_git(url, bare_host=True):
        address = git_address.parse(url, field)
        kept = keep_git_dir if address.keep_git_dir is None else address.keep_git_dir
        await _cloned(state, stack, namespace, key, replace(address, keep_git_dir=kept))
        return None
    if not url.startswith(("http://", "https://")):
        raise InvalidArgument(f"context {url[:80]!a}: no URL", reason="BAD_URL", field=field,
                              expected="the URL of a tar, of a Dockerfile or of a git repository")
    found = await fetch.fetch(state, stack, url)
    head = await state.files.run(_head, found)
    if not head.startswith(_TAR) and head[_USTAR] != b"ustar":
        return found
    async with stage("build.context"):
        await snapshots.apply(state, key, fetch.content(state, found))
    return None


async def _cloned(
    state: State, stack: AsyncExitStack, namespace: str, key: str, address: git_address.Address
) -> None:
    found = await git.repository(state, stack, address)
    if not address.directory:
        await found.unpack(key)
        return
    whole = await stack.enter_async_context(snapshots.writable(state, namespace, snapshots.SCRATCH))
    await found.unpack(whole)
    part = image_pb2.FileSelection(snapshot=whole, sources=[os.fsencode(address.directory)], literal=True)
    await snapshots.copy(state, image_pb2.CopyFilesRequest(files=part, key=key, target=b"/"))


def _head(found: fetch.Fetched) -> bytes:
    found.file.seek(0)
    return found.file.read(_BLOCK)


async def _dockerfile(state: State, key: str, name: str, text: bytes) -> bytes:
    """``text`` where there is any, else the Dockerfile in the context; where none is named, also one in lower case."""
    if text:
        return text
    for path in [name] if name else [DOCKERFILE, DOCKERFILE.lower()]:
        if key and (found := await _read(state, key, path)) is not None:
            return found
    raise _bad(f"Cannot locate specified Dockerfile: {name or DOCKERFILE}", reason="NO_DOCKERFILE")


async def _ignored(state: State, key: str, dockerfile: str) -> tuple[bytes, ...]:
    """The patterns of the Dockerfile's own ignore file, else of the context's."""
    if not key:
        return ()
    own, common = await asyncio.gather(_read(state, key, f"{dockerfile}{IGNORE}"), _read(state, key, IGNORE))
    found = common if own is None else own
    return () if found is None else tuple(ignore.read(found))


async def _read(state: State, key: str, path: str) -> bytes | None:
    clean = posixpath.normpath("/" + path)
    try:
        return await snapshots.read_file(state, key, clean, _DOCKERFILE_MAX)
    except NotFound:
        return None


def _bad(message: str, reason: str = "BAD_DOCKERFILE") -> InvalidArgument:
    return InvalidArgument(message, reason=reason, field="dockerfile")
