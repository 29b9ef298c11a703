"""Trees of spans as the engine tells them: what is known of an operation's time, and how it is shown in a terminal."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Span = dict[str, Any]

_NAME_WIDTH = 44
_SUBJECTS = ("container", "image", "network", "volume", "id")


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


def publishes(root: Span, port: str) -> bool:
    """Whether a span of the tree says that it published container port ``port`` ("80", "53/udp")."""
    wanted = port if "/" in port else f"{port}/tcp"
    if wanted in (root.get("facts") or {}).get("ports", "").split(" "):
        return True
    return any(publishes(child, port) for child in root.get("children") or ())


def milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.1f} ms"


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole > 0 else "-"


def facts(span: Span) -> str:
    told = "  ".join(f"{key}={value}" for key, value in sorted((span.get("facts") or {}).items()))
    error = f"  ✗ {span['error']}" if span.get("error") else ""
    return (f"  {told}" if told else "") + error


def _rows(span: Span, whole: int, prefix: str, branch: str, follow: str) -> Iterator[str]:
    label = f"{prefix}{branch}{span['name']}"
    duration = span["durationNs"]
    yield (
        f"{label:{_NAME_WIDTH}} {span.get('service', ''):8} {milliseconds(duration):>11} {share(duration, whole):>8}"
        f"{facts(span)}".rstrip()
    )
    children = span.get("children") or []
    for index, child in enumerate(children):
        last = index == len(children) - 1
        yield from _rows(child, whole, prefix + follow, "└─ " if last else "├─ ", "   " if last else "│  ")


def story(roots: list[Span]) -> str:
    """A line on how often a container was started again by its policy since its start by hand, and after what; "" for
    never. ``roots`` are its own, the newest first."""
    for root in roots:
        about = root.get("facts") or {}
        if "restarts" in about:
            times = "once" if about["restarts"] == "1" else f"{about['restarts']} times"
            return f"restarted {times}, last {about['after']}\n"
        if root["name"] in ("start", "restart"):
            break
    return ""


def tree(root: Span) -> str:
    """The spans of one operation as indented lines, and how much of the wall time its stages account for."""
    whole = root["durationNs"]
    lines = [f"{root['start']}", *_rows(root, whole, "", "", "")]
    known = covered(root)
    lines.append(f"sum of stages {milliseconds(known)} of {milliseconds(whole)} wall ({share(known, whole)})")
    return "\n".join(lines) + "\n"


def overview(roots: list[Span]) -> str:
    """A line for each operation: when, how long, what, about what, and the step that took most of it."""
    from pier_cli.tabwriter import align

    rows = ["STARTED\tTOOK\tOPERATION\tSUBJECT\tLONGEST STEP"]
    for root in roots:
        about = root.get("facts") or {}
        subject = next((about[key] for key in _SUBJECTS if about.get(key)), "-")
        longest = _longest(root)
        step = f"{longest['service']} {longest['name']} {milliseconds(longest['durationNs'])}" if longest else "-"
        failed = f" ✗ {root['error']}" if root.get("error") else ""
        rows.append(f"{root['start'][:19]}Z\t{milliseconds(root['durationNs'])}\t{root['name']}{failed}\t{subject}\t{step}")
    return align("\n".join(rows) + "\n")


def _longest(root: Span) -> Span | None:
    """The deepest span that still took at least half of the whole."""
    found = None
    span: Span | None = root
    while span is not None:
        children = span.get("children") or []
        span = max(children, key=lambda child: int(child["durationNs"]), default=None)
        if span is None or span["durationNs"] * 2 < root["durationNs"]:
            break
        found = span
    return found
