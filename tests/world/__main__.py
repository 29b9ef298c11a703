"""``python -m tests.world -- COMMAND [ARGUMENT…]``: see the package."""

from __future__ import annotations

import os
import sys

from tests.world.keeper import keep


def main() -> int:
    command = sys.argv[1:]
    if command[:1] == ["--"]:
        command = command[1:]
    if not command or command[0] in ("-h", "--help"):
        print("usage: python -m tests.world -- COMMAND [ARGUMENT…]", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("tests.world: needs root, for it makes namespaces, mounts and cgroups", file=sys.stderr)
        return 1
    return keep(command)


if __name__ == "__main__":
    sys.exit(main())
