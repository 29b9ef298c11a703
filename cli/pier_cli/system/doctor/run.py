"""``pier system doctor``: all areas at once, each with a limit of its own, and what came of them."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from typing import Final

from chassis.instance import Instance
from pier_cli.out import safe
from pier_cli.system import status
from pier_cli.system.doctor import host, services
from pier_cli.system.doctor.check import Check, Level, warning

_HOST_TIMEOUT: Final = 10.0
_END_TIMEOUT: Final = 0.5
_LINE: Final = 1 << 20
_MARKS: Final = {Level.OK: "ok", Level.ADVICE: "note", Level.WARNING: "WARN", Level.FAILURE: "FAIL"}
_NAME_WIDTH: Final = 24


async def run(engine: Instance, arguments: argparse.Namespace) -> int:
    """1 where something is a failure or a warning; advice alone is no reason to fail."""
    rows = await status.rows(engine)
    serving = any(row.service == "netd" and row.health == status.SERVING for row in rows)
    of_host, facts, findings = await asyncio.gather(
        _host(engine, serving), services.facts(engine), services.findings(engine)
    )
    checks = [*of_host, *services.of_rows(engine, rows), *services.of_facts(facts), *findings]
    if arguments.json:
        print(json.dumps([{**asdict(check), "level": check.level.value} for check in checks]))
    else:
        print("\n".join(lines(checks)))
    return int(any(check.level in (Level.WARNING, Level.FAILURE) for check in checks))


async def _host(engine: Instance, serving: bool) -> list[Check]:
    """The checks of the host's program, as many as it made within its time."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-m", host.__name__, str(engine.root), engine.nft_table, str(int(serving)),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, limit=_LINE,
    )
    assert process.stdout is not None
    checks: list[Check] = []
    area = "host"
    try:
        async with asyncio.timeout(_HOST_TIMEOUT):
            async for line in process.stdout:
                said = json.loads(line)
                area = said.get(host.BEGIN, area)
                if host.BEGIN not in said:
                    checks.append(Check(**{**said, "level": Level(said["level"])}))
            if await process.wait():
                checks.append(warning(area, "looking", "the doctor's own program failed", "report this"))
    except TimeoutError:
        checks.append(warning(
            area, "looking", f"no answer within {_HOST_TIMEOUT:.0f} s",
            "what is looked at there hangs: for storage that is the disk or network file system of the state directory",
        ))
        with suppress(ProcessLookupError, TimeoutError):
            process.kill()  # what waits for a disk does not end by that: it is left
            await asyncio.wait_for(process.communicate(), _END_TIMEOUT)
    return checks


def lines(checks: list[Check]) -> list[str]:
    """By area, each with what to do below it, and a last line that counts."""
    shown: list[str] = []
    for area in dict.fromkeys(check.area for check in checks):
        shown.append(area)
        for check in (item for item in checks if item.area == area):
            shown.append(f"  {_MARKS[check.level]:4}  {check.name:{_NAME_WIDTH}} {safe(check.found)}".rstrip())
            if check.todo:
                shown.append(f"        {'':{_NAME_WIDTH}} -> {safe(check.todo)}")
    count = Counter(check.level for check in checks)
    shown.append(
        f"{count[Level.FAILURE]} failures, {count[Level.WARNING]} warnings, {count[Level.ADVICE]} notes, "
        f"{count[Level.OK]} as they should be"
    )
    return shown
