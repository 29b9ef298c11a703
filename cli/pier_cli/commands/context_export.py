"""``pier context export`` and ``import``: a context as one file, which docker takes and gives, too."""

from __future__ import annotations

import posix

from pier_cli import contexts, out
from pier_cli.command import Command
from pier_cli.commands.system import find_services
from pier_cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _export(context: Context, options: Options, arguments: list[str]) -> int:
    find_services()
    from pier_cli import context_archive

    name = arguments[0]
    target = arguments[1] if len(arguments) > 1 else f"{name}.dockercontext"
    if name == contexts.DEFAULT:
        endpoint = {"Host": context.default_host, "SkipTLSVerify": False}
        archive = context_archive.pack({"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}, {})
    else:
        contexts.check_name(name)
        archive = context_archive.pack(contexts.find(name).document, contexts.files(name))
    if target == "-":
        if out.is_terminal(1):
            raise Failure("cowardly refusing to export to a terminal, please specify a file path")
        out.write(1, archive)
    else:
        _write_new(target, archive)
        out.error(f'Written file "{target}"')
    return 0


def _write_new(path: str, data: bytes) -> None:
    """A file that was not there before: what it holds may be a key."""
    from pier_cli.specs.files import reason

    try:
        fd = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failure(f"open {path}: {reason(error)}") from None
    try:
        out.write(fd, data)
    except BaseException:
        posix.unlink(path)
        raise
    finally:
        posix.close(fd)


def _import(context: Context, options: Options, arguments: list[str]) -> int:
    find_services()
    from pier_cli import context_archive
    from pier_cli.uploads import blocks_of, open_source

    name, source = arguments
    contexts.check_new(name)
    fd = open_source(source)
    try:
        document, files = context_archive.unpack(iter(blocks_of(fd), b""))
    finally:
        if fd:
            posix.close(fd)
    contexts.install(name, document, files)
    out.line(name)
    out.error(f'Successfully imported context "{name}"')
    return 0


EXPORT = Command(_export, "CONTEXT [FILE|-]", least=1, most=2, text=(
    "Without a file it is written to CONTEXT.dockercontext. The file holds the context's keys as well."
))
IMPORT = Command(_import, "CONTEXT FILE|-", least=2, most=2)
