"""Row 67 of the attacks: a page in somebody's browser, and a name that comes to mean the engine's address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.caller import Caller, Certificate
from chassis.errors import PermissionDenied
from gateway.rest import browsers

PLAIN = Caller(address="127.0.0.1:50000")
TLS = Caller(address="192.0.2.1:50000", certificate=Certificate("c"))
UNIX = Caller(uid=0, pid=1)


@pytest.mark.parametrize("host", [
    "127.0.0.1:2375", "127.0.0.1", "[::1]:2375", "[::1]", "localhost:2375", "LOCALHOST", "",
])
def test_67_who_dials_loopback_by_hand_is_served(host: str) -> None:
    browsers.check({"Host": host}, PLAIN)


@pytest.mark.parametrize("host", ["evil.example:2375", "127.0.0.1.evil.example", "localhost.evil.example", "x", "[::1",
                                  "evil@127.0.0.1.example", "api.moby.localhost"])
def test_67_a_name_that_means_the_address_is_refused_without_tls(host: str) -> None:
    with pytest.raises(PermissionDenied) as caught:
        browsers.check({"Host": host}, PLAIN)
    assert caught.value.reason == "FOREIGN_HOST"
    browsers.check({"Host": host}, TLS)
    browsers.check({"Host": host}, UNIX)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://127.0.0.1:2376", "http://[::1", "file://"])
@pytest.mark.parametrize("who", [PLAIN, TLS])
def test_67_another_page_is_refused_on_tcp(who: Caller, origin: str) -> None:
    with pytest.raises(PermissionDenied) as caught:
        browsers.check({"Host": "127.0.0.1:2375", "Origin": origin}, who)
    assert caught.value.reason == "FOREIGN_PAGE"
    browsers.check({"Host": "127.0.0.1:2375", "Origin": origin}, UNIX)


def test_a_page_of_the_address_itself_is_served() -> None:
    browsers.check({"Host": "127.0.0.1:2375", "Origin": "http://127.0.0.1:2375"}, PLAIN)


@given(st.text(), st.text())
def test_67_whatever_is_sent_is_served_or_refused(host: str, origin: str) -> None:
    try:
        browsers.check({"Host": host, "Origin": origin}, PLAIN)
    except PermissionDenied:
        return
    assert origin.lower().endswith(host.lower())
