"""``pier port``: where a container's ports are published, and which are."""

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

_VERBS = {"add": "Add", "rm": "Remove"}


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    if len(arguments) > 2:
        verb, container, *specs = arguments
        if verb not in _VERBS:
            raise Failure(f"port: {verb!r} is neither add nor rm")
        return _change(context, _VERBS[verb], container, specs)
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
    return join_host_port(binding["HostIp"], binding["HostPort"] or "0")


def _bindings(ports: dict[str, list[dict[str, str]]], name: str, wanted: str) -> list[str]:
    number, _, protocol = wanted.partition("/")
    if not (number.isascii() and number.isdigit()):
        raise Failure(f'Error: invalid port ({number}): strconv.ParseUint: parsing "{number}": invalid syntax')
    found = ports.get(f"{number}/{protocol or 'tcp'}")
    if not found:
        raise Failure(f"Error: No public port '{wanted}' published for {name}")
    return [_address(binding) for binding in found]


def _change(context: Context, key: str, container: str, specs: list[str]) -> int:
    from pier_cli.specs.ports import parse_publish

    _, bindings = parse_publish(specs)
    answer = context.engine.call("POST", f"{container_path(container)}/ports", body={key: bindings})
    for port, entries in sorted(answer["Ports"].items()):
        for entry in entries:
            out.line(f"{port} -> {_address(entry)}")
    return 0


COMMAND = Command(
    _run, "CONTAINER [PRIVATE_PORT[/PROTO]]\nadd CONTAINER [ADDRESS:][HOST_PORT:]PORT[/PROTO]...\n"
    "rm CONTAINER [ADDRESS:][HOST_PORT:]PORT[/PROTO]...", least=1,
    text="With add and rm ports are published and withdrawn, also while the container runs.",
)
