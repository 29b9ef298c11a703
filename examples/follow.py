"""Tell what happens to containers, without a gap over restarts of anything:  follow.py [--engine ADDRESS] CURSOR-FILE

The cursor of what was told last is kept in a file; begun again, it goes on exactly behind it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from pier_client import AsyncPier, PierError


async def follow(engine: str, place: Path) -> None:
    async with AsyncPier(engine) as pier:
        while True:
            after = place.read_text() if place.exists() else ""
            try:
                async for answer in pier.events(after, types=["container"]):
                    if answer.HasField("event"):
                        event = answer.event
                        print(event.action, event.attributes["name"], flush=True)
                    keep(place, answer.cursor)
            except PierError as error:
                if error.reason == "EVENTS_GAP":
                    print("what happened meanwhile is not kept any more", file=sys.stderr)
                    place.unlink()
                elif not error.is_temporary:
                    raise
            await asyncio.sleep(0.2)


def keep(place: Path, cursor: str) -> None:
    fresh = place.with_suffix(".new")
    fresh.write_text(cursor)
    os.replace(fresh, place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="unix:///run/pier/engine.sock")
    parser.add_argument("cursor", type=Path)
    words = parser.parse_args()
    asyncio.run(follow(words.engine, words.cursor))


if __name__ == "__main__":
    main()
