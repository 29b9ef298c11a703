"""``pier tag``: give an image another name."""

from __future__ import annotations

from pier_cli.command import Command
from pier_cli.engine import quote
from pier_cli.failure import Failure
from pier_cli.specs.references import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    source, target = arguments
    try:
        wanted = parse(target)
    except ValueError as error:
        raise Failure(f'Error parsing reference: "{target}" is not a valid repository/tag: {error}') from None
    if wanted.digest:
        raise Failure("refusing to create a tag with a digest reference")
    query = [("repo", wanted.name), ("tag", wanted.tag or "latest")]
    context.engine.call_raw("POST", f"/images/{quote(source)}/tag", query)
    return 0


COMMAND = Command(_run, "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", least=2, most=2)
