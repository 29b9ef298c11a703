"""Mirrors of a registry: asked in the order of its file, by nobody in particular, the registry itself last."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chassis.errors import InvalidArgument, NotFound, Unavailable
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests.images import Packed
from tests.registry import Registry
from tests.service.imaged.served import Served, serving
from tests.service.imaged.test_registry_auth import AUTH, IMAGE, Fake, faked, handler
from tests.service.imaged.test_registry_ways import listening

EMPTY = Packed((), (), IMAGE.blobs[0])


@contextmanager
def cutting(fake: Fake) -> Iterator[str]:
    """A mirror that gives half of every layer and closes the connection."""
    whole: Any = handler(fake, "storage")

    class Cutting(whole):  # type: ignore[misc]  # it is made for this fake
        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            if "/blobs/" not in self.path:
                super().answer(status, body, **headers)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Cutting)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def hosts(directory: Path, domain: str, text: str) -> Path:
    place = directory / "hosts" / domain
    place.mkdir(parents=True, exist_ok=True)
    (place / "hosts.toml").write_text(text)
    return directory / "hosts"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "s").mkdir()
    yield tmp_path / "s"
    gc.collect()  # an error that a test looked at holds its frames, and these the channel's descriptors


async def test_mirrors_are_asked_in_their_order_under_their_own_names(state: Path, tmp_path: Path) -> None:
    empty, good = Fake(EMPTY), Fake(IMAGE)
    with listening("127.0.0.1", empty) as at_empty, listening("127.0.0.1", good) as at_good:
        directory = hosts(tmp_path, "registry.invalid", f"""
            [host."http://127.0.0.1:1"]
            [host."http://{at_empty}"]
            [host."http://{at_good}/proxy"]
            rewrite = {{ "^team/(.*)$" = "cache/$1" }}
        """)
        async with serving(state, registry_hosts=directory) as imaged:
            image = await imaged.pulled("registry.invalid/team/app:v1", auth=AUTH)
    assert list(image.familiar) == ["registry.invalid/team/app:v1"]
    assert next(path for _, path, _ in empty.seen) == "/v2/team/app/manifests/v1?ns=registry.invalid"
    assert all(path.startswith("/proxy/v2/cache/app/") for _, path, _ in good.seen)
    assert {sent for _, _, sent in [*empty.seen, *good.seen]} == {""}


async def test_a_mirror_that_breaks_off_is_gone_on_with_at_the_next(state: Path, tmp_path: Path) -> None:
    broken, own = Fake(IMAGE), Fake(IMAGE)
    with cutting(broken) as mirror, listening("127.0.0.1", own) as registry:
        directory = hosts(tmp_path, "registry.invalid", f'server = "http://{registry}"\n[host."http://{mirror}"]')
        async with serving(state, registry_hosts=directory) as imaged:
            assert len((await imaged.pulled("registry.invalid/app:v1")).layers) == 3
    assert any("/blobs/" in path for _, path, _ in own.seen)


async def test_37_credentials_go_to_the_registry_and_to_no_mirror(state: Path, tmp_path: Path) -> None:
    mirror = Fake(EMPTY)
    with faked() as fake, listening("127.0.0.1", mirror) as at:
        directory = hosts(tmp_path, "_default", f'[host."http://{at}"]')
        async with serving(state, registry_hosts=directory) as imaged:
            await imaged.pulled(f"{fake.hosts['registry']}/app:v1", auth=AUTH)
        assert fake.asked[0]["account"] == ["me"]
    assert {sent for _, _, sent in mirror.seen} == {""}


async def test_a_mirror_that_does_not_resolve_is_not_asked_what_a_tag_means(state: Path, tmp_path: Path) -> None:
    mirror, own = Fake(IMAGE), Fake(IMAGE)
    with listening("127.0.0.1", mirror) as at, listening("127.0.0.1", own) as registry:
        directory = hosts(tmp_path, registry, f'[host."http://{at}"]\ncapabilities = ["pull"]')
        async with serving(state, registry_hosts=directory) as imaged:
            await imaged.pulled(f"{registry}/app:v1")
    assert [path for _, path, _ in own.seen] == ["/v2/app/manifests/v1"]
    assert all("/blobs/" in path for _, path, _ in mirror.seen)


async def test_the_registrys_own_error_is_told_where_nobody_has_it(state: Path, tmp_path: Path) -> None:
    with listening("127.0.0.1", Fake(EMPTY)) as at, listening("127.0.0.1", Fake(EMPTY)) as registry:
        directory = hosts(tmp_path, registry, f'[host."http://{at}"]')
        async with serving(state, registry_hosts=directory) as imaged:
            with pytest.raises(NotFound):
                await imaged.pulled(f"{registry}/app:v9")
            (directory / registry / "hosts.toml").write_text("[host.\"ftp://x\"]")
            with pytest.raises(InvalidArgument, match=r'hosts\.toml: host\."ftp://x": not a URL') as refused:
                await imaged.pulled(f"{registry}/app:v1")
            assert refused.value.field == "registry_hosts"


async def test_a_registry_is_reached_by_its_ipv6_address(imaged: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThreadingHTTPServer, "address_family", socket.AF_INET6)
    fake = Fake(IMAGE)
    with listening("::1", fake) as at:
        host = "[::1]:" + at.rpartition(":")[2]
        assert list((await imaged.pulled(f"{host}/app:v1")).familiar) == [f"{host}/app:v1"]
    with pytest.raises(Unavailable, match="refused"):
        await imaged.pulled("[::1]:1/app:v1")


async def test_the_tags_of_a_repository_are_listed(imaged: Served, registry: Registry) -> None:
    for tag in ("v1", "v2", "latest"):
        registry.push("tagged/often", tag, IMAGE)
    request = pb.ListRemoteTagsRequest(repository=f"{registry.host}/tagged/often")
    answer = await imaged.call(rpc.ImageServiceStub, "ListRemoteTags", request)
    assert sorted(answer.tags) == ["latest", "v1", "v2"]
    with pytest.raises(NotFound):
        await imaged.call(rpc.ImageServiceStub, "ListRemoteTags", pb.ListRemoteTagsRequest(
            repository=f"{registry.host}/nothing"))
    with pytest.raises(InvalidArgument) as refused:
        await imaged.call(rpc.ImageServiceStub, "ListRemoteTags", pb.ListRemoteTagsRequest(repository="a:b"))
    assert refused.value.field == "repository"
