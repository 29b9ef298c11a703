"""A context as docker exports it: a tar of ``meta.json`` and of ``tls/ENDPOINT/FILE`` for each of its TLS files.

What is read was written by somebody else: at most 10 MiB of it (docker's bound, too), and no name but these two forms.
"""

from __future__ import annotations

from chassis.errors import PierError
from chassis.tar import Entry, Kind, Reader, Writer
from pier_cli.codec import dumps, loads
from pier_cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from pier_cli.contexts import Files

_META = "meta.json"
_TLS = "tls"
_MOST = 10 << 20
_ZIP = b"PK\x03\x04"


def pack(document: Mapping[str, Any], files: Files) -> bytes:
    """The archive of a context."""
    parts: list[bytes] = []
    writer = Writer(parts.append)
    meta = dumps(document).encode()
    writer.add(Entry(_META.encode(), mode=0o644, size=len(meta)), [meta])
    writer.add(Entry(_TLS.encode(), Kind.DIRECTORY, mode=0o700))
    for endpoint, inside in sorted(files.items()):
        writer.add(Entry(f"{_TLS}/{endpoint}".encode(), Kind.DIRECTORY, mode=0o700))
        for name, data in sorted(inside.items()):
            writer.add(Entry(f"{_TLS}/{endpoint}/{name}".encode(), mode=0o600, size=len(data)), [data])
    writer.close()
    return b"".join(parts)


def unpack(blocks: Iterable[bytes]) -> tuple[dict[str, Any], Files]:
    """What ``pack`` was given. Failure for what is no context."""
    document: dict[str, Any] | None = None
    files: Files = {}
    reader = Reader(_bounded(blocks))
    try:
        for entry in reader:
            if entry.kind is Kind.DIRECTORY:
                continue
            name = entry.name.decode(errors="replace")
            if entry.kind is not Kind.FILE or not (name == _META or _is_of_tls(name)):
                raise Failure(f"{name}: unexpected context file")
            if entry.size > _MOST:  # a hole costs its writer nothing
                raise Failure("read exceeds the defined limit")
            data = _content(reader, entry.size)
            if name == _META:
                document = _document(data)
            else:
                _, endpoint, file = name.split("/")
                files.setdefault(endpoint, {})[file] = data
    except PierError as error:
        raise Failure(f"invalid context: {error.message}") from None
    if document is None:
        raise Failure("invalid context: no metadata found")
    return document, files


def _is_of_tls(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 3 and parts[0] == _TLS and all(part not in ("", ".", "..") and "\0" not in part
                                                        for part in parts)


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = loads(data.decode())
    except ValueError as error:
        raise Failure(f"invalid context: {_META}: {error}") from None
    if not isinstance(document, dict):
        raise Failure(f"invalid context: {_META}: not a JSON object")
    return document


def _content(reader: Reader, size: int) -> bytes:
    content = bytearray(size)
    for offset, part in reader.data():
        content[offset:offset + len(part)] = part
    return bytes(content)


def _bounded(blocks: Iterable[bytes]) -> Iterator[bytes]:
    total = 0
    for block in blocks:
        if not total and block.startswith(_ZIP):
            raise Failure("invalid context: a zip archive is not taken: unzip it, and pack it with tar")
        total += len(block)
        if total > _MOST:
            raise Failure("read exceeds the defined limit")
        yield block
