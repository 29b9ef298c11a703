"""What stands in `.git` of files that git checked out, made of the bare repository that they came from: the commit, its
objects and an index, so that `git describe` and `git status` work on them. No hook, and no setting of anybody's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from chassis.tar import END, Entry, Kind, Writer

_NAME: Final = ".git"
_CONFIG: Final = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
"""
_REMOTE: Final = """\
[remote "origin"]
\turl = {}
\tfetch = +refs/heads/*:refs/remotes/origin/*
"""
_KEPT: Final = ("objects", "shallow", "index")
"""Of the bare repository."""
_FILE: Final = 0o644
_DIRECTORY: Final = 0o755
_PIECE: Final = 256 << 10


def as_tar(bare: Path, url: str, ref: str, commit: str) -> Iterator[bytes]:
    """`.git` as a tar. HEAD is the ``commit``; so is ``ref``: "refs/tags/…", or "refs/heads/…", which becomes a
    branch of the remote "origin" at ``url``. ``bare`` has an index. Blocks."""
    texts = {"HEAD": f"{commit}\n", "config": _CONFIG + _REMOTE.format(url)}
    if ref.startswith("refs/tags/"):
        texts[ref] = f"{commit}\n"
    elif ref.startswith("refs/heads/"):
        texts[f"refs/remotes/origin/{ref.removeprefix('refs/heads/')}"] = f"{commit}\n"
    for directory in ("", "refs", "objects"):
        yield from Writer.pieces(_entry(directory, Kind.DIRECTORY))
    for name, text in texts.items():
        yield from Writer.pieces(_entry(name, Kind.FILE, len(text.encode())), [text.encode()])
    for name in _KEPT:
        for path in _files(bare / name):
            size = path.lstat().st_size
            yield from Writer.pieces(_entry(str(path.relative_to(bare)), Kind.FILE, size), _content(path, size))
    yield END


def _entry(name: str, kind: Kind, size: int = 0) -> Entry:
    path = os.fsencode(f"{_NAME}/{name}" if name else _NAME)
    return Entry(name=path, kind=kind, mode=_DIRECTORY if kind is Kind.DIRECTORY else _FILE, size=size)


def _files(top: Path) -> Iterator[Path]:
    if top.is_file():
        yield top
    for parent, directories, names in os.walk(top):
        directories.sort()
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _content(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while size > 0 and (piece := file.read(min(size, _PIECE))):
            size -= len(piece)
            yield piece
