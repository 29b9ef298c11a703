"""From the command line to an exit code: global flags, the command, its flags, its errors."""

from __future__ import annotations

import posix

from pier_cli import out, signals
from pier_cli.failure import Failure, Plain, UsageError
from pier_cli.flags import Flag, Help, parse
from pier_cli.table import COMMANDS, GROUPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pier_cli.command import Command

GLOBAL_FLAGS = (
    Flag("config", "", "string", "Location of client config files (default DOCKER_CONFIG or ~/.docker)"),
    Flag("context", "c", "string", "Name of the context to use (overrides DOCKER_HOST and the context in use)"),
    Flag("host", "H", "string", "Engine to talk to: unix://PATH, tcp://HOST:PORT or ssh://[USER@]HOST"),
    Flag("instance", "", "string", "Name of the engine instance on this host", default="pier"),
    Flag("tls", "", "bool", "Use TLS; implied by --tlsverify"),
    Flag("tlscacert", "", "string", "Trust certs signed only by this CA (default ca.pem in DOCKER_CERT_PATH)"),
    Flag("tlscert", "", "string", "Path to TLS certificate file (default cert.pem there)"),
    Flag("tlskey", "", "string", "Path to TLS key file (default key.pem there)"),
    Flag("tlsverify", "", "bool", "Use TLS and verify the remote"),
    Flag("version", "v", "bool", "Print version information and quit"),
)


def main(argv: list[str]) -> NoReturn:
    """Run the command of ``argv`` and end the process."""
    signals.set_defaults()
    code = 1
    try:
        code = run(argv[1:])
        out.flush()
    except Failure as failure:
        out.error(failure.message)
        code = failure.code
    except BrokenPipeError:
        signals.die_of(13)
    except OSError as error:
        # The terminal has gone, or the disk behind the output is full.
        code = _told(f"pier: {error.strerror or error}")
    posix._exit(code)  # what the interpreter would still tidy up costs a millisecond and is the kernel's to free


def _told(message: str) -> int:
    try:
        out.error(message)
    except OSError:
        pass  # nobody is there to be told
    return 1


def run(arguments: list[str]) -> int:
    """The exit code of the command that ``arguments`` name."""
    try:
        options, rest = parse(GLOBAL_FLAGS, arguments, interspersed=False, help_short=True)
    except Help:
        return _help("")
    except UsageError as error:
        usage = "Usage:  pier [OPTIONS] COMMAND"
        raise Failure(f"{error.message}\n\n{usage}\n\nRun 'pier --help' for more information", 125) from None
    if options.flag("version"):
        from pier_cli.version import VERSION

        out.line(f"Pier version {VERSION}")
        return 0
    if rest[:1] == ["__complete"]:
        return _complete(rest[1:])
    if rest[:1] == ["help"]:
        rest = [*rest[1:], "--help"]
        if len(rest) == 1:
            rest = []
    if not rest:
        return _help("")
    words, rest = _words(rest)
    if words in GROUPS:
        return _help(words)
    command = load(words)
    try:
        parsed, rest = parse(command.flags, rest, command.interspersed, help_short=True)
    except Help:
        return _help(words)
    except UsageError as error:
        from pier_cli.help import usage as usage_of

        raise Failure(f"{error.message}\n\n{usage_of(words, command)}\n\n{pointer(words)}", 125) from None
    _check_count(words, command, rest)

    from pier_cli.context import Context

    if options.given("host") and options.given("context"):
        raise Failure("conflicting options: cannot specify both --host and --context")
    if options.given("config"):
        posix.environ[b"DOCKER_CONFIG"] = options.text("config").encode("utf-8", "surrogateescape")
    context = Context(options.text("host"), options.text("instance") if options.given("instance") else "",
                      options, options.text("context"))
    context.words = words
    try:
        return command.run(context, parsed, rest)
    except Failure as failure:
        if not command.names_itself or isinstance(failure, Plain):
            raise
        code = 125 if failure.code == 1 else failure.code
        raise Failure(f"pier: {failure.message}\n\n{pointer(words)}", code) from None


def _complete(words: list[str]) -> int:
    """For the shells' scripts: what can stand for the last word, a line each. The flags before it choose the engine."""
    from pier_cli import completion
    from pier_cli.context import Context

    try:
        options, _ = parse(GLOBAL_FLAGS, words[:-1], interspersed=False)
    except (Help, UsageError):
        return 0
    context = Context(options.text("host"), options.text("instance") if options.given("instance") else "", options,
                      options.text("context"))
    for text, about in completion.candidates(context, GLOBAL_FLAGS, words):
        out.line(f"{out.safe(text)}\t{out.safe(about)}" if about else out.safe(text))
    return 0


def _help(words: str) -> int:
    from pier_cli import help as help_text

    if not words:
        out.put(help_text.top(GLOBAL_FLAGS))
    elif words in GROUPS:
        out.put(help_text.group(words))
    else:
        out.put(help_text.command(words, load(words)))
    return 0


def pointer(words: str) -> str:
    return f"Run 'pier {words} --help' for more information"


def _words(arguments: list[str]) -> tuple[str, list[str]]:
    """The command's words and the arguments that follow them."""
    first, rest = arguments[0], arguments[1:]
    if first in GROUPS:
        if not rest or rest[0] in ("--help", "-h"):
            return first, []
        words = f"{first} {rest[0]}"
        if words in COMMANDS:
            return words, rest[1:]
        raise Failure(f"pier: unknown command: pier {words}\n\nUsage:  pier {first}\n\n{pointer(first)}")
    if first in COMMANDS:
        return first, rest
    raise Failure(f"pier: unknown command: pier {first}\n\nRun 'pier --help' for more information")


def load(words: str) -> Command:
    """The command of these words; its module is imported now."""
    module, _, name = COMMANDS[words][0].partition(":")
    command: Command = getattr(__import__(f"pier_cli.commands.{module}", fromlist=("_",)), name or "COMMAND")
    return command


def _check_count(words: str, command: Command, arguments: list[str]) -> None:
    count = len(arguments)
    most = command.most
    if count >= command.least and (most < 0 or count <= most):
        return
    from pier_cli.help import usage

    plural = "s" if (command.least if count < command.least else most) != 1 else ""
    see = pointer(words)
    if command.least == most == 0:
        wants = "accepts no arguments"
    elif command.least == most:
        wants = f"requires {most} argument{plural}"
    elif most < 0:
        wants = f"requires at least {command.least} argument{plural}"
        see = see.replace("Run", "See", 1)
    elif count > most and command.least == 0:
        wants = f"requires at most {most} argument{plural}"
    else:
        wants = f"requires at least {command.least} and at most {most} argument{'s' if most != 1 else ''}"
    raise Failure(f"pier: 'pier {words}' {wants}\n\n{usage(words, command)}\n\n{see}")
