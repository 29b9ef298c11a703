"""Which of the ssh agent protocol is handed on."""

import pytest

from chassis import ssh_agent


@pytest.mark.parametrize(("message", "is_handed_on"), [
    (b"\x0b", True), (b"\x0d" + b"key", True),
    (b"\x0b\0", False), (b"", False), (b"\x0d" * (256 << 10), True), (b"\x0d" * ((256 << 10) + 1), False),
    *((bytes([number]) + b"x", False) for number in (1, 7, 9, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 28)),
])
def test_identities_and_signatures_are_asked_for_and_nothing_else(message, is_handed_on):
    assert ssh_agent.is_handed_on(message) is is_handed_on


@pytest.mark.parametrize("answer", [b"", b"x" * ((256 << 10) + 1)], ids=["none", "too long"])
def test_an_answer_that_is_none_is_a_failure(answer):
    assert ssh_agent.framed(answer) == b"\0\0\0\1\5"
