"""Which programs make an instance, in the order in which they start, and what they are started with."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis.instance import Instance

# What of the launcher's environment a service may see: locale and proxies are meant, everything else is an accident.
_PASSED: Final = (
    "PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)
_SOURCES: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Program:
    """A program of the instance. ``listens``: it is handed its listening sockets, from descriptor 3 on. ``stays``: told
    to stop, it may go on, and its successor sends it away."""

    name: str
    argv: tuple[str, ...]
    listens: bool = False
    stays: bool = False


def programs(instance: Instance, config: str | None) -> tuple[Program, ...]:
    """The zygote first, since execd would start it otherwise; the gateway last, since it calls all others.

    The resolver answers for containers that go on when the instance is brought down.
    """
    common = ["--instance", instance.name, "--root", str(instance.root), "--run", str(instance.run)]
    if config:
        common += ["--config", config]
    zygote = (
        sys.executable, "-I", "-S", "-E", str(_SOURCES / "execd" / "zygote" / "__main__.py"),
        "--socket", str(instance.zygote_socket), "--cgroup-parent", instance.cgroup_parent,
    )
    resolver = (
        sys.executable, "-I", "-S", "-E", str(_SOURCES / "netd" / "resolver" / "__main__.py"),
        "--socket", str(instance.resolver_socket), "--counters", str(instance.resolver_counters), "--stays",
    )
    services = [
        Program(name, (sys.executable, "-m", name, *common), listens=True)
        for name in ("imaged", "netd", "execd", "buildd", "gateway")
    ]
    return (Program("zygote", zygote), Program("resolver", resolver, stays=True), *services)


def environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the programs get of ``environ``: the names above, and Pier's own settings."""
    return {key: value for key, value in environ.items() if key in _PASSED or key.startswith("PIER_")}
