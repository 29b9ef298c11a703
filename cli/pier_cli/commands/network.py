"""``pier network connect``, ``disconnect`` and ``rm``."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.engine import quote
from pier_cli.failure import EngineError, Failure
from pier_cli.flags import Flag
from pier_cli.many import each
from pier_cli.specs import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _path(name: str) -> str:
    if not name.strip():
        raise Failure("invalid network name or ID: value is empty")
    return f"/networks/{quote(name.strip())}"


def _connect(context: Context, options: Options, arguments: list[str]) -> int:
    from pier_cli.specs.container import endpoint

    given = {
        "alias": options.items("alias"), "ip": options.text("ip"), "ip6": options.text("ip6"),
        "link": options.items("link"), "link-local-ip": options.items("link-local-ip"),
        "driver-opt": dict(options.items("driver-opt")), "gw-priority": options.number("gw-priority"),
    }
    body = {"Container": arguments[1], "EndpointConfig": endpoint(given)}
    context.engine.call_raw("POST", f"{_path(arguments[0])}/connect", (), body)
    return 0


def _disconnect(context: Context, options: Options, arguments: list[str]) -> int:
    body = {"Container": arguments[1], "Force": options.flag("force")}
    context.engine.call_raw("POST", f"{_path(arguments[0])}/disconnect", (), body)
    return 0


def _rm(context: Context, options: Options, arguments: list[str]) -> int:
    def remove(name: str) -> None:
        try:
            context.engine.call_raw("DELETE", _path(name))
        except EngineError as error:
            if error.status != 404 or not options.flag("force"):
                out.error(error.message)
                raise
        else:
            out.line(name)

    try:
        return each(arguments, remove, show=False)
    except Failure as failure:
        out.flush()
        raise Failure("exit status 1") from failure


CONNECT = Command(_connect, "[OPTIONS] NETWORK CONTAINER", (
    Flag("alias", "", "strings", "Add network-scoped alias for the container"),
    Flag("driver-opt", "", "list", "driver options for the network", check=values.pair),
    Flag("gw-priority", "", "int",
         "Highest gw-priority provides the default gateway. Accepts positive and negative values."),
    Flag("ip", "", "string", 'IPv4 address (e.g., "172.30.100.104")'),
    Flag("ip6", "", "string", 'IPv6 address (e.g., "2001:db8::33")'),
    Flag("link", "", "list", "Add link to another container", check=values.link),
    Flag("link-local-ip", "", "strings", "Add a link-local address for the container"),
), least=2, most=2)
DISCONNECT = Command(_disconnect, "[OPTIONS] NETWORK CONTAINER", (
    Flag("force", "f", "bool", "Force the container to disconnect from a network"),
), least=2, most=2)
RM = Command(_rm, "NETWORK [NETWORK...]", (
    Flag("force", "f", "bool", "Do not error if the network does not exist"),
), least=1)
