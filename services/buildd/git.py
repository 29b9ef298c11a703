"""Git repositories: contexts that are not sent along, and what ADD clones.

Nothing of a repository is ever checked out: git, as a user of its own, fetches it into a bare one, and what is
wanted becomes a tar that imaged unpacks like any other. So no hook, filter, attribute or symbolic link of a stranger's
is acted on here.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from buildd import fetch, git_directory, snapshots
from buildd.git_address import Address
from buildd.state import State
from chassis.errors import InvalidArgument, NotFound, ResourceExhausted, Unavailable
from chassis.stages import stage
from chassis.tar import clean_name

_PARENT: Final = Path("/var/tmp")
"""Where a user of no group can pass through."""
_USERS: Final = 0x7FFE0000
"""The first of 65,536 user ids that no system gives to anybody."""
_LONGEST: Final = 3600.0
_PIECE: Final = 256 << 10
_SAID_MAX: Final = 64 << 10
_LISTED_MAX: Final = 16 << 20
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_DEEPEST: Final = 8
"""How far submodules may have submodules."""
_MODULES: Final = ".gitmodules"
_VERBS: Final = ("fetch", "ls-remote", "archive", "cat-file", "ls-tree", "config", "read-tree")
_ENVIRONMENT: Final = {
    "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "GIT_DIR": ".",
    "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "https:http:git",
}
_LAYOUT: Final = {
    "HEAD": "ref: refs/heads/none\n",
    "config": "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
    "info/attributes": "* -export-ignore -export-subst\n",
}
"""What `git init` would make. Attributes of the repository's own leave nothing out of its archive."""
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class Repository:
    """A repository at a commit, which is known at once; it is fetched when it is needed."""

    def __init__(
        self, state: State, stack: AsyncExitStack, address: Address, commit: str, depth: int = 0, ref: str = ""
    ) -> None:
        self._state, self._stack, self._address, self._depth = state, stack, address, depth
        self._directory: Path | None = None
        self._ref = ref
        self.commit = commit

    @property
    def digest(self) -> str:
        """Of what `unpack` brings."""
        address = self._address
        parts = ["git", self.commit, address.directory]
        if not address.submodules:
            parts.append("no submodules")
        return ":".join([*parts, "kept", self._ref, self._shown] if address.keep_git_dir else parts)

    async def unpack(self, key: str) -> None:
        """Its files, and those of its submodules, into the writable snapshot ``key``, and `.git` where the address
        says so; without that of submodules."""
        await self._unpack(key, "")
        if self._address.keep_git_dir:
            directory = await self._fetched()
            await _said(self._state, directory, ["read-tree", self.commit])
            pieces = git_directory.as_tar(directory, self._shown, self._ref, self.commit)
            await snapshots.apply(self._state, key, _in_threads(self._state, pieces))

    async def _unpack(self, key: str, prefix: str) -> None:
        directory = await self._fetched()
        words = ["-c", "tar.umask=0022", "archive", "--format=tar", *([f"--prefix={prefix}/"] if prefix else []),
                 self.commit]
        async with aclosing(_output(self._state, directory, words)) as pieces:
            await snapshots.apply(self._state, key, pieces)
        for path, url, commit in await self._submodules() if self._address.submodules else ():
            if self._depth == _DEEPEST:
                raise InvalidArgument(f"{self._shown}: submodules are nested deeper than {_DEEPEST}",
                                      reason="TOO_LARGE", field="submodules")
            module = Repository(self._state, self._stack, self._address.relative(url), commit, self._depth + 1)
            await module._unpack(key, f"{prefix}/{path}" if prefix else path)

    @property
    def _shown(self) -> str:
        return fetch.shown(self._address.url)

    async def _fetched(self) -> Path:
        """A bare repository that has the commit. NotFound (FETCH_FAILED) where the server does not."""
        if self._directory is not None:
            return self._directory
        state = self._state
        directory = await self._stack.enter_async_context(_bare(state))
        async with stage("build.git_fetch", url=self._shown, commit=self.commit):
            wanted = ["fetch", "--quiet", "--no-tags", "--depth=1", "--", self._address.url, self.commit]
            try:
                await _said(state, directory, wanted)
            except Unavailable:
                # Servers may hand out what their refs point at alone, or know nothing of depths.
                await _said(state, directory, [
                    "fetch", "--quiet", "--tags", "--force", "--", self._address.url, "+refs/*:refs/*"])
            try:
                await _said(state, directory, ["cat-file", "-e", f"{self.commit}^{{commit}}"])
            except Unavailable as error:
                raise NotFound(f"{self._shown}: it has no commit {self.commit}", reason="FETCH_FAILED") from error
        self._directory = directory
        return directory

    async def _submodules(self) -> list[tuple[str, str, str]]:
        """(path, URL, commit) of each that the commit has (gitmodules(5))."""
        directory = await self._fetched()
        state = self._state
        if not await _said(state, directory, ["ls-tree", self.commit, "--", _MODULES]):
            return []
        listed = await _said(state, directory, [
            "config", "--null", "--blob", f"{self.commit}:{_MODULES}", "--get-regexp", r"^submodule\..*\.(path|url)$"])
        settings = dict(line.split("\n", 1) for line in listed.split("\0") if "\n" in line)
        found = []
        for name, path in settings.items():
            url = settings.get(f"{name.removesuffix('.path')}.url", "")
            if not name.endswith(".path") or not url or os.fsdecode(clean_name(os.fsencode(path))) != path:
                continue
            entry = await _said(state, directory, ["--literal-pathspecs", "ls-tree", self.commit, "--", path])
            mode, kind, *rest = entry.split(maxsplit=3) or ("", "")
            if (mode, kind) == ("160000", "commit"):
                found.append((path, url, rest[0]))
        return found


async def repository(state: State, stack: AsyncExitStack, address: Address, commit: str = "") -> Repository:
    """The repository at ``address``. InvalidArgument where it is not at ``commit`` (its beginning is enough), NotFound
    where it has no such ref, Unavailable where it cannot be asked."""
    if shutil.which("git") is None:
        raise Unavailable("git is not installed on the engine's machine", reason="NO_GIT", field="git")
    if address.keep_git_dir and address.directory:
        raise InvalidArgument(
            f"keep-git-dir: .git is the whole repository's, and no part of its directory {address.directory[:80]!a}",
            reason="BAD_GIT_ADDRESS", field="keep-git-dir", expected="a repository without a directory")
    ref = ""
    if not _COMMIT.fullmatch(found := address.ref):
        async with stage("build.git_refs", url=fetch.shown(address.url)), _bare(state) as directory:
            ref, found = await _resolved(state, directory, address)
    commit = commit or address.checksum
    if commit and not found.startswith(commit):
        raise InvalidArgument(f"expected checksum to match {commit[:80]!a}, got {found}", reason="DIGEST_MISMATCH",
                              field="checksum", expected=found)
    return Repository(state, stack, address, found, ref=ref)


async def _resolved(state: State, directory: Path, address: Address) -> tuple[str, str]:
    """The ref's whole name, and its commit."""
    wanted = address.ref or "HEAD"
    listed = await _said(state, directory, ["ls-remote", "--quiet", "--", address.url, wanted, f"{wanted}^{{}}"])
    refs = {name: commit for commit, _, name in (line.partition("\t") for line in listed.splitlines())}
    for name in (wanted, f"refs/tags/{wanted}^{{}}", f"refs/tags/{wanted}", f"refs/heads/{wanted}", f"refs/{wanted}"):
        if _COMMIT.fullmatch(found := refs.get(name, "")):
            return name.removesuffix("^{}"), found
    raise NotFound(f"{fetch.shown(address.url)}: repository does not contain ref {wanted[:80]!a}", reason="NO_SUCH_REF")


@asynccontextmanager
async def _bare(state: State) -> AsyncIterator[Path]:
    """An empty bare repository, for as long as the block lasts, with a user of its own who has nothing else."""
    directory = Path(await state.files.run(lambda: tempfile.mkdtemp(prefix=_prefix(state), dir=_PARENT)))
    try:
        await state.files.run(_lay_out, directory)
        yield directory
    finally:
        await state.files.run(lambda: shutil.rmtree(directory, ignore_errors=True))


def _prefix(state: State) -> str:
    return f"pier-{state.instance.name}-git-"


def _lay_out(directory: Path) -> None:
    user = _USERS + secrets.randbelow(1 << 16)
    for name in ("objects", "refs", "info"):
        (directory / name).mkdir()
    for name, content in _LAYOUT.items():
        (directory / name).write_text(content)
    for path in (*directory.iterdir(), *(directory / "info").iterdir(), directory):
        os.chown(path, user, user)


def sweep(state: State) -> None:
    """What an earlier life has left."""
    for path in _PARENT.glob(f"{_prefix(state)}*"):
        shutil.rmtree(path, ignore_errors=True)


async def _in_threads(state: State, pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    while piece := await state.files.run(next, pieces, b""):
        yield piece


async def _said(state: State, directory: Path, words: Sequence[str]) -> str:
    """What git says. As ``_output`` fails."""
    found = b""
    async with aclosing(_output(state, directory, words)) as pieces:
        async for piece in pieces:
            found += piece
            if len(found) > _LISTED_MAX:
                raise ResourceExhausted(f"git {words[0]}: it lists more than {_LISTED_MAX} bytes", reason="TOO_LARGE")
    return os.fsdecode(found)


async def _output(state: State, directory: Path, words: Sequence[str]) -> AsyncGenerator[bytes, None]:
    """What git writes. Unavailable (FETCH_FAILED) where it fails, or is silent for longer than a server may be."""
    user, patience = directory.stat().st_uid, state.settings.fetch_timeout
    environment = {**_ENVIRONMENT, **{name: os.environ[name] for name in _PROXIES if name in os.environ}}
    process = await asyncio.create_subprocess_exec(
        "prlimit", f"--fsize={state.settings.fetch_max_bytes}", "setpriv", f"--reuid={user}", f"--regid={user}",
        "--clear-groups", "--no-new-privs", "git", "-c", "http.lowSpeedLimit=1",
        "-c", f"http.lowSpeedTime={max(1, int(patience))}", *words, cwd=directory, env=environment,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(_tail(process.stderr), name="git:stderr")
    limit = asyncio.timeout(_LONGEST)
    try:
        async with limit:
            while piece := await process.stdout.read(_PIECE):
                yield piece
            said = await errors
            if await process.wait():
                raise Unavailable(f"git {_verb(words)}: {said or process.returncode}", reason="FETCH_FAILED")
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise Unavailable(f"git {_verb(words)}: longer than {_LONGEST:.0f} s", reason="FETCH_FAILED") from error
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        errors.cancel()
        await asyncio.gather(errors, return_exceptions=True)


async def _tail(stream: asyncio.StreamReader) -> str:
    """The last line of what git complains of."""
    said = b""
    while piece := await stream.read(_PIECE):
        said = (said + piece)[-_SAID_MAX:]
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:400] if lines else ""


def _verb(words: Sequence[str]) -> str:
    return next(word for word in words if word in _VERBS)
