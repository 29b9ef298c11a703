"""``python -m pier_cli``: the same as ``bin/pier``, slower to start."""

from __future__ import annotations

import sys

from pier_cli.main import main

main(sys.argv)
