"""What a command is: the words it takes, its flags, its help, and the function that runs it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pier_cli.context import Context
    from pier_cli.flags import Flag, Options

    Run = Callable[[Context, Options, list[str]], int]


class Command:
    """``usage`` is what follows the command's words in its usage line; its summary stands in ``pier_cli.table``.

    ``least`` and ``most`` bound the number of arguments (``most`` -1: any number). ``names_itself``: errors are printed
    as "pier: …" with a line that points to ``--help`` and the exit code is 125 (``run`` and ``create``).
    ``interspersed``: flags may follow arguments.
    """

    __slots__ = ("flags", "interspersed", "least", "most", "names_itself", "run", "text", "usage")

    def __init__(
        self,
        run: Run,
        usage: str = "",
        flags: Sequence[Flag] = (),
        least: int = 0,
        most: int = -1,
        *,
        names_itself: bool = False,
        interspersed: bool = True,
        text: str = "",
    ) -> None:
        self.run = run
        self.usage = usage
        self.flags = flags
        self.least = least
        self.most = most
        self.names_itself = names_itself
        self.interspersed = interspersed
        self.text = text
