"""Where a git repository is, as people write it: `https://host/a.git#REF:DIRECTORY`."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from chassis.errors import InvalidArgument, Unimplemented

_SSH: Final = ("ssh://", "git@")
_BARE: Final = "github.com/"
"""A host that Docker takes without a scheme in the address of a context."""
_REF: Final = re.compile(r"[^\s\x00-\x20\x7f~^:?*\[\\-][^\s\x00-\x20\x7f~^:?*\[\\]*")
_PLAIN: Final = re.compile(r"[\x21-\x7e]+")
_LONGEST: Final = 4096


@dataclass(frozen=True)
class Address:
    """``ref`` is a branch, a tag or a commit, "" for the repository's HEAD; ``directory`` a part of it, "" for all."""

    url: str
    ref: str = ""
    directory: str = ""

    def relative(self, url: str) -> Address:
        """A submodule's, whose URL may begin at this one's (gitmodules(5)). As ``parse`` refuses."""
        if url.startswith(("./", "../")):
            parts = urlsplit(self.url)
            url = parts._replace(path=posixpath.normpath(posixpath.join(parts.path, url))).geturl()
        return Address(_checked(url))


def is_git(text: str, *, bare_host: bool = False) -> bool:
    """Whether ``text`` names a repository: by its scheme, or by a path that ends in ".git". ``bare_host``: also by a
    host that is known to have nothing else."""
    if text.startswith(("git://", *_SSH)) or (bare_host and text.startswith(_BARE)):
        return True
    return text.startswith(("http://", "https://")) and re.split(r"[?#]", text, maxsplit=1)[0].endswith(".git")


def parse(text: str, field: str) -> Address:
    """InvalidArgument (BAD_GIT_ADDRESS); Unimplemented where an ssh agent would be needed."""
    url, _, fragment = text.partition("#")
    ref, _, directory = fragment.partition(":")
    if url.startswith(_BARE):
        url = f"https://{url}"
    if ref and (not _REF.fullmatch(ref) or ".." in ref or "@{" in ref):
        raise InvalidArgument(f"{ref[:80]!a} is no git reference", reason="BAD_GIT_ADDRESS", field=field,
                              expected="a branch, a tag or a commit after #")
    if "\0" in directory or len(directory) > _LONGEST or ".." in directory.split("/"):
        raise InvalidArgument(f"{directory[:80]!a} is no directory", reason="BAD_GIT_ADDRESS", field=field,
                              expected="a directory of the repository after #REF:")
    return Address(_checked(url, field), ref, directory.strip("/"))


def _checked(url: str, field: str = "url") -> str:
    if url.startswith(_SSH):
        raise Unimplemented("git repositories over ssh are not supported: no client hands an ssh agent on",
                            reason="NOT_BUILT", field=field, expected="https://, http:// or git://")
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("https", "http", "git") and bool(parts.hostname) and not parts.query
    except ValueError:
        fits = False
    if not fits or not _PLAIN.fullmatch(url) or len(url) > _LONGEST:
        raise InvalidArgument(f"{url[:80]!a} is no address of a git repository", reason="BAD_GIT_ADDRESS", field=field,
                              expected="https://HOST/PATH.git#REF:DIRECTORY")
    return url
