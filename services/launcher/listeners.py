"""The services' listening sockets, owned by the launcher, so that they survive the services: the Engine API's, the
gRPC face's, and those that the configuration names."""

from __future__ import annotations

import contextlib
import grp
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chassis import config, listening
from chassis.errors import PierError
from chassis.instance import Instance
from chassis.listening import Address


@dataclass(frozen=True)
class _Settings(config.Settings):
    """As much of a service's configuration as is about listening."""

    engine_listen: tuple[str, ...] = config.option((), "")


class Listeners:
    """The sockets of one instance's services. ``close`` ends them, and removes their paths."""

    def __init__(self, instance: Instance, file: str | None, environ: Mapping[str, str] = os.environ) -> None:
        self._instance = instance
        self._file = file
        self._environ = environ
        self._open: dict[str, dict[Address, tuple[str, socket.socket]]] = {}

    def of(self, service: str) -> dict[str, int]:
        """Descriptors by label, as the configuration names them now: what is new is opened, what is gone closed. An
        address that cannot be had is left out: the service tries it, and says what is wrong with it."""
        wanted = dict(self._wanted(service))
        have = self._open.setdefault(service, {})
        for address in [each for each in have if each not in wanted]:
            have.pop(address)[1].close()
        for address, face in wanted.items():
            if address not in have:
                with contextlib.suppress(PierError):
                    have[address] = (listening.label(face, address), listening.bind(address))
        return {label: each.fileno() for label, each in have.values()}

    def close(self) -> None:
        for have in self._open.values():
            for address, (_, each) in have.items():
                each.close()
                if address.is_unix:
                    Path(address.host).unlink(missing_ok=True)
        self._open.clear()

    def _wanted(self, service: str) -> Iterator[tuple[Address, str]]:
        """Addresses with the face that each leads to."""
        is_gateway = service == "gateway"
        if is_gateway:
            yield Address(str(self._instance.api_socket)), "rest"
            yield Address(str(self._instance.engine_socket)), "engine"
        arguments = ["--instance", self._instance.name, *(["--config", self._file] if self._file else [])]
        try:
            settings = config.load(service, _Settings, arguments, self._environ, strict=False).settings
        except PierError:
            return
        texts = [(text, "rest" if is_gateway else "grpc") for text in settings.listen]
        texts += [(text, "engine") for text in settings.engine_listen if is_gateway]
        for text, face in texts:
            with contextlib.suppress(PierError):
                yield listening.parse(text), face


def open_to_group(directory: Path) -> None:
    """Let group ``pier``, where the host has it, pass through ``directory`` to the sockets: mode 0710, else 0700."""
    with contextlib.suppress(KeyError):
        os.chown(directory, -1, grp.getgrnam(listening.GROUP).gr_gid)
        os.chmod(directory, 0o710)  # noqa: S103 - the group is meant to pass
