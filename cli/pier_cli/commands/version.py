"""``pier version``: of this command and of the engine."""

from __future__ import annotations

import posix

from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.formats import ONE_FORMAT, print_one, show
from pier_cli.tabwriter import align
from pier_cli.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def _built(text: str) -> str:
    """A time stamp as ANSI C writes it."""
    import time

    from pier_cli.units import parse_stamp

    try:
        return time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(parse_stamp(text) // 10**9))
    except (ValueError, OverflowError):
        return text


def _client(version: str) -> dict[str, Any]:
    from pier_cli.engine import API_VERSION

    machine = posix.uname().machine
    return {
        "Version": VERSION, "ApiVersion": version, "DefaultAPIVersion": API_VERSION, "Os": "linux",
        "Arch": _MACHINES.get(machine, machine),
    }


def _server(answer: dict[str, Any]) -> dict[str, Any]:
    """The engine's answer with a component for itself, where an old engine sends none."""
    if not answer.get("Components"):
        names = ("ApiVersion", "MinAPIVersion", "GoVersion", "GitCommit", "Arch", "Os", "KernelVersion", "BuildTime")
        details = {name: str(answer.get(name, "")) for name in names}
        details["Experimental"] = "true" if answer.get("Experimental") else "false"
        answer["Components"] = [{"Name": "Engine", "Version": answer.get("Version", ""), "Details": details}]
    return answer


def _client_text(client: dict[str, Any]) -> str:
    default = client["DefaultAPIVersion"]
    shown = client["ApiVersion"] + (f" (downgraded from {default})" if client["ApiVersion"] != default else "")
    return (
        f"Client:\n Version:\t{client['Version']}\n API version:\t{shown}\n"
        f" OS/Arch:\t{client['Os']}/{client['Arch']}\n"
    )


def _component(part: dict[str, Any]) -> str:
    details = part.get("Details") or {}
    lines = [f" {part['Name']}:", f"  Version:\t{part['Version']}"]
    if part["Name"] != "Engine":
        lines += [f"  {name}:\t{value}" for name, value in sorted(details.items())]
        return "\n".join(lines) + "\n"
    rows = (
        ("API version", f"{details.get('ApiVersion', '')} (minimum version {details.get('MinAPIVersion', '')})"),
        ("Go version", details.get("GoVersion")),
        ("Git commit", details.get("GitCommit")),
        ("Built", _built(details["BuildTime"]) if details.get("BuildTime") else None),
        ("OS/Arch", f"{details.get('Os', '')}/{details.get('Arch', '')}"),
        ("Experimental", details.get("Experimental")),
    )
    lines += [f"  {name}:\t{value}" for name, value in rows if value is not None]
    return "\n".join(lines) + "\n"


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    from pier_cli.engine import API_VERSION

    failure: Failure | None = None
    server: dict[str, Any] | None = None
    version = API_VERSION
    try:
        server = _server(context.engine.call("GET", "/version"))
        version = context.engine.version
    except Failure as error:
        failure = error
    client = _client(version)
    if options.text("format"):
        print_one(options.text("format"), {"Client": client, "Server": server})
    else:
        text = _client_text(client)
        if server is not None:
            platform = (server.get("Platform") or {}).get("Name") or ""
            text += f"\nServer: {platform}".rstrip() + "\n" + "".join(map(_component, server["Components"]))
        show(align(text, minimum=20, padding=1))
    if failure:
        raise failure
    return 0


COMMAND = Command(_run, "[OPTIONS]", (ONE_FORMAT,), most=0)
