"""The context that all Dockerfiles of the corpus take files from: its times are old, its modes and links odd. And what
a web server on loopback shows them.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import http.server
import io
import lzma
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import zstandard

from tests.e2e.builds.corpus.cases import Case

TIME: Final = 1_000_000_000
"""Of every file, in seconds."""
_FILES: Final = {
    "a.txt": (0o644, "a\n"), "b.txt": (0o600, "b\n"), "with space.txt": (0o644, "space\n"),
    "run.sh": (0o755, "#!/bin/sh\necho ran\n"), "not-a-tar.tar.gz": (0o644, "no tar\n"),
    "dir/file": (0o640, "file\n"), "dir/sub/deep.txt": (0o644, "deep\n"), "dir/other/deeper.txt": (0o4755, "deeper\n"),
    "dir/.hidden": (0o644, "hidden\n"), "links/real": (0o644, "real\n"), "links/d/in": (0o644, "in\n"),
    "ignored/no": (0o644, "no\n"), "ignored/yes": (0o644, "yes\n"), "ignored/sub/no": (0o644, "no\n"),
    "old/file": (0o644, "old\n"),
    "special/arr[0].txt": (0o644, "brackets\n"), "special/$dollar": (0o644, "dollar\n"),
    "special/é x": (0o644, "accent\n"), "special/back\\slash": (0o644, "back\n"),
    ".dockerignore": (0o644, "# comment\nignored\n!ignored/yes\n**/*.bak\n/x.*\n"), "dir/old.bak": (0o644, "bak\n"),
}
_DIRECTORIES: Final = {"dir/empty": 0o750, "dir/sub": 0o711}
_LINKS: Final = {
    "links/to_file": "real", "links/to_directory": "d", "links/absolute": "/etc/passwd", "links/none": "gone",
}
_PORT: Final = 8099
"""Dockerfiles name it. The world's loopback is nobody else's."""
_GIT: Final = {
    "PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
    "GIT_AUTHOR_DATE": f"{TIME} +0000", "GIT_COMMITTER_DATE": f"{TIME} +0000",
}


def of(case: Case, above: Path) -> tuple[Path, Path]:
    """The Dockerfile and the context of ``case``, made below ``above`` where they are not there yet."""
    own = bool(case.ignored or case.own)
    files = above / (case.name if own else "all")
    if not files.exists():
        files.mkdir(parents=True)
        make(files, case.ignored)
    dockerfile = (files if case.own else above) / f"{case.name}.Dockerfile"
    dockerfile.write_text(case.text)
    if case.own:
        dockerfile.with_name(f"{dockerfile.name}.dockerignore").write_text("\n".join(case.own) + "\n")
    return dockerfile, files


@contextmanager
def served(directory: Path) -> Iterator[None]:
    """Serve a file and a repository for as long as the block lasts; ``directory`` is made."""
    repository = directory / "work"
    repository.mkdir(parents=True)
    (directory / "file.txt").write_text("served\n")
    (directory / "plain.tar").write_bytes(_tar())
    for name, (mode, text) in {"one": (0o644, "one\n"), "sub/two.sh": (0o755, "two\n")}.items():
        path = repository / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "one"], ["tag", "v1"],
                  ["clone", "-q", "--bare", ".", "../repository.git"],
                  ["-C", "../repository.git", "update-server-info"]):
        subprocess.run(["git", *words], cwd=repository, env=_GIT, check=True)
    with _Server(("127.0.0.1", _PORT), functools.partial(_Silent, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class _Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def make(directory: Path, ignored: tuple[str, ...] = ()) -> None:
    """Fill ``directory``, which is there; ``ignored`` are other lines of its .dockerignore."""
    files = dict(_FILES)
    if ignored:
        files[".dockerignore"] = (0o644, "\n".join(ignored) + "\n")
    for name, (mode, text) in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    for name, mode in _DIRECTORIES.items():
        (directory / name).mkdir(exist_ok=True)
        (directory / name).chmod(mode)
    for name, target in _LINKS.items():
        (directory / name).symlink_to(target)
    plain = _tar()
    for name, data in (("plain.tar", plain), ("zipped.tar.gz", _gzip(plain)),
                       ("xz.tar.xz", lzma.compress(plain)), ("bz2.tar.bz2", bz2.compress(plain)),
                       ("zst.tar.zst", zstandard.compress(plain))):
        (directory / name).write_bytes(data)
    for parent, _, names in os.walk(directory, topdown=False):
        for name in names:
            os.utime(Path(parent) / name, (TIME, TIME), follow_symlinks=False)
        os.utime(parent, (TIME, TIME))
        for name in os.listdir(parent):
            os.utime(Path(parent) / name, (TIME, TIME), follow_symlinks=False)


def _gzip(data: bytes) -> bytes:
    """The same by any Python: 3.11 names Unix as the system in the head (RFC 1952 section 2.3), 3.13 none."""
    packed = bytearray(gzip.compress(data, mtime=0))
    packed[9] = 3
    return bytes(packed)


def _tar() -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, kind, mode, owner, data in (
            ("top", tarfile.DIRTYPE, 0o750, (5, 6), b""), ("top/file", tarfile.REGTYPE, 0o4711, (7, 8), b"in a tar\n"),
            ("top/link", tarfile.SYMTYPE, 0o777, (0, 0), b"file"), ("top/hard", tarfile.LNKTYPE, 0o4711, (7, 8), b""),
            ("etc", tarfile.DIRTYPE, 0o755, (0, 0), b""), ("etc/added", tarfile.REGTYPE, 0o600, (0, 0), b"added\n"),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, (entry.uid, entry.gid), entry.mtime = kind, mode, owner, TIME
            if kind == tarfile.SYMTYPE:
                entry.linkname = data.decode()
            elif kind == tarfile.LNKTYPE:
                entry.linkname = "top/file"
            else:
                entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data if kind == tarfile.REGTYPE else b""))
    return output.getvalue()
