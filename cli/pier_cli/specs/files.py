"""Files that flags name: environment and label files, seccomp profiles."""

from __future__ import annotations

import posix

from pier_cli.failure import Failure

_LARGEST = 16 << 20


def read_file(path: str, where: str = "") -> bytes:
    """The whole of a file. Failure with Go's words, ``where`` before them."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        raise Failure(f"{where}open {path}: {reason(error)}") from None
    try:
        parts = []
        size = 0
        while data := posix.read(fd, 1 << 20):
            parts.append(data)
            size += len(data)
            if size > _LARGEST:
                raise Failure(f"{where}{path}: more than {_LARGEST} bytes")
        return b"".join(parts)
    except OSError as error:
        raise Failure(f"{where}read {path}: {reason(error)}") from None
    finally:
        posix.close(fd)


def reason(error: OSError) -> str:
    """Go writes the kernel's words in lower case."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def key_values(path: str, environment: bool) -> list[str]:
    """Lines ``NAME=VALUE`` of a file, comments and empty lines dropped. In an environment file a name alone takes its
    value from this process, or is dropped."""
    from pier_cli.context import environment as variable

    found: list[str] = []
    text = read_file(path)
    if text.startswith(b"\xef\xbb\xbf"):
        text = text[3:]
    for raw in text.split(b"\n"):
        try:
            line = raw.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise Failure(f"invalid utf8 bytes at line {len(found) + 1}: {raw!r}") from None
        line = line.lstrip(" \t")
        if not line or line.startswith("#"):
            continue
        name, equals, _ = line.partition("=")
        if not name:
            raise Failure(f"no variable name on line '{line}'")
        if any(char in name for char in " \t"):
            raise Failure(f"variable '{name}' contains whitespaces")
        if equals or not environment:
            found.append(line)
        elif value := variable(name):
            found.append(f"{name}={value}")
    return found
