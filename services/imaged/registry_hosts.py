"""Where a registry is to be reached: one TOML file for each, which its operator writes; containerd's form and terms.

``DIRECTORY/HOST[:PORT]/hosts.toml``, or ``DIRECTORY/_default/hosts.toml`` for every registry that has none. Example::

    server = "https://registry-1.docker.io"        # the registry itself, asked last; this is also the default

    [host."https://mirror.example:5000"]           # asked first, in the order of the file
    capabilities = ["pull", "resolve"]             # layers and what digests name; what tags name
    ca = "/etc/ssl/mirror.crt"                     # or a list; besides the system's
    client = [["/etc/ssl/me.cert", "/etc/ssl/me.key"]]
    skip_verify = false
    override_path = false                          # true: the URL's path stands for /v2
    rewrite = { "^library/(.*)" = "hub/$1" }       # repositories are called otherwise there

The user's credentials go to ``server`` alone. Only pulls ask others.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from chassis.errors import InvalidArgument

_FILE: Final = "hosts.toml"
_DEFAULT: Final = "_default"
_FILE_MAX: Final = 1 << 20
_PULL, _RESOLVE = "pull", "resolve"
_CAPABILITIES: Final = (_PULL, _RESOLVE, "push")
_KEYS: Final = ("capabilities", "ca", "client", "skip_verify", "override_path", "rewrite")


@dataclass(frozen=True)
class Endpoint:
    """A place that answers for a registry. ``base`` is scheme and host, ``root`` what stands for ``/v2``;
    ``rewrites`` are tried in order, the first that fits counts."""

    base: str
    root: str = "/v2"
    resolves: bool = True
    pulls: bool = True
    authorities: tuple[str, ...] = ()
    certificates: tuple[tuple[str, str], ...] = ()
    verifies: bool = True
    rewrites: tuple[tuple[re.Pattern[str], str], ...] = ()

    @property
    def host(self) -> str:
        return urlsplit(self.base).netloc

    def repository(self, path: str) -> str:
        """What a repository is called there."""
        for pattern, new in self.rewrites:
            if pattern.search(path):
                return pattern.sub(new, path, count=1)
        return path


@dataclass(frozen=True)
class Hosts:
    """A registry's file: ``server`` is None where it is as ever."""

    server: Endpoint | None = None
    mirrors: tuple[Endpoint, ...] = ()


def read(directory: str, domain: str) -> Hosts:
    """What the file of the registry ``domain`` says. InvalidArgument (BAD_HOSTS) names file and key. Blocks."""
    if not directory:
        return Hosts()
    for name in (domain, _DEFAULT):
        path = Path(directory, name, _FILE)
        try:
            with path.open("rb") as file:
                raw = file.read(_FILE_MAX + 1)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise _bad(path, "", error.strerror or str(error)) from error
        try:
            return _Reader(path).hosts(tomllib.loads(raw.decode()))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise _bad(path, "", str(error)) from error
    return Hosts()


def _bad(path: Path, key: str, text: str, expected: str = "") -> InvalidArgument:
    where = f"{path}: {key}" if key else str(path)
    return InvalidArgument(f"{where}: {text}", reason="BAD_HOSTS", field="registry_hosts", expected=expected)


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path

    def hosts(self, document: dict[str, Any]) -> Hosts:
        for key in document:
            if key not in ("server", "host"):
                raise _bad(self._path, key, "no such key", "server, host")
        server = document.get("server")
        mirrors = document.get("host", {})
        if not isinstance(mirrors, dict):
            raise _bad(self._path, "host", "not a table", '[host."https://…"]')
        return Hosts(
            None if server is None else self._endpoint("server", server, {}),
            tuple(self._endpoint(f'host."{url}"', url, table) for url, table in mirrors.items()))

    def _endpoint(self, key: str, url: object, table: object) -> Endpoint:
        if not isinstance(table, dict):
            raise _bad(self._path, key, "not a table")
        for name in table:
            if name not in _KEYS:
                raise _bad(self._path, f"{key}.{name}", "no such key", ", ".join(_KEYS))
        base, root = self._url(key, url, override=self._boolean(table, key, "override_path"))
        capabilities = self._strings(table, key, "capabilities", [_PULL, _RESOLVE])
        for one in capabilities:
            if one not in _CAPABILITIES:
                raise _bad(self._path, f"{key}.capabilities", f"{one[:80]!a} is none", ", ".join(_CAPABILITIES))
        return Endpoint(
            base, root, _RESOLVE in capabilities, _PULL in capabilities,
            tuple(self._strings(table, key, "ca", [])), self._client(table, key),
            not self._boolean(table, key, "skip_verify"), self._rewrites(table, key))

    def _url(self, key: str, url: object, *, override: bool) -> tuple[str, str]:
        try:
            parts = urlsplit(url if isinstance(url, str) else "")
            parts.port  # noqa: B018 - it raises for one that is none
        except ValueError:
            parts = urlsplit("")
        unfit = not parts.hostname or parts.query or parts.fragment or parts.username
        if parts.scheme not in ("http", "https") or unfit:
            raise _bad(self._path, key, "not a URL of a registry", "http[s]://host[:port][/path]")
        path = parts.path.rstrip("/")
        root = path if override or path.endswith("/v2") else path + "/v2"
        return f"{parts.scheme}://{parts.netloc}", root

    def _boolean(self, table: dict[str, Any], key: str, name: str) -> bool:
        value = table.get(name, False)
        if not isinstance(value, bool):
            raise _bad(self._path, f"{key}.{name}", "not a boolean", "true or false")
        return value

    def _strings(self, table: dict[str, Any], key: str, name: str, default: list[str]) -> list[str]:
        value = table.get(name, default)
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            raise _bad(self._path, f"{key}.{name}", "not a list of strings")
        return values

    def _client(self, table: dict[str, Any], key: str) -> tuple[tuple[str, str], ...]:
        value = table.get("client", [])
        if isinstance(value, str):  # certificate and key in one file
            value = [[value, value]]
        pairs: list[Any] = value if isinstance(value, list) else [None]
        if not all(isinstance(one, list) and len(one) == 2 and all(isinstance(path, str) for path in one)
                   for one in pairs):
            raise _bad(self._path, f"{key}.client", "not a list of pairs", '[["certificate", "key"]]')
        return tuple((certificate, private) for certificate, private in pairs)

    def _rewrites(self, table: dict[str, Any], key: str) -> tuple[tuple[re.Pattern[str], str], ...]:
        value = table.get("rewrite", {})
        if not isinstance(value, dict) or not all(isinstance(new, str) for new in value.values()):
            raise _bad(self._path, f"{key}.rewrite", "not a table of strings")
        made = []
        for pattern, new in value.items():
            try:
                compiled = re.compile(pattern)
                template = re.sub(r"\$(\d)", r"\\\1", new.replace("\\", r"\\"))
                compiled.sub(template, "")
                re.compile(f"(?:{pattern})|").sub(template, "")  # groups that it names are there
            except (re.error, IndexError) as error:
                raise _bad(self._path, f"{key}.rewrite", f"{pattern[:80]!a}: {error}",
                           "a regular expression") from error
            made.append((compiled, template))
        return tuple(made)
