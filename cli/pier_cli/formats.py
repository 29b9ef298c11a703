"""``--format``: tables, JSON lines and Go templates over lists of records."""

from __future__ import annotations

from pier_cli import out
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.gotemplate import Fields, Template, TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

LIST_FORMAT = Flag(
    "format", "", "string",
    "Format output using a custom template:\n"
    "'table':            Print output in table format with column headers (default)\n"
    "'table TEMPLATE':   Print output in table format using the given Go template\n"
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template.",
)
ONE_FORMAT = Flag(
    "format", "f", "string",
    "Format output using a custom template:\n"
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template.",
)
FILTER = Flag("filter", "f", "filter", "Filter output based on conditions provided")


def filters_json(pairs: Iterable[tuple[str, str]]) -> str:
    """Values of ``--filter`` as the API takes them."""
    from pier_cli.codec import dumps

    values: dict[str, dict[str, bool]] = {}
    for name, value in pairs:
        values.setdefault(name, {})[value] = True
    return dumps(values, sort=True)


def compiled(text: str, where: str = "template parsing error") -> Template:
    """The template, errors told as docker does."""
    try:
        return Template(text)
    except TemplateError as error:
        raise Failure(f"{where}: {error}", 64 if where == "template parsing error" else 1) from None


def show(text: str) -> None:
    """``text`` on the standard output, control characters spelt out where that is a terminal."""
    out.put(out.safe_lines(text) if out.is_terminal(1) else text)


def print_list(
    layout: str,
    default: str,
    headers: dict[str, str],
    rows: Iterable[Fields],
    quiet: str = "",
    default_quiet: bool = False,
) -> None:
    """Rows as ``layout`` says: "" or "table" is the table of ``default``.

    ``headers`` maps fields to column heads. ``quiet`` is the template of ``-q``, used if ``default_quiet``.
    """
    text = layout.strip()
    table = text == "table" or text.startswith("table ") or not text
    if table:
        text = text[5:].strip() if text else ""
        if not text and default_quiet:
            table, text = False, quiet
        text = text or default
    elif text == "json":
        text = "{{json .}}"
    text = text.replace("\\t", "\t").replace("\\n", "\n")
    template = compiled(text, "failed to parse template")
    lines = []
    if table:
        lines.append(_header(text, headers))
    try:
        lines += [template.render(row) for row in rows]
    except TemplateError as error:
        raise Failure(f"failed to execute template: {error}") from None
    body = "".join(f"{line}\n" for line in lines)
    if table:
        from pier_cli.tabwriter import align

        body = align(body)
    show(body)


def _header(text: str, headers: dict[str, str]) -> str:
    from pier_cli.gotemplate.functions import FUNCTIONS

    # For the line of heads docker's functions hand their argument through.
    kept = dict(FUNCTIONS)
    through = {"json": (1, 1), "lower": (1, 1), "upper": (1, 1), "title": (1, 1), "join": (2, 2), "split": (2, 2),
               "truncate": (2, 2), "pad": (3, 3)}
    try:
        for name, (least, most) in through.items():
            FUNCTIONS[name] = (lambda value, *_: value, least, most)
        names: dict[str, Any] = {key: (lambda *_, head=head: head) for key, head in headers.items()}
        # A label's head is the last word of its key.
        names["Label"] = lambda name: name.rpartition(".")[2].replace("-", " ").replace("_", " ")
        return Template(text).render(Fields("formatter.SubHeaderContext", names))
    except TemplateError as error:
        raise Failure(f"failed to execute template: {error}") from None
    finally:
        FUNCTIONS.update(kept)


def print_one(layout: str, value: object) -> None:
    """One value by ``--format``: "json" or a template."""
    text = "{{json .}}" if layout == "json" else layout.replace("\\t", "\t").replace("\\n", "\n")
    template = compiled(text)
    try:
        show(template.render(value) + "\n")
    except TemplateError as error:
        out.line()  # the output that did not come, as docker ends it
        raise Failure(f"template parsing error: {error}") from None


def labels_text(labels: dict[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items()))


def ellipsis(text: str, limit: int) -> str:
    """At most ``limit`` characters, the last being … where there were more."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def short_id(text: str) -> str:
    """The first twelve digits of an id, without its algorithm."""
    return text.partition(":")[2][:12] if ":" in text else text[:12]
