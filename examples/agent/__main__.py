"""``python -m examples.agent CONFIGURATION``: attend to all nodes until this process ends."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from examples.agent import config
from examples.agent.nodes import attend
from examples.agent.report import Report


async def main(path: Path) -> None:
    told = config.read(path)
    report, turn = Report(told.report), asyncio.Lock()
    try:
        async with asyncio.TaskGroup() as group:
            for node in told.nodes:
                group.create_task(attend(node, told.images, told.tls, report, turn))
    finally:
        report.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.agent", description=__doc__)
    parser.add_argument("configuration", type=Path)
    asyncio.run(main(parser.parse_args().configuration))
