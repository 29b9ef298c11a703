"""``pier ps``: list containers."""

from __future__ import annotations

from pier_cli.command import Command
from pier_cli.flags import Flag
from pier_cli.formats import FILTER, LIST_FORMAT, ellipsis, filters_json, labels_text, print_list, short_id
from pier_cli.gotemplate import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options

_TABLE = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
_HEADERS = {
    "ID": "CONTAINER ID", "Names": "NAMES", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED", "Ports": "PORTS", "State": "STATE", "Status": "STATUS", "Size": "SIZE", "Labels": "LABELS",
    "Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS", "Platform": "PLATFORM", "Label": "",
}


def fields(item: dict[str, Any], truncate: bool) -> Fields:
    """A container of the list as ``ps --format`` sees it."""
    from pier_cli.units import ago, local_time

    return Fields("formatter.ContainerContext", {
        "ID": lambda: short_id(item["Id"]) if truncate else item["Id"],
        "Names": lambda: names(item, truncate),
        "Image": lambda: _image(item, truncate),
        "Command": lambda: _command(item, truncate),
        "CreatedAt": lambda: local_time(item["Created"]),
        "RunningFor": lambda: ago(item["Created"]),
        "Ports": lambda: _ports(item),
        "State": lambda: item.get("State", ""),
        "Status": lambda: item.get("Status", ""),
        "Size": lambda: size(item),
        "Labels": lambda: labels_text(item.get("Labels")),
        "Label": lambda name: (item.get("Labels") or {}).get(name, ""),
        "Mounts": lambda: _mounts(item, truncate),
        "LocalVolumes": lambda: str(sum(mount.get("Driver") == "local" for mount in item.get("Mounts") or ())),
        "Networks": lambda: ",".join(sorted((item.get("NetworkSettings") or {}).get("Networks") or ())),
        "Platform": lambda: (item.get("ImageManifestDescriptor") or {}).get("platform"),
    }, ("Label",))


def names(item: dict[str, Any], truncate: bool) -> str:
    plain = [name.removeprefix("/") for name in item.get("Names") or ()]
    if truncate:
        # A linked container's alias is "parent/alias": only its own name is short.
        plain = [name for name in plain if "/" not in name][:1] or plain[:1]
    return ",".join(plain)


def _image(item: dict[str, Any], truncate: bool) -> str:
    image: str = item.get("Image") or "<no image>"
    if truncate:
        whole: str = item.get("ImageID", "")
        if whole and image in (whole, whole.partition(":")[2]):
            return short_id(whole)
        name, at, _ = image.partition("@")
        if at:
            return name
    return image


def _command(item: dict[str, Any], truncate: bool) -> str:
    from pier_cli.gotemplate.printf import quoted

    command: str = item.get("Command", "")
    return quoted(ellipsis(command, 20) if truncate else command)


def _ports(item: dict[str, Any]) -> str:
    from pier_cli.specs.portlist import display

    return display(item.get("Ports") or [])


def size(item: dict[str, Any]) -> str:
    from pier_cli.units import human_size

    text = human_size(item.get("SizeRw", 0), 3)
    total = item.get("SizeRootFs", 0)
    return f"{text} (virtual {human_size(total, 3)})" if total > 0 else text


def _mounts(item: dict[str, Any], truncate: bool) -> str:
    shown = [mount.get("Name") or mount.get("Source", "") for mount in item.get("Mounts") or ()]
    return ",".join(ellipsis(name, 15) if truncate else name for name in shown)


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    layout = options.text("format")
    wants_size = options.flag("size") or ".Size" in layout or (layout != "json" and "json ." in layout)
    query = []
    limit = 1 if options.flag("latest") else options.number("last")
    if options.flag("all"):
        query.append(("all", "1"))
    if limit > 0:
        query.append(("limit", str(limit)))
    if wants_size:
        query.append(("size", "1"))
    if options.items("filter"):
        query.append(("filters", filters_json(options.items("filter"))))
    items = context.engine.call("GET", "/containers/json", query)
    truncate = not options.flag("no-trunc")
    rows = [fields(item, truncate) for item in items]
    table = _TABLE + ("\t{{.Size}}" if options.flag("size") else "")
    print_list(layout, table, _HEADERS, rows, "{{.ID}}", options.flag("quiet"))
    return 0


COMMAND = Command(_run, "[OPTIONS]", (
    Flag("all", "a", "bool", "Show all containers (default shows just running)"),
    FILTER,
    LIST_FORMAT,
    Flag("last", "n", "int", "Show n last created containers (includes all states)", -1),
    Flag("latest", "l", "bool", "Show the latest created container (includes all states)"),
    Flag("no-trunc", "", "bool", "Don't truncate output"),
    Flag("quiet", "q", "bool", "Only display container IDs"),
    Flag("size", "s", "bool", "Display total file sizes"),
), most=0)
