"""``pier system df``: what images, containers and volumes occupy."""

from __future__ import annotations

from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.formats import LIST_FORMAT, print_list
from pier_cli.gotemplate import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options

_HEADERS = {
    "Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE",
}
_ALIVE = ("running", "paused", "restarting")


def _row(kind: str, total: int, active: int, size: int, reclaimable: int) -> Fields:
    from pier_cli.units import human_size

    share = f" ({reclaimable * 100 // size}%)" if size > 0 else ""
    return Fields("formatter.diskUsageContext", {
        "Type": lambda: kind, "TotalCount": lambda: str(total), "Active": lambda: str(active),
        "Size": lambda: human_size(size), "Reclaimable": lambda: human_size(reclaimable) + share,
    })


def _rows(usage: dict[str, Any]) -> list[Fields]:
    images = usage.get("Images") or []
    containers = usage.get("Containers") or []
    volumes = usage.get("Volumes") or []
    cache = usage.get("BuildCache") or []
    layers = usage.get("LayersSize") or 0
    used = sum(
        image["Size"] - image["SharedSize"] for image in images
        if image.get("Containers") and -1 not in (image["Size"], image["SharedSize"])
    )
    idle = sum(each.get("SizeRw") or 0 for each in containers if each.get("State") not in _ALIVE)
    known = [volume["UsageData"] for volume in volumes if (volume.get("UsageData") or {}).get("Size", -1) >= 0]
    return [
        _row("Images", len(images), sum(bool(image.get("Containers")) for image in images), layers, layers - used),
        _row("Containers", len(containers), sum(each.get("State") in _ALIVE for each in containers),
             sum(each.get("SizeRw") or 0 for each in containers), idle),
        _row("Local Volumes", len(volumes), sum((each.get("UsageData") or {}).get("RefCount", 0) > 0
                                                for each in volumes),
             sum(each["Size"] for each in known), sum(each["Size"] for each in known if not each["RefCount"])),
        _row("Build Cache", len(cache), sum(bool(each["InUse"]) for each in cache), sum(each["Size"] for each in cache),
             sum(each["Size"] for each in cache if not each["InUse"])),
    ]


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    usage = context.engine.call("GET", "/system/df")
    if options.flag("verbose"):
        if options.given("format"):
            raise Failure("the verbose and the format options conflict")
        _details(usage)
        return 0
    table = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
    print_list(options.text("format"), table, _HEADERS, _rows(usage))
    return 0


def _details(usage: dict[str, Any]) -> None:
    from pier_cli import out
    from pier_cli.formats import short_id
    from pier_cli.tabwriter import align
    from pier_cli.units import human_size

    def table(title: str, lines: list[list[str]]) -> None:
        out.line(f"{title}\n")
        out.put(align("".join("\t".join(line) + "\n" for line in lines)))
        out.line("")

    table("Images space usage:", [["IMAGE ID", "REPOSITORY:TAG", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"], *(
        [short_id(each["Id"]), (each.get("RepoTags") or ["<none>"])[0], human_size(each["Size"]),
         human_size(each["SharedSize"]), human_size(each["Size"] - each["SharedSize"]), str(each["Containers"])]
        for each in usage.get("Images") or ())])
    table("Containers space usage:", [["CONTAINER ID", "IMAGE", "SIZE", "STATUS", "NAMES"], *(
        [each["Id"][:12], each["Image"], human_size(each.get("SizeRw") or 0), each["Status"],
         each["Names"][0].removeprefix("/")] for each in usage.get("Containers") or ())])
    table("Local Volumes space usage:", [["VOLUME NAME", "LINKS", "SIZE"], *(
        [each["Name"], str(each["UsageData"]["RefCount"]),
         "N/A" if each["UsageData"]["Size"] < 0 else human_size(each["UsageData"]["Size"])]
        for each in usage.get("Volumes") or ())])


COMMAND = Command(_run, "[OPTIONS]", (
    LIST_FORMAT,
    Flag("verbose", "v", "bool", "Show detailed information on space usage"),
), most=0)
