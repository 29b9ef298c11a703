"""Values of flags, each checked by itself: a function takes the text and raises ValueError with docker's words."""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SYSCTLS = (
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
    "kernel.shm_rmid_forced",
)
_ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)


def is_address(text: str) -> bool:
    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
            return True
        except (OSError, ValueError):
            continue
    return False


def attach(text: str) -> str:
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def env(text: str) -> str:
    if not text.partition("=")[0]:
        raise ValueError(f"invalid environment variable: {text}")
    return text


def label(text: str) -> str:
    if not text.partition("=")[0]:
        raise ValueError(f"invalid label '{text}': empty name")
    return text


def link(text: str) -> str:
    if not text:
        raise ValueError("empty string specified for links")
    if text.count(":") > 1:
        raise ValueError(f"bad format for links: {text}")
    return text


def extra_host(text: str) -> str:
    """``name:address`` or ``name=address``, as ``name:address``."""
    colon, equals = text.find(":"), text.find("=")
    at = equals if equals >= 0 and (colon < 0 or equals < colon) else colon
    name, address = (text[:at], text[at + 1:]) if at > 0 else ("", "")
    if not name or not address:
        raise ValueError(f'bad format for add-host: "{text}"')
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address != "host-gateway" and not is_address(address):
        raise ValueError(f'invalid IP address in add-host: "{address}"')
    return f"{name}:{address}"


def address(text: str) -> str:
    if not is_address(text.strip()):
        raise ValueError(f"IP address is not correctly formatted: {text}")
    return text.strip()


def sysctl(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not (key in _SYSCTLS or key.startswith(("net.", "fs.mqueue."))):
        raise ValueError(f"sysctl '{text}' is not allowed")
    return key, value


def ulimit(text: str) -> dict[str, Any]:
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    from pier_cli.flags import parse_int

    values = [parse_int(part) for part in parts]
    soft, hard = values[0], values[-1]
    if soft > hard != -1 or (soft == -1 != hard):
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Soft": soft, "Hard": hard}


def cpus(text: str) -> int:
    """A decimal or fraction of CPUs in billionths."""
    top, slash, bottom = text.partition("/")
    whole, _, fraction = top.lstrip("+-").partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdigit()) or (slash and not (bottom.isdigit() and int(bottom))):
        raise ValueError(f"failed to parse {text} as a rational number")
    scaled = int(digits) * 10**9
    divisor: int = 10 ** len(fraction) * (int(bottom) if slash else 1)
    if scaled % divisor:
        raise ValueError("value is too precise")
    return -(scaled // divisor) if top.startswith("-") else scaled // divisor


def device_rule(text: str) -> str:
    """``c 1:3 mr``."""
    parts = text.split(" ")
    numbers = parts[1].split(":") if len(parts) == 3 else []
    if (
        len(numbers) != 2 or parts[0] not in ("a", "b", "c") or not all(n == "*" or n.isdecimal() for n in numbers)
        or not 1 <= len(parts[2]) <= 3 or not set(parts[2]) <= set("rwm")
    ):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def device_limit(name: str, read: Callable[[str], int]) -> Callable[[str], dict[str, Any]]:
    """A reader of ``/dev/PATH:VALUE``; ``name`` is the value's key."""

    def parse(text: str) -> dict[str, Any]:
        path, colon, value = text.rpartition(":")
        if not colon or not path.startswith("/dev/"):
            raise ValueError(f"bad format for device path: {text}")
        number = read(value)
        if number < 0:
            raise ValueError(f"invalid {name.lower()} for device: {text}")
        return {"Path": path, name: number}

    return parse


def network(text: str) -> dict[str, Any]:
    """``--network NAME`` or ``name=NAME,alias=…,ip=…,ip6=…,mac-address=…,driver-opt=…,gw-priority=…``."""
    if "=" not in text:
        return {"name": text}
    from pier_cli.flags import parse_int
    from pier_cli.specs.mounts import csv_fields

    found: dict[str, Any] = {"name": ""}
    for field in csv_fields(text):
        key, equals, value = field.partition("=")
        key, value = key.strip().lower(), value.strip()
        if not equals:
            raise ValueError(f"invalid field {field}")
        if key in ("name", "ip", "ip6", "mac-address"):
            found[key] = value
        elif key in ("alias", "link-local-ip"):
            found.setdefault(key, []).append(value)
        elif key == "driver-opt":
            name, pair, setting = value.partition("=")
            if not pair:
                raise ValueError(f"invalid key value pair format in driver options: {value}")
            found.setdefault(key, {})[name] = setting
        elif key == "gw-priority":
            found[key] = parse_int(value)
        else:
            raise ValueError(f"invalid field key {key}")
    if not found["name"]:
        raise ValueError("network name/id is not specified")
    return found


def pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"invalid argument: {text}")
    return key, value
