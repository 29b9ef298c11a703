"""``python -m pier_cli.system VERB``: see ``pier_cli.commands.system``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from chassis.config import Settings, load
from chassis.errors import PierError
from chassis.instance import DEFAULT, Instance
from pier_cli.system import clear, config, fsck, launch, reload, status
from pier_cli.system.doctor import run as doctor

VERBS: Final[dict[str, Callable[[Instance, argparse.Namespace], Awaitable[int]]]] = {
    "clear": clear.run,
    "config": config.run,
    "doctor": doctor.run,
    "down": launch.down,
    "fsck": fsck.run,
    "quickstart": launch.quickstart,
    "reload": reload.run,
    "status": status.run,
    "up": launch.up,
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="pier system", allow_abbrev=False)
    parser.add_argument("verb", choices=sorted(VERBS))
    parser.add_argument("--instance", default=DEFAULT)
    parser.add_argument("--foreground", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("--service", action="append", default=[])
    arguments = parser.parse_args(argv)
    try:
        engine = load("pier", Settings, ["--instance", arguments.instance]).instance
        return asyncio.run(_run(engine, arguments))
    except PierError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code


async def _run(engine: Instance, arguments: argparse.Namespace) -> int:
    return await VERBS[arguments.verb](engine, arguments)


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
