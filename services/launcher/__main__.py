"""``python -m launcher [--instance NAME] [--root DIR] [--run DIR] [--config FILE]``: run one in the foreground."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from pathlib import Path

from chassis.errors import PierError
from chassis.instance import DEFAULT, instance, make_private
from launcher.listeners import Listeners, open_to_group
from launcher.programs import programs
from launcher.supervisor import Supervisor


def main() -> int:
    parser = argparse.ArgumentParser(prog="launcher", description="run a Pier instance's services as one process tree")
    parser.add_argument("--instance", default=os.environ.get("PIER_INSTANCE", DEFAULT), help="name of the instance")
    parser.add_argument("--root", type=Path, help="state directory kept over reboots")
    parser.add_argument("--run", type=Path, help="run directory")
    parser.add_argument("--config", help="configuration file of the services")
    flags = parser.parse_args()
    try:
        own = instance(flags.instance, flags.root and flags.root.absolute(), flags.run and flags.run.absolute())
    except PierError as error:
        print(f"launcher: {error.message}", file=sys.stderr)
        return 1
    os.umask(0o077)
    os.chdir("/")  # it holds no directory of whoever started it
    make_private(own.root)
    make_private(own.run)
    open_to_group(own.run)
    lock = os.open(own.run / "launcher.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print(f"launcher: instance {own.name} is up already", file=sys.stderr)
        return 1
    os.truncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    listeners = Listeners(own, flags.config)
    listeners.of("gateway")
    Supervisor(own, programs(own, flags.config), listeners).run()
    listeners.close()
    (own.run / "launcher.pid").unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
