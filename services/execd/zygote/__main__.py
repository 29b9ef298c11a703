"""``python3 -I -S -E …/execd/zygote/__main__.py --socket PATH --cgroup-parent NAME [--stopgap-of PID]``: the zygote.

Isolated and without ``site``: nothing of the environment or of installed packages gets into a shim. The source root is
therefore put on the path here.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from execd.zygote.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
