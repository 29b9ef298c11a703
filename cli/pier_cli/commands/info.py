"""``pier info``: the engine and the system it runs on."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.formats import ONE_FORMAT, print_one, show
from pier_cli.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options


def _word(value: object) -> str:
    return "true" if value is True else "false" if value is False else str(value)


def _security(options: list[str]) -> list[str]:
    """``name=seccomp,profile=default`` as a name and its indented settings."""
    lines = []
    for text in options:
        name = ""
        settings = []
        for part in text.split(","):
            key, equals, value = part.partition("=")
            if key == "name":
                name = value
            elif equals:
                settings.append(f"   {key[:1].upper() + key[1:]}: {value}")
            else:
                name = name or part
        lines += [f"  {name}", *settings]
    return lines


def _storage(info: dict[str, Any]) -> list[str]:
    return [
        f" Storage Driver: {info.get('Driver', '')}",
        *(f"  {key}: {value}" for key, value in info.get("DriverStatus") or ()),
    ]


def _runtimes(info: dict[str, Any]) -> list[str]:
    lines = []
    plugins = info.get("Plugins") or {}
    lines.append(" Plugins:")
    lines += [
        f"  {kind}: {' '.join(plugins.get(kind) or ())}" for kind in ("Volume", "Network", "Authorization", "Log")
        if plugins.get(kind)
    ]
    lines.append(f" Swarm: {(info.get('Swarm') or {}).get('LocalNodeState') or 'inactive'}")
    if info.get("Runtimes"):
        lines.append(" Runtimes: " + " ".join(sorted(info["Runtimes"])))
        lines.append(f" Default Runtime: {info.get('DefaultRuntime', '')}")
    if info.get("InitBinary"):
        lines.append(f" Init Binary: {info['InitBinary']}")
    for name, key in (("containerd", "ContainerdCommit"), ("runc", "RuncCommit"), ("init", "InitCommit")):
        if key in info:
            lines.append(f" {name} version: {(info[key] or {}).get('ID', '')}")
    if info.get("SecurityOptions"):
        lines += [" Security Options:", *_security(info["SecurityOptions"])]
    return lines


def _host(info: dict[str, Any]) -> list[str]:
    from pier_cli.units import binary_size

    rows = (
        ("Kernel Version", "KernelVersion"), ("Operating System", "OperatingSystem"), ("OSType", "OSType"),
        ("Architecture", "Architecture"), ("CPUs", "NCPU"),
    )
    lines = [f" {name}: {info.get(key, '')}" for name, key in rows]
    lines.append(f" Total Memory: {binary_size(info.get('MemTotal', 0))}")
    lines += [f" {name}: {info.get(key, '')}" for name, key in (("Name", "Name"), ("ID", "ID"))]
    lines.append(f" Docker Root Dir: {info.get('DockerRootDir', '')}")
    lines.append(f" Debug Mode: {_word(info.get('Debug', False))}")
    if info.get("Debug"):
        details = (
            ("File Descriptors", "NFd"), ("Goroutines", "NGoroutines"), ("System Time", "SystemTime"),
            ("EventsListeners", "NEventsListener"),
        )
        lines += [f"  {name}: {info.get(key, '')}" for name, key in details]
    for name, key in (("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")):
        if info.get(key):
            lines.append(f" {name}: {info[key]}")
    if info.get("Labels"):
        lines += [" Labels:", *(f"  {label}" for label in info["Labels"])]
    lines.append(f" Experimental: {_word(info.get('ExperimentalBuild', False))}")
    return lines


def _registries(info: dict[str, Any]) -> list[str]:
    config = info.get("RegistryConfig") or {}
    insecure = [name for name, index in (config.get("IndexConfigs") or {}).items() if not index.get("Secure")]
    insecure += config.get("InsecureRegistryCIDRs") or ()
    lines = [" Insecure Registries:", *(f"  {name}" for name in insecure)] if insecure else []
    if config.get("Mirrors"):
        lines += [" Registry Mirrors:", *(f"  {mirror}" for mirror in config["Mirrors"])]
    return lines


def text_of(info: dict[str, Any]) -> str:
    """The server's part, as docker lays it out."""
    lines = [f" Containers: {info.get('Containers', 0)}"]
    lines += [f"  {name}: {info.get(f'Containers{name}', 0)}" for name in ("Running", "Paused", "Stopped")]
    lines += [f" Images: {info.get('Images', 0)}", f" Server Version: {info.get('ServerVersion', '')}"]
    lines += _storage(info)
    lines.append(f" Logging Driver: {info.get('LoggingDriver', '')}")
    lines.append(f" Cgroup Driver: {info.get('CgroupDriver', '')}")
    if info.get("CgroupVersion"):
        lines.append(f" Cgroup Version: {info['CgroupVersion']}")
    lines += _runtimes(info) + _host(info) + _registries(info)
    lines.append(f" Live Restore Enabled: {_word(info.get('LiveRestoreEnabled', False))}")
    if info.get("FirewallBackend"):
        lines.append(f" Firewall Backend: {info['FirewallBackend'].get('Driver', '')}")
    return "\n".join(lines) + "\n\n"


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    failure: Failure | None = None
    info: dict[str, Any] = {}
    try:
        info = context.engine.call("GET", "/info")
    except Failure as error:
        failure = error
    client = {"Debug": False, "Version": VERSION, "Os": "linux"}
    if options.text("format"):
        errors = [failure.message] if failure else None
        print_one(options.text("format"), {**info, "ServerErrors": errors, "ClientInfo": client})
        return 1 if failure else 0
    show(f"Client:\n Version:    {VERSION}\n Debug Mode: false\n\nServer:\n")
    if failure:
        raise Failure(f"{failure.message}\nerrors pretty printing info")
    show(text_of(info))
    for warning in info.get("Warnings") or ():
        out.error(warning)
    return 0


COMMAND = Command(_run, "[OPTIONS]", (ONE_FORMAT,), most=0)
