"""Forks of shims that nobody waits for any more leave nothing."""

from __future__ import annotations

import os
import signal

import pytest

from chassis.errors import DeadlineExceeded
from pier.exec.v1 import exec_pb2
from tests.service.execd.service import Execd


async def test_a_client_that_leaves_while_a_shim_is_forked_for_it_leaves_none(service: Execd) -> None:
    container = await service.create("/bin/true")
    zygote = service.zygote_pid()
    assert zygote is not None
    os.kill(zygote, signal.SIGSTOP)
    try:
        with pytest.raises(DeadlineExceeded):
            await service.call("OpenAttach", exec_pb2.OpenAttachRequest(id=container), 0.5)
    finally:
        os.kill(zygote, signal.SIGCONT)
    await service.remove(container)
    assert await service.fsck() == []
