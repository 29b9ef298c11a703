"""One end of a TCP stream: ``send FD SECONDS``, or ``receive FD``, which prints bytes a second when the stream ends.

The socket is connected, and of whatever network namespace it was made in.
"""

from __future__ import annotations

import os
import socket
import sys
import time

_BLOCK = 1 << 17


def send(sock: socket.socket, seconds: float) -> None:
    block = bytes(_BLOCK)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sock.sendall(block)


def receive(sock: socket.socket) -> int:
    total, buffer = 0, bytearray(_BLOCK)
    while got := sock.recv_into(buffer):
        total += got
    return total


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[2])) as own:
        if sys.argv[1] == "send":
            send(own, float(sys.argv[3]))
        else:
            began = time.monotonic()
            total = receive(own)
            os.write(1, f"{total / (time.monotonic() - began):.0f}\n".encode())
