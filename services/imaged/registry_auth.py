"""Credentials for one registry: challenges answered, tokens fetched and kept, and nothing told to anybody else.

A registry that wants to know who asks answers 401 with a challenge (RFC 7235). *Basic*: user name and password go with
every request from then on. *Bearer*: a token server, which the challenge names, gives a token for a *scope* (what is to
be done with which repository); it is asked with the user name and password, or with an identity token (OAuth 2 refresh
token), or by nobody in particular. Source: distribution's token authentication specification; docker login.

Credentials go to the registry's own origin and to the token server that it names, which must be HTTPS unless the
registry itself is spoken to by plain HTTP. They are not sent on when either redirects.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import yarl

from chassis.errors import Unauthenticated, Unavailable
from imaged.registry_body import beginning
from pier.image.v1 import image_pb2 as pb

_BODY: Final = 256 << 10
_LIFETIME: Final = 60.0
_MARGIN: Final = 5.0
"""Seconds before its end from which a token is fetched anew."""
_CLIENT: Final = "pier"
_SCHEME: Final = re.compile(r"\s*([A-Za-z]+)(?:\s+|$)")
_PARAMETER: Final = re.compile(r'\s*([A-Za-z_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,65536}")


@dataclass(frozen=True)
class Challenge:
    """One of a WWW-Authenticate header: scheme and parameters, both by lower-case name."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def challenges(header: str) -> list[Challenge]:
    """Those in the header, in its order; what cannot be read ends them."""
    found: list[Challenge] = []
    while match := _SCHEME.match(header):
        scheme, parameters = match[1].lower(), dict[str, str]()
        header = header[match.end():]
        while parameter := _PARAMETER.match(header):
            value = parameter[3] if parameter[2] is None else re.sub(r"\\(.)", r"\1", parameter[2])
            parameters[parameter[1].lower()] = value
            header = header[parameter.end():]
        found.append(Challenge(scheme, parameters))
    return found


@dataclass(frozen=True)
class _Token:
    value: str
    ends: float


class Authenticator:
    """What the registry at ``base`` is told of who asks. ``session`` fetches tokens."""

    def __init__(self, base: str, auth: pb.RegistryAuth, session: aiohttp.ClientSession) -> None:
        self._origin = yarl.URL(base).origin()
        self._auth = auth
        self._session = session
        self._basic = False
        self._tokens: dict[str, _Token] = {}
        self._challenge: Challenge | None = None
        self._fetching = asyncio.Lock()

    async def header(self, url: yarl.URL, scope: str) -> dict[str, str]:
        """The Authorization header for a request to ``url``; nothing for another origin than the registry's."""
        if url.origin() != self._origin:
            return {}
        if self._auth.registry_token:
            return {"Authorization": f"Bearer {self._auth.registry_token}"}
        if self._basic:
            return {"Authorization": self._basic_value()}
        if self._challenge is not None:
            return {"Authorization": f"Bearer {await self._token(scope)}"}
        return {}

    def answer(self, response: aiohttp.ClientResponse, scope: str, sent: str | None) -> bool:
        """Take a 401's challenges up; whether the request is worth another try. ``sent``: the header that it had."""
        if self._auth.registry_token or response.url.origin() != self._origin:
            return False
        for challenge in challenges(", ".join(response.headers.getall("WWW-Authenticate", []))):
            if challenge.scheme == "basic" and self._auth.username:
                self._basic = True
                return sent is None
            if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                self._challenge = challenge
                kept = self._tokens.get(scope)
                if sent is not None and kept is not None and sent == f"Bearer {kept.value}":
                    del self._tokens[scope]  # it has ended before its time, or does not allow this
                return True
        return False

    def _basic_value(self) -> str:
        pair = f"{self._auth.username}:{self._auth.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    async def _token(self, scope: str) -> str:
        async with self._fetching:  # several layers at once want the same one
            kept = self._tokens.get(scope)
            if kept is None or kept.ends < time.monotonic():
                kept = self._tokens[scope] = await self._fetch(scope)
            return kept.value

    async def _fetch(self, scope: str) -> _Token:
        assert self._challenge is not None
        realm = yarl.URL(self._challenge.parameters["realm"])
        if realm.scheme != "https" and not (realm.scheme == "http" and self._origin.scheme == "http"):
            raise Unavailable(f"registry {self._origin.host}: its token server {realm.host} is not spoken to by HTTPS",
                              reason="REGISTRY_REFUSED")
        service = self._challenge.parameters.get("service", "")
        scope = scope or self._challenge.parameters.get("scope", "")
        options: dict[str, Any] = {"allow_redirects": False}
        if self._auth.identity_token:
            method = "POST"
            options["data"] = {"grant_type": "refresh_token", "refresh_token": self._auth.identity_token,
                               "service": service, "client_id": _CLIENT, "scope": scope}
        else:
            method = "GET"
            wanted = [("service", service)] if service else []
            wanted += [("scope", one) for one in scope.split()]
            if self._auth.username:
                wanted.append(("account", self._auth.username))
                options["headers"] = {"Authorization": self._basic_value()}
            realm = realm.update_query([*realm.query.items(), *wanted])
        try:
            async with self._session.request(method, realm, **options) as response:
                raw = await beginning(response, _BODY)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"registry {self._origin.host}: its token server {realm.host} does not answer: "
                              f"{str(error) or type(error).__name__}", reason="REGISTRY_DOWN") from error
        if status in (400, 401, 403):
            given = self._auth.username or self._auth.identity_token
            raise Unauthenticated(
                "unauthorized: incorrect username or password" if given else "unauthorized: authentication required",
                reason="REGISTRY_AUTH")
        if status != 200:
            raise Unavailable(f"registry {self._origin.host}: its token server {realm.host} answers {status}",
                              reason="REGISTRY_REFUSED")
        return self._read(raw, realm)

    def _read(self, raw: bytes, realm: yarl.URL) -> _Token:
        try:
            body = json.loads(raw)
            value = body.get("token") or body["access_token"]
            lifetime = float(body.get("expires_in") or _LIFETIME)
            if not isinstance(value, str) or not _TOKEN.fullmatch(value):
                raise ValueError("no token")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise Unavailable(f"registry {self._origin.host}: its token server {realm.host} answers no token",
                              reason="REGISTRY_REFUSED") from error
        return _Token(value, time.monotonic() + max(0.0, min(lifetime, 86400.0) - _MARGIN))


def scope_of(path: str, action: str) -> str:
    """The scope of what is done (``pull`` or ``pull,push``) with a repository; "" for the registry itself. Several are
    joined by spaces."""
    return f"repository:{path}:{action}" if path else ""
