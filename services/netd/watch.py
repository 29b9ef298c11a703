"""Who else changes nftables: a netlink subscription in place of polling.

The kernel tells every committed change with the netlink port of the socket that made it, so netd's own changes are
told apart. A foreign change of the instance's table, or a lost notification, calls back once per batch.

Source: <linux/netfilter/nf_tables.h>; in all messages of interest attribute 1 is the table's name.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

from netd import netlink, nft

_NFNLGRP_NFTABLES: Final = 7
_SUBSYSTEM: Final = 10
_TABLE_NAME: Final = 1
_NFGENMSG: Final = 4
_NEWGEN: Final = 15
_RECEIVE_BUFFER: Final = 1 << 20
_MESSAGES_AT_ONCE: Final = 256


class NftWatch:
    """Calls ``on_foreign_change`` on the event loop when somebody else touched the table called ``table``, and
    ``on_other_change`` likewise for the table of another program called ``other``, whatever their families."""

    def __init__(
        self, table: str, on_foreign_change: Callable[[], None],
        other: str = "", on_other_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._callbacks = {table: on_foreign_change}
        if other:
            self._callbacks[other] = on_other_change
        self._own = nft.own_ports()
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, netlink.NETLINK_NETFILTER
        )
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            self._socket.bind((0, 0))
            self._socket.setsockopt(netlink.SOL_NETLINK, netlink.NETLINK_ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
        except BaseException:
            self._socket.close()
            raise
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looked = False

    def start(self) -> None:
        """Begin to listen on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._read)

    def stop(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop = None
        self._socket.close()

    def _read(self) -> None:
        touched: set[str] = set()
        self._looked = False
        for _ in range(_MESSAGES_AT_ONCE):
            try:
                data = self._socket.recv(1 << 18)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                touched.update(self._callbacks)
                continue
            if len(touched) < len(self._callbacks):
                for message in netlink.parse_messages(data):
                    touched.add(self._foreign_table(message))
                touched.discard("")
        for name, callback in self._callbacks.items():
            if name in touched:
                callback()

    def _foreign_table(self, message: netlink.Message) -> str:
        """Name of the table of interest that somebody else touched by this, "" for none."""
        if message.kind >> 8 != _SUBSYSTEM or message.kind & 0xFF >= _NEWGEN:
            return ""
        name = netlink.string_of(netlink.parse_attributes(message.body[_NFGENMSG:]).get(_TABLE_NAME))
        if name not in self._callbacks or message.port in self._own:
            return ""
        # libnftables opens a new socket after some errors: look again before somebody else is blamed. Once for all of
        # them: it takes time in proportion to the descriptors, and a flush is told element by element.
        if not self._looked:
            self._looked = True
            self._own = nft.own_ports()
        return "" if message.port in self._own else name
