"""Sockets of the outside host: made in its network namespace, used from anywhere in the world."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

from chassis import kernel
from tests.world import OUTSIDE


def open_socket(
    family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, namespace: Path = OUTSIDE
) -> socket.socket:
    """A socket that belongs to the outside host for as long as it lives, or to another network namespace, such as
    /proc/PID/ns/net. The caller closes it."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        # The thread ends in the other namespace: none is left that could be taken for one of the world's.
        fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.setns(fd, kernel.CLONE_NEWNET)
            made.append(socket.socket(family, kind))
        except OSError as error:
            made.append(error)
        finally:
            os.close(fd)

    thread = threading.Thread(target=make, name="outside")
    thread.start()
    thread.join()
    (result,) = made
    if isinstance(result, OSError):
        raise result
    return result


def listen(address: str, port: int = 0) -> socket.socket:
    """A TCP socket that listens on ``address`` of the outside host; port 0 lets the kernel choose."""
    listener = open_socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        listener.bind((address, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
