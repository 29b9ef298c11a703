"""``python -I …/imaged/files/__main__.py REQUEST``: see the package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from chassis import program
from imaged.files.work import work

if __name__ == "__main__":
    sys.exit(program.main(sys.argv[1], work))
