"""``pier explain``: where the milliseconds of an operation went, over all services."""

from __future__ import annotations

from pier_cli import spans
from pier_cli.codec import dumps
from pier_cli.command import Command
from pier_cli.failure import EngineError, Failure
from pier_cli.flags import Flag
from pier_cli.formats import show
from pier_cli.many import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options
    from pier_cli.spans import Span

_NOT_FOUND = 404
_FLAGS = (
    Flag("all", "", "bool", "Show every recorded operation, the newest first (default shows the newest)"),
    Flag("html", "", "bool", "Print a picture of it as a page for a browser, which needs no network"),
    Flag("json", "", "bool", "Print the spans as JSON"),
    Flag("slowest", "", "int", "Show those of the engine's recent requests that took longest, this many"),
)


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    if options.given("slowest") == bool(arguments):
        raise Failure("pier explain: name what is to be explained, or how many of the --slowest")
    if options.flag("html") and options.flag("json"):
        raise Failure("conflicting options: --html and --json")
    title = " ".join(arguments) or f"the slowest {options.number('slowest')}"
    traces = _slowest(context, options) if options.given("slowest") else _about(context, arguments)
    story = spans.story(traces)
    if not (options.flag("all") or options.given("slowest")):
        traces = traces[:1]
    if options.flag("json"):
        show(dumps(traces) + "\n")
        return 0
    if not traces:
        raise Failure(f"{title}: nothing is recorded")
    if options.flag("html"):
        from pier_cli import waterfall

        show(waterfall.page(title, traces))
    elif options.given("slowest"):
        show(spans.overview(traces))
    else:
        show(story + "\n".join(map(spans.tree, traces)))
    return 0


def _slowest(context: Context, options: Options) -> list[Span]:
    count = options.number("slowest")
    if not 0 < count <= 500:
        raise Failure(f"--slowest: {count} is not between 1 and 500")
    found: list[Span] = context.engine.call("GET", "/traces", (("slowest", str(count)),))
    return found


def _about(context: Context, arguments: list[str]) -> list[Span]:
    """What is kept with the container of that name; else what the gateway remembers of requests about the name."""
    subject, *port = arguments
    try:
        found: list[Span] = context.engine.call("GET", f"{container_path(subject)}/traces")
    except EngineError as error:
        if error.status != _NOT_FOUND:
            raise
        if port:
            raise
        found = context.engine.call("GET", "/traces", (("subject", subject),))
        if not found:
            raise Failure(f"{subject}: no such container, and no recent request about it is remembered") from None
    return [root for root in found if spans.publishes(root, port[0])] if port else found


COMMAND = Command(
    _run, "[OPTIONS] CONTAINER [PRIVATE_PORT[/PROTO]]\n[OPTIONS] IMAGE\n[OPTIONS] --slowest N", _FLAGS, most=2,
    text="With a container go its last 16 operations: creations, starts, stops, restarts by hand and by policy, "
         "changes of\nits health, what was refused; with a port those alone that published it (which rule decides a "
         "packet to it is\ntold by pier network explain). Pulls, pushes, loads and builds are found by the image's "
         "name, as long as the\ngateway runs and nothing newer has taken their place.",
)
