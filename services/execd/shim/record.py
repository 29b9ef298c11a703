"""Exit records: what ended how, on disk before anybody is told.

A record is one JSON object ``{"version": 1, "code", "signal", "oom", "time"}`` (protocol.Exit) in a file of its own,
written beside it, fsynced, renamed over it, and the directory fsynced: it is there whole, or not at all.
"""

from __future__ import annotations

import json
import os
from typing import Final

from execd.shim.protocol import Exit

VERSION: Final = 1
_NEW: Final = ".new"
_SIZE: Final = 512
"""Bytes: more than any record has."""


def reserve(path: str) -> None:
    """Have room on the disk for the record that will be written to ``path``, however full the disk is then. OSError."""
    fd = _open(path)
    try:
        os.posix_fallocate(fd, 0, _SIZE)
    finally:
        os.close(fd)


def write(path: str, exit_: Exit) -> None:
    """Make the record durable. OSError where the disk refuses; then no record is there."""
    data = json.dumps({"version": VERSION, **exit_._asdict()}).encode() + b"\n"
    fd = _open(path)
    try:
        os.write(fd, data)
        os.ftruncate(fd, len(data))
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(path + _NEW, path)
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _open(path: str) -> int:
    return os.open(path + _NEW, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def read(path: str) -> Exit | None:
    """The record at ``path``, None where there is none; ValueError where the file is something else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        message = json.loads(file.read(4096))
    if not isinstance(message, dict) or message.get("version") != VERSION:
        raise ValueError(f"{path} is no exit record of version {VERSION}")
    return Exit(int(message["code"]), int(message["signal"]), bool(message["oom"]), int(message["time"]))


def from_status(status: int, oom: bool, time_ns: int) -> Exit:
    """The exit that a wait status stands for; code is 128 + signal for a signal, as shells and Docker count."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return Exit(128 + number, number, oom, time_ns)
    return Exit(os.WEXITSTATUS(status), 0, oom, time_ns)
