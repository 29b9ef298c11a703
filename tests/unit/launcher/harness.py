"""``python -m tests.unit.launcher.harness DIRECTORY NAME=COMMAND…``: a supervisor over programs of the test's own."""

import sys
from pathlib import Path

from chassis.instance import instance, make_private
from launcher.listeners import Listeners
from launcher.programs import Program
from launcher.supervisor import Supervisor


def main() -> None:
    directory = Path(sys.argv[1])
    own = instance("unit", directory / "root", directory / "run")
    make_private(own.root)
    make_private(own.run)
    programs = tuple(
        Program(name, ("/bin/sh", "-c", command), listens=name == "gateway")
        for name, _, command in (argument.partition("=") for argument in sys.argv[2:])
    )
    Supervisor(own, programs, Listeners(own, None)).run()


if __name__ == "__main__":
    main()
