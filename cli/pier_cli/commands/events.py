"""``pier events``: what happens in the engine, as it happens."""

from __future__ import annotations

from pier_cli import out
from pier_cli.codec import dumps
from pier_cli.command import Command
from pier_cli.commands.logs import moment
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.formats import FILTER, ONE_FORMAT, compiled, filters_json, show
from pier_cli.gotemplate import TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options


def line(event: dict[str, Any]) -> str:
    """``TIME TYPE ACTION ID (key=value, …)``."""
    from pier_cli.units import local_stamp

    actor = event.get("Actor") or {}
    stamp = local_stamp(event.get("timeNano") or event.get("time", 0) * 10**9)
    text = f"{stamp} {event.get('Type', '')} {event.get('Action', '')} {actor.get('ID', '')}"
    attributes = actor.get("Attributes") or {}
    if attributes:
        text += " (" + ", ".join(f"{key}={value}" for key, value in sorted(attributes.items())) + ")"
    return text


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    query = moment(options, "since") + moment(options, "until")
    if options.items("filter"):
        query.append(("filters", filters_json(options.items("filter"))))
    layout = options.text("format")
    template = compiled(layout.replace("\\t", "\t").replace("\\n", "\n")) if layout not in ("", "json") else None
    response = context.engine.request("GET", "/events", query)
    for event in response.objects():
        if template:
            try:
                text = template.render(event)
            except TemplateError as error:
                raise Failure(f"Error parsing format: {error}", 64) from None
        elif layout == "json":
            text = dumps(event)
        else:
            text = line(event)
        show(text + "\n")
        out.flush()
    return 0


COMMAND = Command(_run, "[OPTIONS]", (
    FILTER,
    # -f is the filter's here.
    Flag("format", "", "string", ONE_FORMAT.help),
    Flag("since", "", "string", "Show all events created since timestamp"),
    Flag("until", "", "string", "Stream events until this timestamp"),
), most=0)
