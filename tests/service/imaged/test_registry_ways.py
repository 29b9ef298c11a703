"""The ways to a registry: TLS by the authorities and certificates of its directory, and a proxy."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from chassis.errors import Unavailable
from tests import certificates, world
from tests.service.imaged.served import serving
from tests.service.imaged.test_registry_auth import IMAGE, Fake, handler


@contextmanager
def listening(address: str, fake: Fake, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Host and port of a server that wants no login."""
    server = ThreadingHTTPServer((address, 0), handler(fake, "storage"))
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"{address}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for the world's address that is its own authority, and its key."""
    return certificates.make(tmp_path_factory.mktemp("tls"), "registry", world.ADDRESS)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made = tmp_path / "s"
    made.mkdir()
    return made


async def test_a_registrys_own_authority_is_trusted_for_it_alone(
    state: Path, tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*pair)
    with listening(world.ADDRESS, Fake(IMAGE), tls) as host:
        directory = tmp_path / "certs"
        other = directory / "registry.invalid"
        other.mkdir(parents=True)
        (other / "ca.crt").write_bytes(pair[0].read_bytes())
        async with serving(state, registry_certificates=directory) as imaged:
            with pytest.raises(Unavailable, match="tls: failed to verify certificate: self-signed"):
                await imaged.pulled(f"{host}/app:v1")
            other.rename(directory / host)
            assert len((await imaged.pulled(f"{host}/app:v1")).layers) == 3


async def test_a_registry_that_wants_a_client_certificate_gets_its_own(
    state: Path, tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*pair)
    tls.load_verify_locations(pair[0])
    tls.verify_mode = ssl.CERT_REQUIRED
    with listening(world.ADDRESS, Fake(IMAGE), tls) as host:
        directory = tmp_path / "certs" / host
        directory.mkdir(parents=True)
        (directory / "ca.crt").write_bytes(pair[0].read_bytes())
        async with serving(state, registry_certificates=directory.parent) as imaged:
            with pytest.raises(Unavailable):  # an alert, or a connection reset, whichever is read first
                await imaged.pulled(f"{host}/app:v1")
            for name, source in zip(("client.cert", "client.key"), pair, strict=True):
                (directory / name).write_bytes(source.read_bytes())
            assert len((await imaged.pulled(f"{host}/app:v1")).layers) == 3


async def test_the_proxy_of_the_environment_is_asked_for_others_and_never_for_this_machine(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, own = Fake(IMAGE), Fake(IMAGE)
    with listening("127.0.0.1", proxy) as at, listening("127.0.0.1", own) as registry:
        monkeypatch.setenv("http_proxy", f"http://{at}")
        async with serving(state, insecure_registries="registry.invalid,direct.invalid") as imaged:
            await imaged.pulled("registry.invalid/app:v1")
            assert {path.partition("/v2/")[0] for _, path, _ in proxy.seen} == {"http://registry.invalid"}
            before = len(proxy.seen)
            await imaged.pulled(f"{registry}/app:v1")
            assert len(proxy.seen) == before
            assert own.seen
    monkeypatch.setenv("no_proxy", "direct.invalid")
    async with serving(state, insecure_registries="direct.invalid") as imaged:
        with pytest.raises(Unavailable):
            await imaged.pulled("direct.invalid/app:v1")
    assert len(proxy.seen) == before
