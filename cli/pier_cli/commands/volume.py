"""``pier volume create``, ``ls`` and ``rm``."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.engine import quote
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.formats import LIST_FORMAT, filters_json, labels_text, print_list
from pier_cli.gotemplate import Fields
from pier_cli.many import each
from pier_cli.specs import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options

_HEADERS = {
    "Name": "VOLUME NAME", "Driver": "DRIVER", "Scope": "SCOPE", "Mountpoint": "MOUNTPOINT", "Labels": "LABELS",
    "Links": "LINKS", "Size": "SIZE", "Label": "", "Availability": "AVAILABILITY", "Group": "GROUP", "Status": "STATUS",
}


def _fields(item: dict[str, Any]) -> Fields:
    def unknown() -> str:
        return "N/A"

    return Fields("formatter.volumeContext", {
        "Name": lambda: item["Name"],
        "Driver": lambda: item["Driver"],
        "Scope": lambda: item["Scope"],
        "Mountpoint": lambda: item["Mountpoint"],
        "Labels": lambda: labels_text(item.get("Labels")),
        "Label": lambda name: (item.get("Labels") or {}).get(name, ""),
        # Only a listing of disk usage or a cluster knows these.
        "Links": unknown, "Size": unknown, "Availability": unknown, "Group": unknown, "Status": unknown,
    }, ("Label",))


def _create(context: Context, options: Options, arguments: list[str]) -> int:
    name = options.text("name")
    if arguments:
        if name:
            raise Failure(
                "conflicting options: cannot specify a volume name through both --name and as a positional arg"
            )
        name = arguments[0]
    body: dict[str, Any] = {
        "Name": name,
        "Driver": options.text("driver"),
        "DriverOpts": dict(options.items("opt")),
        "Labels": {key: value for key, _, value in (text.partition("=") for text in options.items("label"))},
    }
    out.line(context.engine.call("POST", "/volumes/create", (), body)["Name"])
    return 0


def _ls(context: Context, options: Options, arguments: list[str]) -> int:
    query = [("filters", filters_json(options.items("filter")))] if options.items("filter") else []
    items = context.engine.call("GET", "/volumes", query)["Volumes"] or []
    rows = [_fields(item) for item in sorted(items, key=lambda item: item["Name"])]
    print_list(options.text("format"), "{{.Driver}}\t{{.Name}}", _HEADERS, rows, "{{.Name}}", options.flag("quiet"))
    return 0


def _rm(context: Context, options: Options, arguments: list[str]) -> int:
    query = [("force", "1")] if options.flag("force") else []

    def remove(name: str) -> None:
        if not name.strip():
            raise Failure("invalid volume ID: value is empty")
        context.engine.call_raw("DELETE", f"/volumes/{quote(name.strip())}", query)

    return each(arguments, remove)


CREATE = Command(_create, "[OPTIONS] [VOLUME]", (
    Flag("driver", "d", "string", "Specify volume driver name", "local"),
    Flag("label", "", "list", "Set metadata for a volume", check=values.label),
    Flag("name", "", "string", "Specify volume name"),
    Flag("opt", "o", "map", "Set driver specific options"),
), most=1)
LS = Command(_ls, "[OPTIONS]", (
    Flag("filter", "f", "filter", 'Provide filter values (e.g. "dangling=true")'),
    LIST_FORMAT,
    Flag("quiet", "q", "bool", "Only display volume names"),
), most=0)
RM = Command(_rm, "[OPTIONS] VOLUME [VOLUME...]", (
    Flag("force", "f", "bool", "Force the removal of one or more volumes"),
), least=1)
