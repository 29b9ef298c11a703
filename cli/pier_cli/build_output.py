"""What goes into ``pier build`` and comes out of it as files: secrets, --output, --iidfile."""

from __future__ import annotations

import binascii
import os
import threading
from typing import Self

from chassis.errors import PierError
from chassis.tar import Reader
from chassis.tar.extract import Extractor, Rules
from pier_cli import out
from pier_cli.context import environment
from pier_cli.failure import Failure
from pier_cli.specs.files import read_file, reason
from pier_cli.uploads import blocks_of

_BLOCK = 256 * 1024


def base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def secrets(texts: list[str]) -> dict[str, str]:
    """The values of --secret flags by their ids, in base64."""
    found = {}
    for text in texts:
        fields = _fields(text, "secret", {"id", "src", "source", "env", "type"})
        source = fields.get("src") or fields.get("source") or ""
        id_ = fields.get("id") or os.path.basename(source) or fields.get("env", "")
        if not id_:
            raise Failure(f"failed to parse secret {text!r}: it has no id")
        variable = fields.get("env") or ("" if source else id_)
        if source:
            value = read_file(source, f"secret {id_}: ")
        elif variable in os.environ:
            value = environment(variable).encode("utf-8", "surrogateescape")
        else:
            raise Failure(f"secret {id_}: neither a file nor a variable of that name")
        found[id_] = base64(value)
    return found


def _fields(text: str, flag: str, known: set[str]) -> dict[str, str]:
    fields = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or name not in known:
            options = ", ".join(sorted(known))
            raise Failure(f'invalid argument "{text}" for "--{flag}" flag: {part!r} is none of {options}')
        fields[name] = value
    return fields


def write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Failure(f"open {path}: {reason(error)}") from None


class Output:
    """Where --output leads: ``kind`` is "" for an image alone, "tar" or "oci"; what comes is written to ``fd``."""

    def __init__(self, kind: str = "", path: str = "", directory: str = "") -> None:
        self.kind = kind
        self.fd = -1
        self._directory = directory
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._root = -1
        if path == "-":
            if out.is_terminal(1):
                raise Failure("cowardly refusing to write an archive to a terminal: use a file or a pipe")
            self.fd = os.dup(1)
        elif path:
            self.fd = self._opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        elif directory:
            os.makedirs(directory, exist_ok=True)
            self._root = self._opened(directory, os.O_RDONLY | os.O_DIRECTORY)
            read, self.fd = os.pipe2(os.O_CLOEXEC)
            self._thread = threading.Thread(target=self._unpack, args=(read,), daemon=True)
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def finish(self) -> None:
        """All has come. Failure where it could not be written."""
        self._close()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise Failure(f"{self._directory}: {self._error}")

    def _close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @staticmethod
    def _opened(path: str, flags: int) -> int:
        try:
            return os.open(path, flags | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise Failure(f"open {path}: {reason(error)}") from None

    def _unpack(self, read: int) -> None:
        """Files belong to whoever builds, as BuildKit has it."""
        rules = Rules(whiteouts=False, cross_mounts=True, keep_base=True, keep_kinds=True,
                      owner=(os.geteuid(), os.getegid()))
        take = blocks_of(read)
        try:
            reader = Reader(iter(take, b""))
            Extractor(self._root, 0, rules).run(reader)
            reader.drain()
        except (OSError, PierError) as error:
            self._error = error
            while take():
                pass
        finally:
            os.close(read)
            os.close(self._root)


def parse(text: str) -> Output:
    """``type=local|tar|oci,dest=PATH``, or a directory."""
    if not text:
        return Output()
    if "=" not in text:
        return Output("tar", path="-") if text == "-" else Output("tar", directory=text)
    fields = _fields(text, "output", {"type", "dest"})
    kind, destination = fields.get("type", ""), fields.get("dest", "")
    if kind in ("image", "docker", "moby") and not destination:
        return Output()
    if kind == "local" and destination:
        return Output("tar", directory=destination)
    if kind in ("tar", "oci"):
        return Output(kind, path=destination or "-")
    raise Failure(f'invalid argument "{text}" for "--output" flag: use type=local, tar or oci, and dest=PATH')
