"""``pier commit``: an image of a container."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    query = [("container", arguments[0]), ("pause", "1" if options.flag("pause") else "0")]
    if len(arguments) > 1:
        from pier_cli.commands.pull import reference

        wanted = reference(arguments[1])
        query += [("repo", wanted.name), ("tag", wanted.tag)]
    query += [(key, options.text(name)) for name, key in (("message", "comment"), ("author", "author"))]
    query += [("changes", text) for text in options.items("change")]
    answer = context.engine.call("POST", "/commit", [pair for pair in query if pair[1]], body={})
    out.line(answer["Id"])
    return 0


COMMAND = Command(_run, "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", (
    Flag("author", "a", "string", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
    Flag("change", "c", "list", "Apply Dockerfile instruction to the created image"),
    Flag("message", "m", "string", "Commit message"),
    Flag("pause", "p", "bool", "Pause container during commit", True),
), least=1, most=2)
