"""``pier images``: list images."""

from __future__ import annotations

from pier_cli.command import Command
from pier_cli.flags import Flag
from pier_cli.formats import FILTER, LIST_FORMAT, filters_json, print_list, short_id
from pier_cli.gotemplate import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options

_NONE = "<none>"
_TABLE = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
_TABLE_WITH_DIGESTS = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
_HEADERS = {
    "ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT", "Size": "SIZE", "Containers": "CONTAINERS", "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
}


def split_tag(reference: str) -> tuple[str, str]:
    """``host:5000/name:tag`` as name and tag."""
    name, colon, tag = reference.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (reference, _NONE)


def _lines(item: dict[str, Any], digests: bool) -> Iterator[tuple[str, str, str]]:
    """Repository, tag and digest of each line that an image takes."""
    tags: dict[str, list[str]] = {}
    for reference in item.get("RepoTags") or ():
        if reference != f"{_NONE}:{_NONE}":
            name, tag = split_tag(reference)
            tags.setdefault(name, []).append(tag)
    known: dict[str, list[str]] = {}
    for reference in item.get("RepoDigests") or ():
        name, _, digest = reference.partition("@")
        if name != _NONE:
            known.setdefault(name, []).append(digest)
    if not tags and not known:
        yield _NONE, _NONE, _NONE
        return
    for name in sorted(tags):
        for tag in tags[name]:
            if digests and name in known:
                for digest in known[name]:
                    yield name, tag, digest
            else:
                yield name, tag, _NONE
        known.pop(name, None)
    for name in sorted(known):
        for digest in known[name] if digests else known[name][:1]:
            yield name, _NONE, digest if digests else _NONE


def _fields(item: dict[str, Any], line: tuple[str, str, str], truncate: bool) -> Fields:
    from pier_cli.units import ago, human_size, local_time

    def count(name: str) -> str:
        value = item.get(name, -1)
        return "N/A" if value == -1 else str(value) if name == "Containers" else human_size(value, 4)

    def unique() -> str:
        shared = item.get("SharedSize", -1)
        return "N/A" if shared == -1 else human_size(item.get("Size", 0) - shared, 4)

    return Fields("formatter.imageContext", {
        "ID": lambda: short_id(item["Id"]) if truncate else item["Id"],
        "Repository": lambda: line[0],
        "Tag": lambda: line[1],
        "Digest": lambda: line[2],
        "CreatedSince": lambda: ago(item["Created"]) if item["Created"] > 0 else "N/A",
        "CreatedAt": lambda: local_time(item["Created"]),
        "Size": lambda: human_size(item["Size"], 3),
        "Containers": lambda: count("Containers"),
        "VirtualSize": lambda: human_size(item["Size"], 4),
        "SharedSize": lambda: count("SharedSize"),
        "UniqueSize": unique,
    })


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    filters = list(options.items("filter"))
    if arguments:
        filters.append(("reference", arguments[0]))
    query = [("all", "1")] if options.flag("all") else []
    if filters:
        query.append(("filters", filters_json(filters)))
    items = context.engine.call("GET", "/images/json", query)
    truncate, digests = not options.flag("no-trunc"), options.flag("digests")
    layout = options.text("format")
    wants_digests = digests or ".Digest" in layout
    rows = []
    for item in items:
        lines = list(_lines(item, wants_digests))
        rows += [_fields(item, line, truncate) for line in lines]
    table = _TABLE_WITH_DIGESTS if digests else _TABLE
    print_list(layout, table, _HEADERS, rows, "{{.ID}}", options.flag("quiet"))
    return 0


COMMAND = Command(_run, "[OPTIONS] [REPOSITORY[:TAG]]", (
    Flag("all", "a", "bool", "Show all images (default hides intermediate images)"),
    Flag("digests", "", "bool", "Show digests"),
    FILTER,
    LIST_FORMAT,
    Flag("no-trunc", "", "bool", "Don't truncate output"),
    Flag("quiet", "q", "bool", "Only show image IDs"),
), most=1)
