"""Where a git repository is, as people write it: `https://host/a.git#REF:DIRECTORY`, or with a query for each part:
`https://host/a.git?branch=main&subdir=docs`.

Source: docs.docker.com/build/concepts/context, "URL queries" of git repositories.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from chassis.errors import InvalidArgument, Unimplemented
from chassis.spelling import meant
from chassis.switches import switch

_SSH: Final = ("ssh://", "git@")
_BARE: Final = "github.com/"
"""A host that Docker takes without a scheme in the address of a context."""
_REF: Final = re.compile(r"[^\s\x00-\x20\x7f~^:?*\[\\-][^\s\x00-\x20\x7f~^:?*\[\\]*")
_PLAIN: Final = re.compile(r"[\x21-\x7e]+")
_LONGEST: Final = 4096
_SWITCHES: Final = ("keep-git-dir", "submodules")
_QUERIES: Final = ("ref", "branch", "tag", "commit", "checksum", "subdir", *_SWITCHES)


@dataclass(frozen=True)
class Address:
    """``ref`` is a branch, a tag or a commit, "" for the repository's HEAD; ``directory`` a part of it, "" for all;
    ``checksum`` what the commit's name has to begin with. ``keep_git_dir`` is None where nothing is said of it."""

    url: str
    ref: str = ""
    directory: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool = True

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
    whole, _, fragment = text.partition("#")
    url, _, query = whole.partition("?")
    ref, _, directory = fragment.partition(":")
    if url.startswith(_BARE):
        url = f"https://{url}"
    given = _queries(query, field)
    checksum = given.get("checksum", given.get("commit", ""))
    ref = _one("ref", (ref, given.get("ref", ""), _full("refs/heads/", given.get("branch", "")),
                       _full("refs/tags/", given.get("tag", ""))), field) or checksum
    directory = _one("subdir", (directory, given.get("subdir", "")), field)
    if ref and (not _REF.fullmatch(ref) or ".." in ref or "@{" in ref):
        raise InvalidArgument(f"{ref[:80]!a} is no git reference", reason="BAD_GIT_ADDRESS", field=field,
                              expected="a branch, a tag or a commit after #")
    if "\0" in directory or len(directory) > _LONGEST or ".." in directory.split("/"):
        raise InvalidArgument(f"{directory[:80]!a} is no directory", reason="BAD_GIT_ADDRESS", field=field,
                              expected="a directory of the repository after #REF:")
    return Address(
        _checked(url, field), ref, directory.strip("/"), checksum, _switch(given, "keep-git-dir", field),
        _switch(given, "submodules", field) is not False,
    )


def _queries(query: str, field: str) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=len(_QUERIES))
    except ValueError as error:
        raise _bad("too many queries", field) from error
    for name, value in pairs:
        if name not in _QUERIES:
            raise _bad(f"unexpected query {name[:80]!a}{meant(name, _QUERIES)}", field)
        if name in found:
            raise _bad(f"query {name!a} has multiple values", field)
        if not value and name not in _SWITCHES:
            raise _bad(f"query {name!a} has no value", field)
        found[name] = value
    return found


def _full(above: str, name: str) -> str:
    return name if not name or name.startswith(above) else above + name


def _one(what: str, texts: Iterable[str], field: str) -> str:
    """What all that say something say."""
    found = list(dict.fromkeys(text for text in texts if text))
    if len(found) > 1:
        raise _bad(f"{what} conflicts: {found[0][:80]!a} vs {found[1][:80]!a}", field)
    return found[0] if found else ""


def _switch(given: Mapping[str, str], name: str, field: str) -> bool | None:
    if name not in given:
        return None
    found = switch(given[name] or "true")
    if found is None:
        raise _bad(f"invalid {name} value: {given[name][:80]!a}", field)
    return found


def _bad(message: str, field: str) -> InvalidArgument:
    return InvalidArgument(message, reason="BAD_GIT_ADDRESS", field=field,
                           expected="https://HOST/PATH.git?branch=NAME&subdir=DIRECTORY and the like")


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
