"""``pier port``: where a container's ports are published."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.many import container_path
from pier_cli.specs.portlist import join_host_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    details = context.engine.call("GET", f"{container_path(arguments[0])}/json")
    ports = (details.get("NetworkSettings") or {}).get("Ports") or {}
    if len(arguments) > 1:
        for binding in _bindings(ports, arguments[0], arguments[1]):
            out.line(binding)
        return 0
    lines = []
    for port, bindings in ports.items():
        number, _, protocol = port.partition("/")
        lines += [(int(number), protocol, f"{port} -> {_address(binding)}") for binding in bindings or ()]
    for _, _, text in sorted(lines, key=lambda line: line[:2]):
        out.line(text)
    return 0


def _address(binding: dict[str, str]) -> str:
    return join_host_port(binding["HostIp"], binding["HostPort"])


def _bindings(ports: dict[str, list[dict[str, str]]], name: str, wanted: str) -> list[str]:
    number, _, protocol = wanted.partition("/")
    if not (number.isascii() and number.isdigit()):
        raise Failure(f'Error: invalid port ({number}): strconv.ParseUint: parsing "{number}": invalid syntax')
    found = ports.get(f"{number}/{protocol or 'tcp'}")
    if not found:
        raise Failure(f"Error: No public port '{wanted}' published for {name}")
    return [_address(binding) for binding in found]


COMMAND = Command(_run, "CONTAINER [PRIVATE_PORT[/PROTO]]", least=1, most=2)
