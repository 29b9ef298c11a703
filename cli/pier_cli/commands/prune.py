"""``pier container|image|network|volume prune``: remove what nothing uses, after asking."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.formats import filters_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options

_FORCE = Flag("force", "f", "bool", "Do not prompt for confirmation")
_UNTIL = Flag("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")')
_LABEL = Flag("filter", "", "filter", 'Provide filter values (e.g. "label=<label>")')


def _agreed(options: Options, warning: str) -> bool:
    """Whether the user wants it; anything but yes is no, as is the end of the input."""
    if options.flag("force"):
        return True
    import posix

    out.put(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ")
    out.flush()
    answer = b""
    while not answer.endswith(b"\n") and (byte := posix.read(0, 1)):
        answer += byte
    if answer.strip().lower() in (b"y", b"yes"):
        return True
    raise Failure("operation was canceled" if not answer else "", 1 if not answer else 0)


def _prune(context: Context, noun: str, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    query = [("filters", filters_json(pairs))] if pairs else []
    report: dict[str, Any] = context.engine.call("POST", f"/{noun}/prune", query)
    return report


def _tell(title: str, lines: list[str], freed: int | None) -> None:
    from pier_cli.units import human_size

    if lines:
        out.line(f"{title}:")
        for line in lines:
            out.line(line)
        out.line("")
    if freed is not None:
        out.line(f"Total reclaimed space: {human_size(freed)}")


def _containers(context: Context, options: Options, arguments: list[str]) -> int:
    if _agreed(options, "This will remove all stopped containers."):
        report = _prune(context, "containers", options.items("filter"))
        _tell("Deleted Containers", report["ContainersDeleted"] or [], report["SpaceReclaimed"])
    return 0


def _networks(context: Context, options: Options, arguments: list[str]) -> int:
    if _agreed(options, "This will remove all custom networks not used by at least one container."):
        _tell("Deleted Networks", _prune(context, "networks", options.items("filter"))["NetworksDeleted"] or [], None)
    return 0


def _volumes(context: Context, options: Options, arguments: list[str]) -> int:
    pairs = options.items("filter")
    named_too = options.flag("all")
    kind = "all local volumes" if named_too else "anonymous local volumes"
    if _agreed(options, f"This will remove {kind} not used by at least one container."):
        if named_too:
            pairs = [*pairs, ("all", "true")]
        report = _prune(context, "volumes", pairs)
        _tell("Deleted Volumes", report["VolumesDeleted"] or [], report["SpaceReclaimed"])
    return 0


def _images(context: Context, options: Options, arguments: list[str]) -> int:
    every = options.flag("all")
    warning = "This will remove all images without at least one container associated to them." if every else (
        "This will remove all dangling images."
    )
    if _agreed(options, warning):
        report = _prune(context, "images", [*options.items("filter"), ("dangling", "false" if every else "true")])
        _tell("Deleted Images", _image_lines(report), report["SpaceReclaimed"])
    return 0


def _image_lines(report: dict[str, Any]) -> list[str]:
    return [
        f"untagged: {each['Untagged']}" if "Untagged" in each else f"deleted: {each['Deleted']}"
        for each in report["ImagesDeleted"] or ()
    ]


def _system(context: Context, options: Options, arguments: list[str]) -> int:
    every, volumes = options.flag("all"), options.flag("volumes")
    filters = options.items("filter")
    if volumes and any(key == "until" for key, _ in filters):
        raise Failure('the "until" filter is not supported with "--volumes"')
    lines = ["all stopped containers", "all networks not used by at least one container"]
    lines += ["all anonymous volumes not used by at least one container"] if volumes else []
    lines.append("all images without at least one container associated to them" if every else "all dangling images")
    lines.append("unused build cache")
    if not _agreed(options, "This will remove:\n" + "\n".join(f"  - {line}" for line in lines) + "\n"):
        return 0
    freed = 0
    report = _prune(context, "containers", filters)
    freed += report["SpaceReclaimed"]
    _tell("Deleted Containers", report["ContainersDeleted"] or [], None)
    _tell("Deleted Networks", _prune(context, "networks", filters)["NetworksDeleted"] or [], None)
    if volumes:
        report = _prune(context, "volumes", filters)
        freed += report["SpaceReclaimed"]
        _tell("Deleted Volumes", report["VolumesDeleted"] or [], None)
    report = _prune(context, "images", [*filters, ("dangling", "false" if every else "true")])
    freed += report["SpaceReclaimed"]
    _tell("Deleted Images", _image_lines(report), None)
    report = _prune(context, "build", filters)
    freed += report["SpaceReclaimed"]
    _tell("Deleted build cache objects", report["CachesDeleted"] or [], freed)
    return 0


def _builds(context: Context, options: Options, arguments: list[str]) -> int:
    if not _agreed(options, "This will remove all build cache that no running build uses."):
        return 0
    filters = options.items("filter")
    query = [("filters", filters_json(filters))] if filters else []
    if options.number("reserved-space"):
        query.append(("reserved-space", str(options.number("reserved-space"))))
    report = context.engine.call("POST", "/build/prune", query)
    _tell("Deleted build cache objects", report["CachesDeleted"] or [], report["SpaceReclaimed"])
    return 0


BUILDS = Command(_builds, "[OPTIONS]", (
    Flag("all", "a", "bool", "Remove all unused build cache, which is what happens anyway"), _UNTIL, _FORCE,
    Flag("reserved-space", "", "bytes", "Amount of disk space always allowed to keep for cache"),
), most=0)
CONTAINERS = Command(_containers, "[OPTIONS]", (_UNTIL, _FORCE), most=0)
NETWORKS = Command(_networks, "[OPTIONS]", (_UNTIL, _FORCE), most=0)
VOLUMES = Command(_volumes, "[OPTIONS]", (
    Flag("all", "a", "bool", "Remove all unused volumes, not just anonymous ones"), _LABEL, _FORCE,
), most=0)
IMAGES = Command(_images, "[OPTIONS]", (
    Flag("all", "a", "bool", "Remove all unused images, not just dangling ones"), _UNTIL, _FORCE,
), most=0)
SYSTEM = Command(_system, "[OPTIONS]", (
    Flag("all", "a", "bool", "Remove all unused images not just dangling ones"), _LABEL, _FORCE,
    Flag("volumes", "", "bool", "Prune anonymous volumes"),
), most=0)
