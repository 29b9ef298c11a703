"""The OCI runtimes of this machine, judged by a probe of what they do, not by their version.

The probe runs a program of the host's, read-only, under a filter, and reads ``Seccomp:`` of its process. crun takes a
ready BPF program by an annotation (14 ms instead of 31 for a run), which every other runtime ignores, silently and
without any filter: the annotation is used only where the probe saw it work. A runtime under which neither form works is
refused.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis.errors import Conflict, Internal, InvalidArgument, PierError
from chassis.ids import new_id
from chassis.logs import logger
from execd import seccomp
from execd.oci import capabilities, config
from execd.oci.users import User
from execd.shim import protocol
from execd.shims import ShimGone, ShimLink, Zygote, run_directory
from pier.exec.v1 import exec_pb2

_ANNOTATION: Final = "run.oci.seccomp_bpf_data"
_SECCOMP: Final = re.compile(rb"^Seccomp:\s*(\d+)$", re.MULTILINE)
_FILTERED: Final = 2
_RULES: Final = "rules"
_SETTLE_PAUSE: Final = 0.001
_SETTLE_TRIES: Final = 2000


@dataclass(frozen=True)
class OciRuntime:
    """One configured runtime; ``filter_form`` is "annotation" or "rules"."""

    name: str
    path: str
    filter_form: str

    def filter(self, caps: frozenset[str], custom: bytes = b"") -> config.Filter:
        """The seccomp profile ``custom``, or Pier's, for a process with ``caps``, in the form that this runtime
        honours. Blocks for some milliseconds where it was not compiled before."""
        profile = seccomp.load_profile(custom) if custom else seccomp.default_profile()
        if self.filter_form == "annotation":
            program = base64.b64encode(seccomp.compile_bpf(profile, caps)).decode()
            return config.Filter(None, {_ANNOTATION: program})
        return config.Filter(seccomp.linux_seccomp(profile, caps), {})


async def is_filtered(pid: int, runtime: str) -> bool | None:
    """Whether process ``pid`` runs under a seccomp filter; None where it has ended already.

    A runtime that was told to detach may answer while ``pid`` is still its own program, about to load the filter and to
    become the container's: that is waited for.
    """
    for _ in range(_SETTLE_TRIES):
        try:
            match = _SECCOMP.search(Path(f"/proc/{pid}/status").read_bytes())
            if match is not None and int(match[1]) == _FILTERED:
                return True
            if not _is_runtime(pid, runtime):
                # It may have become the container's between the two looks.
                match = _SECCOMP.search(Path(f"/proc/{pid}/status").read_bytes())
                return match is not None and int(match[1]) == _FILTERED
        except (FileNotFoundError, ProcessLookupError):
            return None
        await asyncio.sleep(_SETTLE_PAUSE)
    return False


def _is_runtime(pid: int, runtime: str) -> bool:
    """Whether ``pid`` still executes the runtime, from its file or from the sealed copy that it makes of itself."""
    if os.readlink(f"/proc/{pid}/exe").startswith("/memfd:"):
        return True
    own, program = os.stat(runtime), os.stat(f"/proc/{pid}/exe")
    return (own.st_dev, own.st_ino) == (program.st_dev, program.st_ino)


class Runtimes:
    """The configured runtimes that are installed. ``probe`` judges them; ``get`` waits for its verdict."""

    def __init__(self, configured: Iterable[str], zygote: Zygote, run: Path, cgroup_parent: str, cache: Path) -> None:
        self.paths: dict[str, str] = {}
        for entry in configured:
            name, _, path = entry.partition("=")
            if os.access(path, os.X_OK):
                self.paths[name] = path
        if not self.paths:
            raise InvalidArgument("no OCI runtime is installed", reason="BAD_CONFIG", field="runtimes",
                                  expected="crun or runc")
        self.default = next(iter(self.paths))
        self.root = run / "runtime"
        self._zygote = zygote
        self._probes = run / "probes"
        self._cgroup = cgroup_parent
        self._cache = cache
        self._verdicts: dict[str, asyncio.Task[OciRuntime]] = {}
        self._problems: dict[str, str] = {}
        self.probing: set[str] = set()
        self.facts = {"default_runtime": self.default, **{f"runtime.{name}": path for name, path in self.paths.items()}}
        """For people, who see them in SystemService.Info: each runtime's path, and its verdict once there is one."""

    def probe(self) -> None:
        """Begin to judge the default runtime."""
        self._verdict(self.default)

    async def get(self, name: str) -> OciRuntime:
        """The runtime called ``name`` ("" is the default). Conflict (RUNTIME_UNSAFE) where it applies no filter."""
        return await asyncio.shield(self._verdict(name or self.default))

    def _verdict(self, name: str) -> asyncio.Task[OciRuntime]:
        task = self._verdicts.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.create_task(self._judge(name), name=f"probe {name}")
            self._verdicts[name] = task
        return task

    async def _judge(self, name: str) -> OciRuntime:
        path = self.paths[name]
        known, key = self._known(), _fingerprint(path)
        if known.get(key) in ("annotation", _RULES):
            self.facts[f"runtime.{name}"] = f"{path}, seccomp by {known[key]}"
            return OciRuntime(name, path, known[key])
        for form in ("annotation", _RULES):
            runtime = OciRuntime(name, path, form)
            if await self._works(runtime):
                logger().info("runtime judged", runtime=name, path=path, seccomp=form)
                self._cache.write_text(json.dumps({**known, key: form}))
                self.facts[f"runtime.{name}"] = f"{path}, seccomp by {form}"
                return runtime
        problem = self._problems.get(name) or "it starts processes without the seccomp filter that was asked for"
        self.facts[f"runtime.{name}"] = f"{path}, refused: {problem}"
        raise Conflict(f"runtime {name} ({path}) cannot be used: {problem}", reason="RUNTIME_UNSAFE",
                       field="spec.runtime")

    def _known(self) -> dict[str, str]:
        try:
            document = json.loads(self._cache.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    async def _works(self, runtime: OciRuntime) -> bool:
        identity = new_id()
        self.probing.add(identity)
        run_dir = run_directory(self._probes, identity, 1)
        link = ShimLink(run_dir, _ignore, _ignore_loss)
        spec = protocol.ShimSpec(
            identity, str(run_dir), self._cgroup, tty=False, stdin=True, stdin_once=True,
            exit_path=str(run_dir / "exit.json"), log=protocol.LogSpec("none", "", 0, 1),
        )
        wanted = {"path": runtime.path, "root": str(self.root)}
        try:
            await self._zygote.fork(link, spec)
            container = exec_pb2.ContainerSpec(
                process=exec_pb2.Process(args=[b"/bin/cat"]), read_only_rootfs=True,
                namespaces=[exec_pb2.NamespaceRef(kind=exec_pb2.NAMESPACE_KIND_CGROUP, fresh=True)],
            )
            cgroup = f"{self._cgroup}/{identity}"
            place = config.Place(identity, str(link.rootfs), cgroup, {}, {}, ())
            caps = capabilities.DEFAULT & capabilities.bounding()
            document = config.config(container, place, User(0, 0, (0,), "/"), caps, runtime.filter(caps))
            (run_dir / "config.json").write_text(json.dumps(document))
            entries = [{"type": "bind", "source": "/", "target": "", "options": ["rbind"]}]
            answer = await link.ask("run", bundle=str(run_dir), runtime=wanted, mounts=entries, cgroup=cgroup)
            return await is_filtered(int(answer["pid"]), runtime.path) is True
        except PierError as error:
            logger().warning("runtime's probe failed", runtime=runtime.name, form=runtime.filter_form,
                             error=error.message)
            self._problems[runtime.name] = error.message
            return False
        finally:
            await self._clean(link, wanted, f"{self._cgroup}/{identity}")
            shutil.rmtree(run_dir, ignore_errors=True)
            self.probing.discard(identity)

    async def _clean(self, link: ShimLink, wanted: dict[str, str], cgroup: str) -> None:
        """Kill and release the probe's container, whatever it came to: a stop may come while it is being started."""
        link.released = True
        try:
            for _ in range(500):
                with contextlib.suppress(PierError):
                    await link.ask("signal", target="init", signal=9)
                try:
                    await link.ask("release", runtime=wanted, cgroup=cgroup)
                    return
                except ShimGone:
                    return
                except Conflict:
                    await asyncio.sleep(0.01)  # it is being started, or its end is on its way
            raise Internal("the probe's container does not end")
        finally:
            await link.close()

    async def close(self) -> None:
        """End the probes that run; each cleans up after itself."""
        for task in self._verdicts.values():
            task.cancel()
        await asyncio.gather(*self._verdicts.values(), return_exceptions=True)


def _fingerprint(path: str) -> str:
    found = os.stat(path)
    return f"{path}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{os.uname().release}"


def _ignore(_link: ShimLink, _message: object) -> None:
    return


def _ignore_loss(_link: ShimLink) -> None:
    return


Probe = Callable[[str], OciRuntime]
