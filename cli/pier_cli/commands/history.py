"""``pier history``: the steps that made an image."""

from __future__ import annotations

from pier_cli.command import Command
from pier_cli.engine import quote
from pier_cli.flags import Flag
from pier_cli.formats import LIST_FORMAT, ellipsis, print_list, short_id
from pier_cli.gotemplate import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options

_HEADERS = {
    "ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE",
    "Comment": "COMMENT",
}


def _fields(item: dict[str, Any], truncate: bool, human: bool) -> Fields:
    from pier_cli.units import ago, human_size, local_time

    def by() -> str:
        text = (item.get("CreatedBy") or "").replace("\t", " ")
        return ellipsis(text, 45) if truncate else text

    def since() -> str:
        if not human:
            return rfc()
        return ago(item["Created"]) if item["Created"] > 0 else "N/A"

    def rfc() -> str:
        date, clock, zone, *_ = local_time(item["Created"]).split(" ")
        return f"{date}T{clock}" + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")

    return Fields("formatter.historyContext", {
        "ID": lambda: short_id(item["Id"]) if truncate else item["Id"],
        "CreatedAt": rfc,
        "CreatedSince": since,
        "CreatedBy": by,
        "Size": lambda: human_size(item["Size"], 3) if human else str(item["Size"]),
        "Comment": lambda: item.get("Comment") or "",
    })


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    items = context.engine.call("GET", f"/images/{quote(arguments[0])}/history")
    rows = [_fields(item, not options.flag("no-trunc"), options.flag("human")) for item in items]
    table = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
    print_list(options.text("format"), table, _HEADERS, rows, "{{.ID}}", options.flag("quiet"))
    return 0


COMMAND = Command(_run, "[OPTIONS] IMAGE", (
    LIST_FORMAT,
    Flag("human", "H", "bool", "Print sizes and dates in human readable format", True),
    Flag("no-trunc", "", "bool", "Don't truncate output"),
    Flag("quiet", "q", "bool", "Only show image IDs"),
), least=1, most=1)
