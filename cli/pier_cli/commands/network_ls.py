"""``pier network ls``."""

from __future__ import annotations

from pier_cli.command import Command
from pier_cli.flags import Flag
from pier_cli.formats import LIST_FORMAT, filters_json, labels_text, print_list, short_id
from pier_cli.gotemplate import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options

_HEADERS = {
    "ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4", "IPv6": "IPV6",
    "Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT", "Label": "",
}


def _fields(item: dict[str, Any], truncate: bool) -> Fields:
    from pier_cli.units import go_time

    def yes(name: str) -> str:
        return "true" if item.get(name) else "false"

    return Fields("formatter.networkContext", {
        "ID": lambda: short_id(item["Id"]) if truncate else item["Id"],
        "Name": lambda: item["Name"],
        "Driver": lambda: item["Driver"],
        "Scope": lambda: item["Scope"],
        "IPv4": lambda: yes("EnableIPv4"),
        "IPv6": lambda: yes("EnableIPv6"),
        "Internal": lambda: yes("Internal"),
        "Labels": lambda: labels_text(item.get("Labels")),
        "Label": lambda name: (item.get("Labels") or {}).get(name, ""),
        "CreatedAt": lambda: go_time(item["Created"]),
    }, ("Label",))


def natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts runs of digits as numbers: net2 before net10."""
    parts: list[tuple[int, int, str]] = []
    position = 0
    while position < len(text):
        end = position
        digit = text[position].isdigit()
        while end < len(text) and text[end].isdigit() == digit:
            end += 1
        word = text[position:end]
        parts.append((0, int(word), word) if digit and word.isascii() else (1, 0, word))
        position = end
    return parts


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    query = [("filters", filters_json(options.items("filter")))] if options.items("filter") else []
    items = context.engine.call("GET", "/networks", query)
    truncate = not options.flag("no-trunc")
    rows = [_fields(item, truncate) for item in sorted(items, key=lambda item: natural(item["Name"]))]
    table = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"
    print_list(options.text("format"), table, _HEADERS, rows, "{{.ID}}", options.flag("quiet"))
    return 0


COMMAND = Command(_run, "[OPTIONS]", (
    Flag("filter", "f", "filter", 'Provide filter values (e.g. "driver=bridge")'),
    LIST_FORMAT,
    Flag("no-trunc", "", "bool", "Do not truncate the output"),
    Flag("quiet", "q", "bool", "Only display network IDs"),
), most=0)
