"""Configuration: a frozen dataclass per service, filled from defaults, a TOML file, the environment and flags.

Later sources win in that order. A key ``log_level`` of service execd is ``log_level = …`` in the file's ``[execd]``
table (or in ``[pier]``, which holds for all services), ``PIER_EXECD_LOG_LEVEL`` (or ``PIER_LOG_LEVEL``) in the
environment, ``--log-level`` as a flag. The file is ``--config``, else ``PIER_CONFIG``, else /etc/pier/INSTANCE.toml
if it is there. An unknown key in the service's own table, or a value of the wrong type, is an error that names its
source.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from chassis.errors import InvalidArgument
from chassis.instance import DEFAULT, Instance, instance

_COMMON: Final = "pier"
_TRUE: Final = {"1", "true", "yes", "on"}
_FALSE: Final = {"0", "false", "no", "off"}


def option(default: Any, text: str, flags: tuple[str, ...] = (), *, live: bool = False) -> Any:
    """A setting with its default and its line of ``--help``; ``flags`` are further spellings of its flag. ``live``: it
    may change while the service runs (``chassis.reload``)."""
    return field(default=default, metadata={"help": text, "flags": flags, "live": live})


@dataclass(frozen=True)
class Settings:
    """What every service can be told; each service's own dataclass extends it."""

    instance: str = option(DEFAULT, "name of the engine instance on this host")
    root: Path | None = option(None, "state directory kept over reboots (default /var/lib/pier…)")
    run: Path | None = option(None, "run directory (default /run/pier…)")
    log_level: str = option("info", "debug, info, warning or error", live=True)
    metrics_port: int = option(-1, "loopback TCP port of /metrics; 0 for none, -1 for the instance's own")
    listen: tuple[str, ...] = option(
        (), "further addresses: tcp://ADDRESS:PORT (without tls_* on loopback alone), unix:///PATH, fd:// for all "
        "sockets that were passed", flags=("-H",))
    tls_ca: str = option("", "PEM file of the authority whose certificates clients on TCP must show")
    tls_cert: str = option("", "PEM file of the service's own certificate")
    tls_key: str = option("", "PEM file of its key")
    roles: str = option(
        "", "TOML file that says which certificate may do what; without it all may do everything", live=True)


S = TypeVar("S", bound=Settings)


def live(cls: type[Settings]) -> frozenset[str]:
    """The settings of ``cls`` that may change while the service runs."""
    return frozenset(item.name for item in dataclasses.fields(cls) if item.metadata.get("live"))


class Current(Generic[S]):
    """The settings that count now: whoever keeps this, and not the settings, sees what a reload has changed."""

    def __init__(self, settings: S) -> None:
        self.settings = settings


@dataclass(frozen=True)
class Value:
    """An effective value and where it came from."""

    key: str
    value: str
    source: str


@dataclass(frozen=True)
class Loaded(Generic[S]):
    settings: S
    values: tuple[Value, ...]
    instance: Instance


def load(
    service: str, cls: type[S], argv: Sequence[str], environ: Mapping[str, str] = os.environ, text: str = "",
    *, strict: bool = True,
) -> Loaded[S]:
    """Settings of ``service`` from all sources. InvalidArgument names a bad key or value and its source; a key of the
    service's table that ``cls`` does not know is one where this is ``strict``."""
    hints = typing.get_type_hints(cls)
    fields = {item.name: item for item in dataclasses.fields(cls)}
    parser = argparse.ArgumentParser(prog=service, description=text, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="configuration file (TOML)")
    for name, item in fields.items():
        several = typing.get_origin(hints[name]) is tuple
        parser.add_argument(
            *item.metadata.get("flags", ()), f"--{name.replace('_', '-')}", metavar=name.upper(),
            help=item.metadata.get("help", ""), action="append" if several else "store",
        )
    flags = vars(parser.parse_args(argv))

    values: dict[str, Any] = {name: item.default for name, item in fields.items()}
    sources = dict.fromkeys(fields, "default")

    def put(name: str, raw: object, source: str) -> None:
        values[name] = _convert(raw, hints[name], source, name)
        sources[name] = source

    def from_environment(name: str) -> None:
        for variable in (f"PIER_{name.upper()}", f"PIER_{service.upper()}_{name.upper()}"):
            if variable in environ:
                put(name, environ[variable], f"environment {variable}")

    def from_flags(name: str) -> None:
        if flags[name] is not None:
            given = flags[name]
            put(name, ",".join(given) if isinstance(given, list) else given, f"flag --{name.replace('_', '-')}")

    from_environment("instance")
    from_flags("instance")
    for section, name, raw, path in _file(flags["config"], environ, values["instance"], service):
        if name not in fields:
            if section == _COMMON or not strict:
                continue  # another service's key
            raise InvalidArgument(f"{path}: [{section}] has no key {name!r}", reason="BAD_CONFIG", field=name)
        put(name, raw, f"file {path}")
    for name in fields:
        from_environment(name)
        from_flags(name)
    settings = cls(**values)
    shown = tuple(Value(name, _show(values[name]), sources[name]) for name in fields)
    return Loaded(settings, shown, instance(settings.instance, settings.root, settings.run))


def _file(
    flag: str | None, environ: Mapping[str, str], name: str, service: str
) -> list[tuple[str, str, object, Path]]:
    given = flag or environ.get("PIER_CONFIG")
    path = Path(given) if given else Path("/etc/pier") / f"{name}.toml"
    if not path.exists():
        if given:
            raise InvalidArgument(f"{path}: no such configuration file", reason="BAD_CONFIG", field="config")
        return []
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{path}: {error}", reason="BAD_CONFIG", field="config") from error
    entries = []
    for section in (_COMMON, service):
        table = document.get(section, {})
        if not isinstance(table, dict):
            raise InvalidArgument(f"{path}: [{section}] is not a table", reason="BAD_CONFIG", field=section)
        entries += [(section, key, value, path) for key, value in table.items()]
    return entries


def _convert(raw: object, hint: Any, source: str, name: str) -> object:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kind = kinds[0]
    if kind is bool:
        word = str(raw).lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    elif kind is int and not isinstance(raw, bool):
        try:
            return int(str(raw))
        except ValueError:
            pass
    elif kind is float and not isinstance(raw, bool):
        try:
            return float(str(raw))
        except ValueError:
            pass
    elif kind is str and isinstance(raw, str):
        return raw
    elif kind is Path and isinstance(raw, str):
        return Path(raw)
    elif typing.get_origin(kind) is tuple:
        if isinstance(raw, str):
            return tuple(part.strip() for part in raw.split(",") if part.strip())
        if isinstance(raw, list) and all(isinstance(part, str) for part in raw):
            return tuple(raw)
    expected = {bool: "true or false", int: "an integer", float: "a number"}.get(kind, "a string")
    if typing.get_origin(kind) is tuple:
        expected = "a list of strings"
    raise InvalidArgument(f"{source}: {name}: {raw!r} is not {expected}", reason="BAD_CONFIG", field=name,
                          expected=expected)


def _show(value: object) -> str:
    if value is None:
        return ""
    return ",".join(value) if isinstance(value, tuple) else str(value)
