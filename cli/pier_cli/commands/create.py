"""``pier create``: make a container without starting it. ``run`` does the same first."""

from __future__ import annotations

import posix

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import EngineError, Failure, Plain
from pier_cli.specs.container import build
from pier_cli.specs.container_flags import FLAGS
from pier_cli.specs.references import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options

_MAC_OF_ENDPOINTS = "1.44"
_PULL_POLICIES = ("always", "missing", "never")


def create(context: Context, options: Options, body: dict[str, Any]) -> str:
    """The id of a new container; its image is pulled first where the policy says so."""
    policy = options.text("pull")
    if policy not in _PULL_POLICIES:
        raise Failure(f"invalid pull option: '{policy}': must be one of \"always\", \"missing\" or \"never\"")
    cidfile = options.text("cidfile")
    if cidfile:
        _claim(cidfile)
    try:
        answer = _create(context, options, body, policy)
    except BaseException:
        if cidfile:
            posix.unlink(cidfile)  # it was made empty by us, and nothing is to be named in it
        raise
    for warning in answer.get("Warnings") or ():
        out.error(f"WARNING: {warning}")
    identity: str = answer["Id"]
    if cidfile:
        fd = posix.open(cidfile, posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            out.write(fd, identity.encode())
        finally:
            posix.close(fd)
    return identity


def _claim(path: str) -> None:
    try:
        posix.close(posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o666))
    except FileExistsError:
        raise Failure(
            f"container ID file found, make sure the other container isn't running or delete {path}"
        ) from None
    except OSError as error:
        from pier_cli.specs.files import reason

        raise Failure(f"failed to create the container ID file: open {path}: {reason(error)}") from None


def _create(context: Context, options: Options, body: dict[str, Any], policy: str) -> dict[str, Any]:
    image = body["Image"]
    try:
        reference = str(parse(image).tagged())
    except ValueError as error:
        if not _is_id(image):
            raise Failure(str(error)) from None
        reference = image
    query = []
    if options.text("name"):
        query.append(("name", options.text("name")))
    platform = options.text("platform")
    if platform:
        query.append(("platform", platform))
    if options.flag("tty") and context.engine.at_least("1.42"):
        from pier_cli.terminal import size

        body["HostConfig"]["ConsoleSize"] = list(size())
    if policy == "always":
        _pull(context, options, image)
    try:
        return _post(context, query, body)
    except EngineError as error:
        if error.status != 404 or policy != "missing" or "no such image" not in error.text.lower():
            raise
    out.error(f"Unable to find image '{reference}' locally")
    _pull(context, options, image)
    return _post(context, query, body)


def _is_id(image: str) -> bool:
    digits = image.removeprefix("sha256:")
    return len(digits) == 64 and all(char in "0123456789abcdef" for char in digits)


def _post(context: Context, query: list[tuple[str, str]], body: dict[str, Any]) -> dict[str, Any]:
    if "MacAddress" in body and context.engine.at_least(_MAC_OF_ENDPOINTS):
        body = {key: value for key, value in body.items() if key != "MacAddress"}  # the endpoint has it
    answer: dict[str, Any] = context.engine.call("POST", "/containers/create", query, body)
    return answer


def _pull(context: Context, options: Options, image: str) -> None:
    from pier_cli.commands.pull import pull

    pull(context, image, options.text("platform"), fd=-1 if options.flag("quiet") else 2)


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    body = build(options, arguments[0], arguments[1:])
    try:
        out.line(create(context, options, body))
    except Failure as failure:
        # Docker's create names itself for what is wrong with its flags only, unlike run.
        raise Plain(failure.message, failure.code) from None
    return 0


COMMAND = Command(_run, "[OPTIONS] IMAGE [COMMAND] [ARG...]", FLAGS, least=1, names_itself=True, interspersed=False)
