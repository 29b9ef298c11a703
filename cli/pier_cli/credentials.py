"""Credentials for registries, kept as docker keeps them: in config.json, or by a helper program that it names.

Keys are hosts, and for Docker Hub the address of its first
version. A helper is the program ``docker-credential-NAME``, spoken to by JSON on its standard streams.
"""

from __future__ import annotations

import binascii

from pier_cli.codec import dumps, loads
from pier_cli.config_file import ConfigFile
from pier_cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HUB = "https://index.docker.io/v1/"
_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
_HELPER_SECONDS = 60
_TOKEN_USER = "<token>"


def key_of(registry: str) -> str:
    """Under what a registry (a host, or an address as people write it) is kept."""
    host = registry.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return HUB if not host or host in _HUB_NAMES else host


class Store:
    """The user's config.json."""

    def __init__(self) -> None:
        self._file = ConfigFile()
        self._document = self._file.document

    def get(self, key: str) -> dict[str, str]:
        """The AuthConfig for the key; {} where there is none."""
        if helper := self._helper(key):
            return self._from_helper(helper, key)
        auths = self._document.get("auths") or {}
        for spelt, entry in auths.items():
            if spelt == key or key_of(spelt) == key:
                return _read(entry if isinstance(entry, dict) else {}, key)
        return {}

    def known(self) -> list[str]:
        """The keys of all credentials that it holds or knows a helper for."""
        return sorted({*(self._document.get("auths") or {}), *(self._document.get("credHelpers") or {})})

    def put(self, key: str, auth: dict[str, str]) -> str:
        """Keep it; a warning where it is kept without encryption."""
        if helper := self._helper(key):
            token = auth.get("identitytoken")
            _ask(helper, "store", dumps({
                "ServerURL": key, "Username": _TOKEN_USER if token else auth["username"],
                "Secret": token or auth["password"]}))
            return ""
        entry = {"identitytoken": auth["identitytoken"]} if auth.get("identitytoken") else {}
        pair = f"{auth.get('username', '')}:{'' if entry else auth.get('password', '')}"
        entry["auth"] = _base64(pair)
        self._document.setdefault("auths", {})[key] = entry
        self._file.write()
        return (f"WARNING! Your credentials are stored unencrypted in '{self._file.path}'.\n"
                "Configure a credential helper to remove this warning.")

    def forget(self, key: str) -> bool:
        """Whether there was something to forget."""
        if helper := self._helper(key):
            known = bool(self._from_helper(helper, key))
            if known:
                _ask(helper, "erase", key)
            return known
        auths = self._document.get("auths") or {}
        spelt = [name for name in auths if name == key or key_of(name) == key]
        for name in spelt:
            del auths[name]
        if spelt:
            self._file.write()
        return bool(spelt)

    def _helper(self, key: str) -> str:
        helpers = self._document.get("credHelpers") or {}
        return str(helpers.get(key) or self._document.get("credsStore") or "")

    def _from_helper(self, helper: str, key: str) -> dict[str, str]:
        answer = _ask(helper, "get", key)
        if answer is None:
            return {}
        try:
            found = loads(answer)
            user, secret = str(found["Username"]), str(found["Secret"])
        except (ValueError, LookupError, TypeError):
            raise Failure(f"docker-credential-{helper}: what it answers is not understood") from None
        if user == _TOKEN_USER:
            return {"identitytoken": secret, "serveraddress": key}
        return {"username": user, "password": secret, "serveraddress": key}


def header(registry: str) -> dict[str, str]:
    """X-Registry-Auth for a call that is about ``registry`` (the host in front of an image's name)."""
    auth = Store().get(key_of(registry))
    if not auth:
        return {}
    return {"X-Registry-Auth": _base64(dumps(auth)).replace("+", "-").replace("/", "_")}


def registry_config() -> dict[str, str]:
    """X-Registry-Config for a call that may pull from any registry: the credentials of all."""
    store = Store()
    found = {key: auth for key in store.known() if (auth := store.get(key))}
    return {"X-Registry-Config": _base64(dumps(found)).replace("+", "-").replace("/", "_")} if found else {}


def _base64(text: str) -> str:
    return binascii.b2a_base64(text.encode("utf-8", "surrogateescape"), newline=False).decode()


def _read(entry: dict[str, Any], key: str) -> dict[str, str]:
    try:
        pair = binascii.a2b_base64(str(entry.get("auth") or "")).decode("utf-8", "surrogateescape")
    except ValueError:  # binascii.Error is one
        raise Failure(f"the credentials for {key} are not readable: log in again") from None
    user, _, password = pair.partition(":")
    found = {"username": user, "password": password.rstrip("\0")}
    found |= {name: str(entry.get(name) or "") for name in ("identitytoken", "registrytoken")}
    found = {name: value for name, value in found.items() if value}
    return {**found, "serveraddress": key} if found else {}


def _ask(helper: str, verb: str, text: str) -> str | None:
    """What the helper answers; None where it knows nothing of it."""
    import subprocess

    if "/" in helper or not helper:
        raise Failure(f"{helper!r} is no credential helper's name")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run([program, verb], input=text, capture_output=True, text=True, check=False,
                              timeout=_HELPER_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"error getting credentials - err: {program}: {error}") from None
    if done.returncode == 0:
        return done.stdout
    said = (done.stdout or done.stderr).strip()
    if "credentials not found" in said:
        return None
    raise Failure(f"error getting credentials - err: {program} exited with {done.returncode}, out: `{said[:500]}`")
