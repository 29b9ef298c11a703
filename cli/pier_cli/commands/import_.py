"""``pier import``: an image of one layer from a tarball."""

from __future__ import annotations

from pier_cli.command import Command
from pier_cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    from pier_cli.commands.pull import reference
    from pier_cli.progress import Progress
    from pier_cli.uploads import blocks_of, open_source

    source = arguments[0]
    remote = source.startswith(("http://", "https://"))
    query = [("fromSrc", source if remote else "-")]
    if len(arguments) > 1:
        wanted = reference(arguments[1])
        query.append(("repo", wanted.name))
        if wanted.tag:
            query.append(("tag", wanted.tag))
    if options.text("message"):
        query.append(("message", options.text("message")))
    if options.text("platform"):
        query.append(("platform", options.text("platform").lower()))
    query += [("changes", text) for text in options.items("change")]
    body = None if remote else blocks_of(open_source(source))
    response = context.engine.request("POST", "/images/create", query, body, {"Content-Type": "application/x-tar"})
    Progress(1).follow(response.objects())
    return 0


COMMAND = Command(_run, "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]", (
    Flag("change", "c", "list", "Apply Dockerfile instruction to the created image"),
    Flag("message", "m", "string", "Set commit message for imported image"),
    Flag("platform", "", "string", "Set platform if server is multi-platform capable"),
), least=1, most=2)
