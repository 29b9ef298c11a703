"""A whole engine for tests: an instance of its own name, brought up by the launcher, driven by real clients.

Used inside a world. ``Engine.kill("execd")`` is SIGKILL to that program; the launcher brings it back.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from chassis.errors import DeadlineExceeded
from chassis.instance import SERVICES, Instance, instance
from deploy.busybox_image import busybox_image, docker_archive
from launcher import control
from netd.settings import NetdSettings
from tests import leaks, tools, world
from tests.leaks import Kept

PROGRAMS: Final = ("zygote", "resolver", *SERVICES)
WITHIN: Final = 30.0
"""Seconds that what must come is waited for: many times what it takes on a machine that has much else to do."""
_PAUSE: Final = 0.02
_PATIENCE: Final = 4
_LOOKS: Final = 3
_SPARES_WITHIN_DEAD: Final = 2.0  # seconds; a netd that does not run fills nothing
_SPARE: Final = ("mounts", "files")  # as what kinds of facts netd's ready namespaces show


class Engine:
    """One running instance. ``docker`` and ``pier`` run the real commands against it."""

    def __init__(self, own: Instance, **environment: str) -> None:
        self.instance = own
        self.host = f"unix://{own.api_socket}"
        self._environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environment,
        }

    def up(self) -> None:
        for _ in range(_PATIENCE):  # a loaded machine may need more than the half minute that a user waits
            with suppress(DeadlineExceeded):
                control.up(self.instance, environ=self._environment)
                return
        self.wait_serving()

    def down(self) -> None:
        control.down(self.instance)

    @property
    def service_environment(self) -> dict[str, str]:
        """What the launcher, and so the services, are started with."""
        return dict(self._environment)

    def environment(self) -> dict[str, str]:
        """What a client needs to find this engine; no configuration of the user's is read."""
        config = self.instance.root / "docker-config"
        config.mkdir(mode=0o700, exist_ok=True)
        return {
            "PATH": os.environ["PATH"], "HOME": str(config), "DOCKER_CONFIG": str(config), "DOCKER_HOST": self.host,
            "TERM": "xterm", "LANG": "C.UTF-8", "PIER_ROOT": str(self.instance.root),
        }

    def docker(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the real docker command. ``options`` are subprocess.run's; text, captured and 60 s by default."""
        return self.run([*self.argv("docker"), *arguments], **options)

    def pier(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.run([*self.argv("pier"), *arguments], **options)

    def ok(self, *arguments: str, **options: Any) -> str:
        """Run docker, see that it succeeds, and give its output without the last newline."""
        done = self.docker(*arguments, **options)
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.returncode}: {done.stdout}{done.stderr}"
        return str(done.stdout).rstrip("\n")

    def inspect(self, name: str) -> Any:
        """`docker inspect` of one thing."""
        return json.loads(self.ok("inspect", name))[0]

    def pid(self, program: str) -> int:
        """Pid of the zygote, a service or the launcher."""
        return int((self.instance.run / f"{program}.pid").read_text())

    def _runs(self, program: str) -> bool:
        try:
            os.kill(self.pid(program), 0)
        except (OSError, ValueError):
            return False
        return True

    def until_catches(self, name: str, number: signal.Signals) -> None:
        """Until the container's first process has a handler for the signal: before, the kernel lets a first process of
        a pid namespace ignore what it has no handler for (pid_namespaces(7))."""
        def caught() -> bool:
            try:
                with open(f"/proc/{self.inspect(name)['State']['Pid']}/status") as file:
                    mask = next(line.split()[1] for line in file if line.startswith("SigCgt:"))
            except OSError:  # between two lives
                return False
            return bool(int(mask, 16) >> (number - 1) & 1)

        wait_until(caught, what=f"{name} catches {number.name}")

    def kill(self, *programs: str) -> None:
        """SIGKILL to the programs named, all at once."""
        for program in programs:
            os.kill(self.pid(program), signal.SIGKILL)

    def wait_serving(self, within: float = WITHIN) -> None:
        """Until every service answers its health check."""
        deadline = time.monotonic() + within
        for name in SERVICES:
            while not control.is_serving(self.instance, name):
                assert time.monotonic() < deadline, f"{name} is not serving: {self.log(name)[-2000:]}"
                time.sleep(_PAUSE)

    def wait_supervised(self, within: float = 2 * WITHIN) -> None:
        """Until every program is the launcher's again: it pauses before it starts one that died, and execd helps itself
        to a zygote meanwhile."""
        for program in PROGRAMS:
            pid_file = self.instance.run / f"{program}.pid"
            wait_until(pid_file.exists, within, f"{program} is started")
        wait_until(lambda: self._zygote_that_listens() == self.pid("zygote"), within, "the launcher's zygote listens")
        self.wait_serving()

    def _zygote_that_listens(self) -> int | None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as zygote:
            try:
                zygote.connect(str(self.instance.zygote_socket))
            except OSError:
                return None
            pid, _, _ = struct.unpack("3i", zygote.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return int(pid)

    def log(self, program: str) -> str:
        path = self.instance.root / "log" / f"{program}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def load_busybox(self, name: str = "busybox:latest") -> None:
        """Load the image of `make run` as ``name``, and run it once: what is opened once and kept is open then."""
        archive = docker_archive({name: busybox_image()})
        done: subprocess.CompletedProcess[Any] = self.docker("load", input=archive, text=False)
        assert done.returncode == 0, done.stderr
        self.ok("run", "--rm", name, "true")
        self.ok("builder", "prune", "-f")
        # Each spare namespace has a socket: the one that the run took is replaced before anybody counts.
        wait_until(lambda: self.metric("netd", "pier_netd_spare_namespaces") == NetdSettings.spare_namespaces)

    def metric(self, service: str, sample: str) -> float | None:
        """The value of ``sample`` (name and labels as they are written) at a service's /metrics; None for none."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.instance.metrics_port(service)}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return next((float(line.removeprefix(sample)) for line in lines if line.startswith(f"{sample} ")), None)

    def remove_everything(self) -> None:
        """All containers gone, running or not, with their anonymous volumes."""
        if ids := self.ok("ps", "-aq").split():
            self.ok("rm", "-f", "-v", *ids)

    def kept(self) -> list[Kept]:
        """What the engine keeps on purpose. netd's spare namespaces hold a socket each, opened just after the pin is
        made: they are all there when anything is counted, unless netd does not run."""
        directory, full = self.instance.run / "netd" / "ns", 0
        deadline = time.monotonic() + (WITHIN if self._runs("netd") else _SPARES_WITHIN_DEAD)
        while full < _LOOKS and time.monotonic() < deadline and directory.exists():
            full = full + 1 if len(list(directory.glob("pool-*"))) == NetdSettings().spare_namespaces else 0
            time.sleep(_PAUSE)
        # imaged starts its helper with the first layer, and again after it was killed.
        return [*(Kept(kind, rf"{directory}/pool-.*") for kind in _SPARE), Kept("processes", "imaged-unpack: .*")]

    def argv(self, client: str) -> list[str]:
        """The command ``docker``, ``todays-docker`` or ``pier`` with what leads it to this engine."""
        if client == "docker":
            return [tools.program("docker")]
        if client == "todays-docker":
            return [tools.newest_docker()]
        return [str(tools.PROJECT / "bin" / "pier"), "--instance", self.instance.name]

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        """subprocess.run in the clients' environment."""
        settings: dict[str, Any] = {"text": True, "capture_output": True, "timeout": 60, "check": False, **options}
        if "stdin" not in settings and "input" not in settings:
            settings["stdin"] = subprocess.DEVNULL
        if "stdout" in settings or "stderr" in settings:
            settings.pop("capture_output")
        return subprocess.run(command, env=self.environment(), **settings)  # noqa: PLW1510 - settings say check

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[Any]:
        """subprocess.Popen in the clients' environment."""
        return subprocess.Popen(command, env=self.environment(), **options)


@contextmanager
def running(name: str, directory: Path, *, on_host: bool = False, **environment: str) -> Iterator[Engine]:
    """An engine for as long as the block lasts, its state below ``directory``; containers and services go with it."""
    assert on_host or world.inside(), "this test needs a world: make test, or python -m tests.world -- python -m pytest"
    engine = Engine(instance(name, directory / "root", Path("/run") / f"pier-{name}"), **environment)
    with up(engine):
        yield engine


@contextmanager
def up(engine: Engine) -> Iterator[None]:
    """``engine`` is up for as long as the block lasts, and nothing of it is left behind."""
    forget = leaks.register_baseline(engine.kept)
    try:
        engine.up()
        yield
        engine.remove_everything()
    finally:
        engine.down()
        forget_network(engine.instance)
        forget()


def forget_network(own: Instance) -> None:
    """Take away what an instance's networks leave when it is down, so that another test's flush finds none of it."""
    subprocess.run(["nft", "delete", "table", "inet", own.nft_table], check=False, capture_output=True)
    subprocess.run(["ip", "link", "delete", own.bridge], check=False, capture_output=True)


def sh(script: str) -> tuple[str, ...]:
    """The image and command that run ``script`` in busybox's shell, as they end a `run`'s words."""
    return ("busybox", "sh", "-c", script)


def wait_until(condition: Any, within: float = WITHIN, what: str = "") -> Any:
    """The first true value of ``condition()``; what only a client's answer can tell is asked again and again."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {what or condition}"
        time.sleep(_PAUSE)
    return value
