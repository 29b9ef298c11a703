"""Run a command in a container of its own, and end as it ended:  run.py [--engine ADDRESS] IMAGE COMMAND…"""

from __future__ import annotations

import argparse
import sys

from pier_client import Pier, PierError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="unix:///run/pier/engine.sock")
    parser.add_argument("image")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    words = parser.parse_args()
    with Pier(words.engine) as pier:
        try:
            result = pier.containers.run(words.image, words.command or None)
        except PierError as error:
            print(f"{error.reason}: {error.message}", file=sys.stderr)
            return 125
    sys.stdout.buffer.write(result.stdout)
    sys.stderr.buffer.write(result.stderr)
    return 255 if result.code is None else result.code


if __name__ == "__main__":
    sys.exit(main())
