"""On which TCP addresses the Engine API may be."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from chassis import listening
from chassis.caller import Caller
from chassis.door import Doors
from chassis.errors import InvalidArgument
from chassis.tls_files import TlsFiles
from gateway.settings import GatewaySettings
from tests import certificates


async def nobody(_: socket.socket, who: Caller) -> None:
    raise AssertionError("nobody comes")


def doors(**settings: Any) -> Doors:
    given = GatewaySettings(**settings)
    tls_files = TlsFiles.of(given)
    return Doors(listening.opened(given.listen, []), tls_files, nobody)


@pytest.mark.parametrize("settings, words", [
    ({"listen": ("tcp://0.0.0.0:2375",)}, "whoever reaches it is root here"),
    ({"listen": ("tcp://[::]:2375",)}, "whoever reaches it is root here"),
    ({"listen": ("tcp://localhost:2375",)}, "is no address"), ({"listen": ("tcp://127.0.0.1:70000",)}, "is no address"),
    ({"listen": ("tcp://999.0.0.1:1",)}, "is no address"), ({"listen": ("unix://x",)}, "is no address"),
    ({"listen": ("fd://",)}, "no socket was passed"), ({"tls_cert": "/nope"}, "tls_ca: TLS needs an authority"),
    ({"tls_ca": "/nope", "tls_cert": "/nope", "tls_key": "/nope"}, "tls_ca: no such file"),
])
async def test_what_would_be_open_to_everybody_or_is_none_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        doors(**settings)


async def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    one, other = (certificates.make(tmp_path, name, "127.0.0.1") for name in ("one", "other"))
    with pytest.raises(InvalidArgument, match="tls_cert"):
        doors(tls_ca=str(one.certificate), tls_cert=str(one.certificate), tls_key=str(other.key))


async def test_an_address_that_is_taken_is_named() -> None:
    async with doors(listen=("tcp://127.0.0.1:39871",)).serving():
        with pytest.raises(InvalidArgument, match="39871: Address already in use"):
            doors(listen=("tcp://127.0.0.1:39871",))
