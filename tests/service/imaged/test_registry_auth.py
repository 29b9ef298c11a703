"""Credentials go to the registry and its token server, and to nobody else."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Unauthenticated, Unavailable
from deploy.busybox_image import Image, layer
from imaged.registry_auth import Challenge, challenges
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests.images import Entry, Packed, pack
from tests.service.imaged.served import Served, serving

IMAGE = pack(Image([layer([Entry(f"f{number}", data=bytes(100_000))]) for number in range(3)]))
AUTH = pb.RegistryAuth(username="me", password="secret")
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()


@dataclass
class Fake:
    """A registry that wants tokens, the server that gives them, and a store that blobs are redirected to: three origins
    on loopback, and each request with its Authorization header."""

    packed: Packed
    uses: int = 1000
    """How often a token holds."""
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    redirect: bool = True
    hosts: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, path: str) -> tuple[bytes, str] | None:
        name = path.rpartition("/")[2]
        for blob in [*self.packed.blobs, *self.packed.manifests, self.packed.top]:
            if name == "sha256:" + hashlib.sha256(blob.data).hexdigest() or (name == "v1" and blob is self.packed.top):
                return blob.data, blob.media_type
        return None


def handler(fake: Fake, role: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            return

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body[:10])
            if role == "tokens":  # the rest comes when the reader has had this
                self.wfile.flush()
                time.sleep(0.05)
            self.wfile.write(body[10:])

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            fake.asked.append(form)
            self.give(form["refresh_token"] == ["idtoken"])

        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization", "")
            with fake.lock:
                fake.seen.append((role, self.path, authorization))
            url = urlsplit(self.path)
            if role == "tokens":
                fake.asked.append(parse_qs(url.query))
                self.give(authorization in ("", BASIC))
                return
            if role == "registry" and not self.allowed(authorization):
                self.answer(401, b'{"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}',
                            WWW_Authenticate=f'Bearer realm="http://{fake.hosts["tokens"]}/token",service="fake"')
                return
            if url.path == "/v2/":
                self.answer(200, b"{}")
                return
            found = fake.find(url.path)
            if found is None:
                self.answer(404)
            elif role == "registry" and "/blobs/" in url.path and fake.redirect:
                self.answer(307, Location=f"http://{fake.hosts['storage']}{url.path}")
            else:
                self.answer(200, found[0], Content_Type=found[1] or "application/octet-stream")

        def give(self, good: bool) -> None:
            if not good:
                self.answer(401, b"{}")
                return
            with fake.lock:
                token = f"token{len(fake.tokens)}"
                fake.tokens[token] = fake.uses
            self.answer(200, json.dumps({"token": token, "expires_in": 300}).encode())

        def allowed(self, authorization: str) -> bool:
            token = authorization.removeprefix("Bearer ")
            with fake.lock:
                if fake.tokens.get(token, 0) <= 0:
                    return False
                fake.tokens[token] -= 1
                return True

    return Handler


@contextmanager
def faked(**options: Any) -> Iterator[Fake]:
    fake = Fake(IMAGE, **options)
    servers = []
    for role in ("registry", "tokens", "storage"):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(fake, role))
        server.daemon_threads = True
        fake.hosts[role] = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
    try:
        yield fake
    finally:
        for server, thread in servers:
            server.shutdown()
            thread.join()
            server.server_close()


async def test_a_token_is_fetched_for_the_repository_and_credentials_go_nowhere_else(imaged: Served) -> None:
    with faked() as fake:
        image = await imaged.pulled(f"{fake.hosts['registry']}/app:v1", auth=AUTH)
        assert len(image.layers) == 3
        assert fake.asked == [{"service": ["fake"], "scope": ["repository:app:pull"], "account": ["me"]}]
        assert {sent for role, _, sent in fake.seen if role == "tokens"} == {BASIC}
        assert {sent for role, _, sent in fake.seen if role == "registry"} == {"", "Bearer token0"}
        assert {sent for role, _, sent in fake.seen if role == "storage"} == {""}
        assert any(role == "storage" for role, _, _ in fake.seen)


async def test_a_token_that_ends_in_the_middle_of_a_pull_is_fetched_anew(tmp_path: Path) -> None:
    with faked(uses=1, redirect=False) as fake:
        async with serving(tmp_path, downloads=1) as imaged:
            image = await imaged.pulled(f"{fake.hosts['registry']}/app:v1", auth=AUTH)
        assert len(image.layers) == 3
        assert len(fake.tokens) > 3


async def test_anybody_gets_a_token_where_the_server_gives_it_to_anybody(imaged: Served) -> None:
    with faked() as fake:
        await imaged.pulled(f"{fake.hosts['registry']}/app:v1")
        assert {sent for role, _, sent in fake.seen if role == "tokens"} == {""}


async def test_an_identity_token_is_exchanged_and_a_registry_token_is_sent_as_it_is(imaged: Served) -> None:
    with faked() as fake:
        name = f"{fake.hosts['registry']}/app:v1"
        await imaged.pulled(name, auth=pb.RegistryAuth(identity_token="idtoken"))
        assert fake.asked[0]["grant_type"] == ["refresh_token"]
        assert fake.asked[0]["scope"] == ["repository:app:pull"]
        fake.tokens["own"] = 1000
        before = len(fake.asked)
        await imaged.pulled(name, auth=pb.RegistryAuth(registry_token="own"))
        assert len(fake.asked) == before


async def login(imaged: Served, registry: str, auth: pb.RegistryAuth) -> None:
    await imaged.call(rpc.ImageServiceStub, "Login", pb.LoginRequest(registry=registry, auth=auth))


async def test_a_login_is_tried_against_the_registry(imaged: Served) -> None:
    with faked() as fake:
        await login(imaged, fake.hosts["registry"], AUTH)
        with pytest.raises(Unauthenticated, match="incorrect username or password"):
            await login(imaged, fake.hosts["registry"], pb.RegistryAuth(username="me", password="wrong"))
        with pytest.raises(Unauthenticated):
            await login(imaged, fake.hosts["registry"], pb.RegistryAuth(registry_token="wrong"))
    with pytest.raises(Unavailable):
        await login(imaged, "127.0.0.1:1", AUTH)


async def test_a_client_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    place = tmp_path / "certs" / "registry.invalid"
    place.mkdir(parents=True)
    (place / "ca.crt").write_text("nonsense")
    (tmp_path / "s").mkdir()
    async with serving(tmp_path / "s", registry_certificates=tmp_path / "certs") as served:
        with pytest.raises(Exception, match=r"ca\.crt"):
            await login(served, "registry.invalid", AUTH)


@pytest.mark.parametrize(("header", "expected"), [
    ('Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"',
     [Challenge("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"})]),
    ('Basic realm="a \\"b\\""', [Challenge("basic", {"realm": 'a "b"'})]),
    ("BASIC", [Challenge("basic", {})]),
    ('Basic realm=x, Bearer realm="https://a"',
     [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "https://a"})]),
    ("", []),
])
def test_challenges_are_read(header: str, expected: list[Challenge]) -> None:
    assert challenges(header) == expected


@given(st.text(max_size=200))
def test_any_header_is_read_without_harm(header: str) -> None:
    challenges(header)
