"""On which TCP addresses the Engine API may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from chassis.errors import InvalidArgument
from gateway.settings import GatewaySettings
from gateway.tcp import Listeners
from tests import certificates


async def nothing(_: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError("nobody asks")


def listeners(**settings: Any) -> Listeners:
    return Listeners(GatewaySettings(**settings), web.Server(nothing))


@pytest.mark.parametrize("settings, words", [
    ({"listen": ("tcp://0.0.0.0:2375",)}, "whoever reaches it is root here"),
    ({"listen": ("tcp://[::]:2375",)}, "whoever reaches it is root here"),
    ({"listen": ("tcp://localhost:2375",)}, "is no address"), ({"listen": ("tcp://127.0.0.1:70000",)}, "is no address"),
    ({"listen": ("tcp://999.0.0.1:1",)}, "is no address"), ({"listen": ("unix:///x",)}, "is no address"),
    ({"tls_cert": "/nope"}, "tls_ca: TLS needs an authority"),
    ({"tls_ca": "/nope", "tls_cert": "/nope", "tls_key": "/nope"}, "tls_ca: no such file"),
])
async def test_what_would_be_open_to_everybody_or_is_none_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        listeners(**settings)


async def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    one, other = (certificates.make(tmp_path, name, "127.0.0.1") for name in ("one", "other"))
    with pytest.raises(InvalidArgument, match="tls_cert"):
        listeners(tls_ca=str(one.certificate), tls_cert=str(one.certificate), tls_key=str(other.key))


async def test_an_address_that_is_taken_is_named() -> None:
    async with listeners(listen=("tcp://127.0.0.1:39871",)).serving():
        with pytest.raises(InvalidArgument, match="39871: Address already in use"):
            async with listeners(listen=("tcp://127.0.0.1:39871",)).serving():
                pass
