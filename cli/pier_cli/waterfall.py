"""Span trees as a page: a bar for each stage on its operation's time line. No script, no font, no image from elsewhere.

Each tree can be folded by the browser itself (details); what names and facts hold is text and nothing else.
"""

from __future__ import annotations

from pier_cli import spans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pier_cli.spans import Span

_ESCAPES = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;", ord("'"): "&#39;"}
_ESCAPES.update({number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160))})
_SERVICES = ("gateway", "buildd", "imaged", "netd", "execd", "shim")
_HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 13px/1.5 system-ui, sans-serif; margin: 1.5em; color: #222; background: #fff; }}
h1 {{ font-size: 1.3em; }} summary {{ font-weight: 600; margin: .6em 0 .2em; cursor: pointer; }}
table {{ border-collapse: collapse; width: 100%; table-layout: fixed; }}
td {{ padding: 0 .5em; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }}
td.name {{ width: 24em; }} td.service {{ width: 5em; }} td.time {{ width: 6em; text-align: right; }}
td.line {{ padding: 0; }} tr:hover {{ background: #f3f3f3; }}
.bar {{ height: .9em; min-width: 1px; border-radius: 2px; background: #888; }}
.gateway {{ background: #4878a8; }} .buildd {{ background: #8a6bb0; }} .imaged {{ background: #3f9b78; }}
.netd {{ background: #c98a2e; }} .execd {{ background: #b8524f; }} .shim {{ background: #d99a98; }}
.error {{ color: #b00020; font-weight: 600; }} .legend span {{ padding: 0 .6em; color: #fff; border-radius: 2px; }}
p.sum {{ color: #555; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="legend">{legend}</p>
"""


def _text(value: object) -> str:
    return str(value).translate(_ESCAPES)


def page(title: str, roots: Sequence[Span]) -> str:
    """The whole document."""
    legend = " ".join(f'<span class="{name}">{name}</span>' for name in _SERVICES)
    parts = [_HEAD.format(title=_text(f"pier explain {title}"), legend=legend)]
    for number, root in enumerate(roots):
        parts.append(_operation(root, opened=number == 0))
    parts.append("</body>\n</html>\n")
    return "".join(parts)


def _operation(root: Span, opened: bool) -> str:
    from pier_cli.units import parse_stamp

    whole, known = root["durationNs"], spans.covered(root)
    begin = parse_stamp(root["start"])
    rows = "".join(_rows(root, begin, max(whole, 1), 0))
    head = _text(f"{root['name']}, {spans.milliseconds(whole)}, {root['start']}")
    told = _text(f"sum of stages {spans.milliseconds(known)} of {spans.milliseconds(whole)} wall "
                 f"({spans.share(known, whole)})")
    return (
        f"<details{' open' if opened else ''}>\n<summary>{head}</summary>\n<table>\n{rows}</table>\n"
        f'<p class="sum">{told}</p>\n</details>\n'
    )


def _rows(span: Span, begin: int, whole: int, depth: int) -> Iterator[str]:
    from pier_cli.units import parse_stamp

    start = min(max((parse_stamp(span["start"]) - begin) / whole, 0.0), 1.0)
    width = min(span["durationNs"] / whole, 1.0 - start)
    service = span.get("service", "")
    look = service if service in _SERVICES else "other"
    told = spans.facts(span).strip()
    took = _text(spans.milliseconds(span["durationNs"]))
    error = f' <span class="error">✗ {_text(span["error"])}</span>' if span.get("error") else ""
    yield (
        f'<tr title="{_text(told)}"><td class="name" style="padding-left:{depth}em">{_text(span["name"])}{error}</td>'
        f'<td class="service">{_text(service)}</td><td class="time">{took}</td>'
        f'<td class="line"><div class="bar {look}" style="margin-left:{100 * start:.3f}%;width:{100 * width:.3f}%">'
        "</div></td></tr>\n"
    )
    for child in span.get("children") or ():
        yield from _rows(child, begin, whole, depth + 1)
