"""``python3 -I -S -E …/netd/resolver/__main__.py --socket PATH --counters PATH [--stays]``: the resolver.

Isolated and without ``site``, so that nothing of the environment and no installed package is loaded. The source root is
therefore put on the path here.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from netd.resolver.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
