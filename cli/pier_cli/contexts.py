"""Contexts, kept as docker keeps them: named engines, each with an address and, for TLS, files of its own.

``contexts/meta/ID/meta.json`` and ``contexts/tls/ID/docker/{ca,cert,key}.pem`` below the user's configuration, where ID
is the SHA-256 of the name. Which one is in use stands in config.json. The context "default" is in no file: it is the
environment's. Endpoints of other programs (Kubernetes, once) are kept as they are.
"""

from __future__ import annotations

from pier_cli.codec import dumps, loads
from pier_cli.config_file import ConfigFile, replace
from pier_cli.context import config_directory
from pier_cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Files = dict[str, dict[str, bytes]]

DEFAULT = "default"
TLS_FILES = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
_IN_USE = "currentContext"
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_MORE = frozenset("_.+-")


class Named:
    """One context of the store. ``tls`` are the paths of its files that are there, by ca, cert and key."""

    def __init__(self, name: str, document: dict[str, Any], tls: Mapping[str, str]) -> None:
        self.name = name
        self.document = document
        self.tls = tls

    @property
    def description(self) -> str:
        return str((self.document.get("Metadata") or {}).get("Description") or "")

    @property
    def endpoint(self) -> dict[str, Any]:
        found = (self.document.get("Endpoints") or {}).get("docker")
        return found if isinstance(found, dict) else {}

    @property
    def host(self) -> str:
        return str(self.endpoint.get("Host") or "")

    @property
    def skips_verify(self) -> bool:
        return bool(self.endpoint.get("SkipTLSVerify"))


def check_name(name: str) -> None:
    if name == DEFAULT:
        raise Failure('"default" is a reserved context name')
    good = len(name) > 1 and name[0] in _LETTERS and all(each in _LETTERS or each in _MORE for each in name)
    if not good:
        raise Failure(f'context name "{name}" is invalid, names are validated against regexp '
                      '"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"')


def check_new(name: str) -> None:
    check_name(name)
    if exists(name):
        raise Failure(f'context "{name}" already exists')


def in_use() -> str:
    """The name that config.json has, else "default"."""
    return str(ConfigFile().document.get(_IN_USE) or DEFAULT)


def use(name: str) -> None:
    """Name it in config.json; "default" is no entry there."""
    if name != DEFAULT:
        find(name)
    file = ConfigFile()
    if name == DEFAULT:
        file.document.pop(_IN_USE, None)
    else:
        file.document[_IN_USE] = name
    file.write()


def find(name: str) -> Named:
    """Failure where there is none of the name."""
    try:
        with open(f"{meta_directory(name)}/meta.json", encoding="utf-8", errors="replace") as file:
            document = loads(file.read())
    except FileNotFoundError:
        raise Failure(f'context "{name}": context not found: open {meta_directory(name)}/meta.json: no such file or '
                      "directory") from None
    except (OSError, ValueError) as error:
        raise Failure(f'context "{name}": {error}') from None
    if not isinstance(document, dict):
        raise Failure(f'context "{name}": {meta_directory(name)}/meta.json: not a JSON object')
    return Named(name, document, _standing(name))


def everything() -> list[Named]:
    """All of the store's, by name."""
    import os

    root = f"{config_directory()}/contexts/meta"
    try:
        identities = os.listdir(root)
    except FileNotFoundError:
        return []
    found = []
    for identity in identities:
        try:
            with open(f"{root}/{identity}/meta.json", encoding="utf-8", errors="replace") as file:
                document = loads(file.read())
        except (OSError, ValueError) as error:
            raise Failure(f"{root}/{identity}: {error}") from None
        name = str(document.get("Name") or "") if isinstance(document, dict) else ""
        if _identity(name) == identity:
            found.append(Named(name, document, _standing(name)))
    return sorted(found, key=lambda context: context.name)


def exists(name: str) -> bool:
    import os

    return os.path.exists(f"{meta_directory(name)}/meta.json")


def write(name: str, document: dict[str, Any], tls: Mapping[str, bytes] | None) -> None:
    """Keep it; ``tls`` are the contents of its files by ca, cert and key, None to leave those that it has."""
    if tls is None:
        _write_document(name, document)
    else:
        install(name, document, {"docker": {TLS_FILES[kind]: data for kind, data in tls.items()}})


def files(name: str) -> Files:
    """The contents of its TLS files, by endpoint and by name, those of other programs' endpoints, too."""
    import os

    top = tls_directory(name)
    found: Files = {}
    for path, _, names in os.walk(top):
        for each in names if os.path.dirname(path) == top else ():
            with open(f"{path}/{each}", "rb") as file:
                found.setdefault(os.path.basename(path), {})[each] = file.read()
    return found


def install(name: str, document: dict[str, Any], files: Files) -> None:
    """Keep it, with these TLS files and no others."""
    _write_document(name, document)
    _remove_tree(tls_directory(name))
    for endpoint, inside in files.items():
        for each, data in inside.items():
            replace(f"{tls_directory(name)}/{endpoint}/{each}", data)


def _write_document(name: str, document: dict[str, Any]) -> None:
    replace(f"{meta_directory(name)}/meta.json", dumps({**document, "Name": name}).encode())


def remove(name: str) -> None:
    find(name)
    _remove_tree(meta_directory(name))
    _remove_tree(tls_directory(name))


def meta_directory(name: str) -> str:
    return f"{config_directory()}/contexts/meta/{_identity(name)}"


def tls_directory(name: str) -> str:
    return f"{config_directory()}/contexts/tls/{_identity(name)}"


def _identity(name: str) -> str:
    import hashlib

    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()


def _standing(name: str) -> dict[str, str]:
    import os

    paths = {kind: f"{tls_directory(name)}/docker/{file}" for kind, file in TLS_FILES.items()}
    return {kind: path for kind, path in paths.items() if os.path.exists(path)}


def _remove_tree(path: str) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)
