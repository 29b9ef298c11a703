"""The user's config.json, docker's own: credentials, helpers, the context in use. What is not understood stays as it
is.
"""

from __future__ import annotations

import posix

from pier_cli.codec import dumps, loads
from pier_cli.context import config_directory
from pier_cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ConfigFile:
    """``document`` is the file's object, {} where there is no file; ``write`` puts it in the file's place."""

    def __init__(self) -> None:
        self.path = f"{config_directory()}/config.json"
        self.document: dict[str, Any] = {}
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                document = loads(file.read())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise Failure(f"{self.path}: {error}") from None
        if not isinstance(document, dict):
            raise Failure(f"{self.path}: not a JSON object")
        self.document = document

    def write(self) -> None:
        """At once; nobody but the user reads it."""
        replace(self.path, f"{dumps(self.document)}\n".encode())


def replace(path: str, data: bytes) -> None:
    """Put a file of mode 0600 with ``data`` in the place of ``path``, whose directory is made."""
    import os

    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    target = os.path.realpath(path)
    fresh = f"{target}{os.getpid()}"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, data)
        os.rename(fresh, target)
    except BaseException:
        posix.unlink(fresh)
        raise
    finally:
        os.close(fd)
