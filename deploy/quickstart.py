#!/usr/bin/python3
"""What `make run` does once everything is installed: the engine up, a small image, one container, its explanation.

    quickstart.py [--instance NAME]

Every step is a command that a person could type; each is shown before its output. The engine is left up.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

_PROJECT: Final = Path(__file__).resolve().parent.parent
_IMAGE: Final = "busybox:latest"
_NAME: Final = "hello"
_SCRIPT: Final = 'echo "Hello from $(hostname), a container at $(hostname -i)."'


def main() -> int:
    parser = argparse.ArgumentParser(description="Start Pier, run a container, show where its start's time went.")
    parser.add_argument("--instance", default=os.environ.get("PIER_INSTANCE", "pier"), help="the engine's name")
    name = parser.parse_args().instance
    pier = [str(_PROJECT / "bin" / "pier"), *(["--instance", name] if name != "pier" else [])]

    _show(pier, "system", "up")
    if _quiet(pier, "image", "inspect", _IMAGE):
        with tempfile.TemporaryDirectory(prefix="pier-quickstart-") as directory:
            archive = Path(directory) / "busybox.tar"
            maker = [sys.executable, str(_PROJECT / "deploy" / "busybox_image.py"), "--name", _IMAGE, str(archive)]
            subprocess.run(maker, check=True)
            _show(pier, "load", "-i", str(archive))
    _quiet(pier, "rm", "-f", _NAME)
    _show(pier, "run", "--name", _NAME, _IMAGE, "sh", "-c", _SCRIPT)
    _show(pier, "explain", _NAME)
    _quiet(pier, "rm", _NAME)

    command = " ".join(os.path.relpath(word) if word.startswith("/") else word for word in pier)
    stop = "make stop" if name == "pier" else f"{command} system down"
    print(f"\nPier is up. Go on with `{command} run -it busybox sh`, stop it with `{stop}`.")
    return 0


def _show(pier: list[str], *arguments: str) -> None:
    words = (f"'{word}'" if " " in word else word for word in arguments)
    print(f"\n$ pier {' '.join(words)}", flush=True)
    subprocess.run([*pier, *arguments], check=True)


def _quiet(pier: list[str], *arguments: str) -> int:
    return subprocess.run([*pier, *arguments], check=False, capture_output=True).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
