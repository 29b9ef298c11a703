"""Two containers that find one another by name on a network of theirs:  pair.py [--engine ADDRESS] IMAGE

The one serves a page, the other asks for it until it is there; then everything is taken away again.
"""

from __future__ import annotations

import argparse
import secrets
import sys

from pier_client import Pier

_ASK = "until wget -q -O - http://web:8000/page; do sleep 0.1; done"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="unix:///run/pier/engine.sock")
    parser.add_argument("image")
    words = parser.parse_args()
    with Pier(words.engine) as pier:
        mark = secrets.token_hex(4)
        network, volume = pier.networks.create(f"pair-{mark}"), pier.volumes.create()
        web = pier.containers.create(
            words.image, ["httpd", "-f", "-p", "8000", "-h", "/www"], name="web", network=network.name,
            volumes=[f"{volume.name}:/www"])
        try:
            pier.containers.start(web.record.id)
            pier.containers.exec(web.record.id, ["tee", "/www/page"], input=b"hello from web\n")
            asked = pier.containers.run(words.image, ["sh", "-c", _ASK], network=network.name)
            sys.stdout.buffer.write(asked.stdout)
        finally:
            pier.containers.remove(web.record.id, force=True)
            pier.volumes.remove(volume.name)
            pier.networks.remove(network.name)
    return asked.code or 0


if __name__ == "__main__":
    sys.exit(main())
