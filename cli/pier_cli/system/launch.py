"""``pier system up``, ``down`` and ``pier quickstart``: the launcher, from outside."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from chassis.instance import Instance
from launcher import control

_QUICKSTART: Final = Path(__file__).parents[3] / "deploy" / "quickstart.py"


async def up(engine: Instance, arguments: argparse.Namespace) -> int:
    """In the background, until all services serve; or, with --foreground, as the launcher."""
    if arguments.foreground:
        words = ["--instance", engine.name, "--root", str(engine.root), "--run", str(engine.run)]
        os.execv(sys.executable, [sys.executable, "-I", "-m", "launcher", *words])
    started = await asyncio.to_thread(control.up, engine)
    print(f"{engine.name}: {'up' if started else 'is up already'}")
    return 0


async def down(engine: Instance, arguments: argparse.Namespace) -> int:
    stopped = await asyncio.to_thread(control.down, engine)
    print(f"{engine.name}: {'services stopped, containers go on' if stopped else 'is not up'}")
    return 0


async def quickstart(engine: Instance, arguments: argparse.Namespace) -> int:
    os.execv(sys.executable, [sys.executable, "-I", str(_QUICKSTART), "--instance", engine.name])
