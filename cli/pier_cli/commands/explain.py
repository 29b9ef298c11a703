"""``pier explain``: where the milliseconds of a container's start went, over all services."""

from __future__ import annotations

from pier_cli.codec import dumps
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.formats import show
from pier_cli.many import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options

    Span = dict[str, Any]

_NAME_WIDTH = 44


def covered(root: Span) -> int:
    """Nanoseconds of the root's time in which a direct child ran: steps side by side count once."""
    from pier_cli.units import parse_stamp

    start = parse_stamp(root["start"])
    end = start + root["durationNs"]
    spans = []
    for child in root.get("children") or ():
        begin = parse_stamp(child["start"])
        spans.append((max(begin, start), min(begin + child["durationNs"], end)))
    total, reached = 0, start
    for begin, finish in sorted(spans):
        total += max(finish - max(begin, reached), 0)
        reached = max(reached, finish)
    return total


def _milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.1f} ms"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole > 0 else "-"


def _facts(span: Span) -> str:
    facts = "  ".join(f"{key}={value}" for key, value in sorted((span.get("facts") or {}).items()))
    error = f"  ✗ {span['error']}" if span.get("error") else ""
    return (f"  {facts}" if facts else "") + error


def _rows(span: Span, whole: int, prefix: str, branch: str, follow: str) -> Iterator[str]:
    label = f"{prefix}{branch}{span['name']}"
    duration = span["durationNs"]
    yield (
        f"{label:{_NAME_WIDTH}} {span.get('service', ''):8} {_milliseconds(duration):>11} {_share(duration, whole):>8}"
        f"{_facts(span)}".rstrip()
    )
    children = span.get("children") or []
    for index, child in enumerate(children):
        last = index == len(children) - 1
        yield from _rows(child, whole, prefix + follow, "└─ " if last else "├─ ", "   " if last else "│  ")


def tree(root: Span) -> str:
    """The spans of one operation as indented lines, and how much of the wall time its stages account for."""
    whole = root["durationNs"]
    lines = [f"{root['start']}", *_rows(root, whole, "", "", "")]
    known = covered(root)
    lines.append(f"sum of stages {_milliseconds(known)} of {_milliseconds(whole)} wall ({_share(known, whole)})")
    return "\n".join(lines) + "\n"


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    traces = context.engine.call("GET", f"{container_path(arguments[0])}/traces")
    if not options.flag("all"):
        traces = traces[:1]
    if options.flag("json"):
        show(dumps(traces) + "\n")
        return 0
    if not traces:
        raise Failure(f"{arguments[0]}: nothing is recorded yet")
    show("\n".join(map(tree, traces)))
    return 0


COMMAND = Command(_run, "[OPTIONS] CONTAINER", (
    Flag("all", "", "bool", "Show every recorded operation, the newest first (default shows the newest)"),
    Flag("json", "", "bool", "Print the spans as JSON"),
), least=1, most=1)
