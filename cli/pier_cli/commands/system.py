"""``pier system …``: the operator's side. It speaks gRPC to each service, so it runs in the project's environment.

This module only hands over: ``<project>/.venv/bin/python -m pier_cli.system VERB``. Another verb of that kind is a
``Command`` here, a line in ``pier_cli.table`` and an entry in ``pier_cli.system.__main__``.
"""

from __future__ import annotations

import posix

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pier_cli.context import Context
    from pier_cli.flags import Options


def project() -> str:
    """The directory that holds cli/, services/ and the environment."""
    import os.path

    return os.path.realpath(__file__).rpartition("/cli/pier_cli/")[0]


def find_services() -> None:
    """Let what needs the standard library alone be imported from services/: chassis.tar, for one."""
    import sys

    sys.path.append(f"{project()}/services")


def hand_over(context: Context, verb: str, *arguments: str) -> NoReturn:
    """Become ``python -m pier_cli.system VERB``. Failure where the environment has not been made."""
    from pier_cli.context import run_directory

    run_directory(context.instance)  # a bad name is told here
    home = project()
    out.flush()
    for python in (f"{home}/venv/bin/python", f"{home}/.venv/bin/python"):  # as installed, and in a clone
        try:
            # -I: the environment's .pth names the source roots, nothing else may.
            words = [python, "-I", "-m", "pier_cli.system", verb, "--instance", context.instance, *arguments]
            posix.execv(python, words)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Failure(f"{python}: {error.strerror}") from None
    raise Failure(f"{home} has no environment: `make run` there makes it") from None


def _status(context: Context, options: Options, arguments: list[str]) -> int:
    hand_over(context, "status", *(["--json"] if options.flag("json") else []))


def _doctor(context: Context, options: Options, arguments: list[str]) -> int:
    hand_over(context, "doctor", *(["--json"] if options.flag("json") else []))


def _fsck(context: Context, options: Options, arguments: list[str]) -> int:
    hand_over(context, "fsck", *(["--repair"] if options.flag("repair") else []))


def _config(context: Context, options: Options, arguments: list[str]) -> int:
    if arguments != ["show"]:
        raise Failure(f"pier: unknown command: pier system config {arguments[0]}")
    hand_over(context, "config")


def _reload(context: Context, options: Options, arguments: list[str]) -> int:
    hand_over(context, "reload", *(f"--service={name}" for name in arguments))


def _up(context: Context, options: Options, arguments: list[str]) -> int:
    hand_over(context, "up", *(["--foreground"] if options.flag("foreground") else []))


def _down(context: Context, options: Options, arguments: list[str]) -> int:
    hand_over(context, "down")


def _clear(context: Context, options: Options, arguments: list[str]) -> int:
    hand_over(context, "clear")


def _quickstart(context: Context, options: Options, arguments: list[str]) -> int:
    hand_over(context, "quickstart")


UP = Command(_up, "[OPTIONS]", (
    Flag("foreground", "", "bool", "Stay in the foreground, the services' launcher itself"),
), most=0)
DOWN = Command(_down, most=0)
CLEAR = Command(_clear, most=0, text=(
    "Bridges, the firewall table, namespaces and the resolver stay when the services stop, since containers go on.\n"
    "This takes them away, for whoever removes the engine from the host. It is refused while a service or a\n"
    "container runs."
))
QUICKSTART = Command(_quickstart, most=0)
STATUS = Command(_status, "[OPTIONS]", (Flag("json", "", "bool", "Print as JSON"),), most=0)
DOCTOR = Command(_doctor, "[OPTIONS]", (Flag("json", "", "bool", "Print as JSON"),), most=0, text=(
    "The exit code is 0 where nothing is worse than a note."
))
FSCK = Command(_fsck, "[OPTIONS]", (
    Flag("repair", "", "bool", "Finish or undo what can be, without touching what is in use"),
), most=0)
RELOAD = Command(_reload, "[gateway|imaged|netd|execd|buildd...]", text=(
    "What may change while a service runs counts at once; what may not is named, and counts from its next start.\n"
    "Where the file has a mistake nothing changes, and the exit code is 1."
))
CONFIG = Command(_config, "show", least=1, most=1)
