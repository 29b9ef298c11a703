"""``python -I …/execd/archive/__main__.py REQUEST``: see the package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from execd.archive.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
