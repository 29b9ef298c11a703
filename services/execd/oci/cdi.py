"""Devices by the Container Device Interface: what their vendors' specifications change in a container's document.

Source: CDI specification 0.8 (cncf-tags/container-device-interface, SPEC.md). A *kind* is "vendor.com/class", a
*qualified name* "vendor.com/class=name"; a specification, an administrator's file, gives each device of a kind its
*edits*, and edits that any device of it brings along. A directory that comes later takes the place of one before;
the same device twice in one directory is nobody's.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from chassis.errors import Conflict, InvalidArgument

DIRECTORIES: Final = (Path("/etc/cdi"), Path("/var/run/cdi"))
_NAME: Final = re.compile(
    r"(?:(?P<vendor>[A-Za-z](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?)/)?"
    r"(?P<class>[A-Za-z](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?)=(?P<device>[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,126}[A-Za-z0-9])?)",
    re.ASCII,
)
_FILE_MAX: Final = 4 << 20
_HOOKS: Final = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_NOT_BUILT: Final = ("intelRdt", "netDevices")
Document = dict[str, Any]


def check(name: str, field: str) -> None:
    """InvalidArgument (BAD_CDI_DEVICE) for what is no name of a device."""
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"invalid CDI device name {name[:200]!a}", reason="BAD_CDI_DEVICE", field=field,
                              expected='"vendor.com/class=name"')


def inject(document: Document, names: Sequence[str], directories: Sequence[Path] = DIRECTORIES) -> None:
    """Change a config.json as the devices' specifications say. Conflict (NO_CDI_DEVICE, BAD_CDI_SPEC)."""
    if not names:
        return
    known = _Registry(directories)
    edits: list[Mapping[str, Any]] = []
    for name in names:
        for found in known.edits(name):
            if found not in edits:  # those of a specification hold once for all its devices
                edits.append(found)
    for one in edits:
        try:
            _apply(document, one)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _bad_spec(f"of {', '.join(names)}: {error!r}") from error


class _Registry:
    """All the specifications of a node. Files that cannot be read are told where a device is not found."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._devices: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]] | None] = {}
        self._problems: list[str] = []
        for directory in directories:
            here: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]] | None] = {}
            for path in _files(directory):
                try:
                    document = _read(path)
                    found = {f"{document['kind']}={device['name']}": device for device in document["devices"]}
                except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                    self._problems.append(f"{path}: {error!r}")
                    continue
                common = document.get("containerEdits") or {}
                here.update(
                    (name, None if name in here else (common, device.get("containerEdits") or {}))
                    for name, device in found.items()
                )
            self._devices.update(here)

    def edits(self, name: str) -> Iterator[Mapping[str, Any]]:
        """Those of its specification and its own."""
        match = _NAME.fullmatch(name)
        assert match is not None, name  # checked when the container was created
        if match["vendor"] is None:
            vendors = {full.partition("/")[0] for full in self._devices if full.endswith(f"/{name}")}
            if len(vendors) > 1:
                raise Conflict(f"several vendors have the CDI device {name}: {', '.join(sorted(vendors))}",
                               reason="NO_CDI_DEVICE", field="spec.cdi_devices", expected="the vendor's name with it")
            if not vendors:
                kind, why = name.partition("=")[0], "; ".join((f"no CDI device {name}", *self._problems))
                raise Conflict(f'could not select device driver "" with capabilities: [[{kind}]]: {why}',
                               reason="NO_CDI_DEVICE", field="spec.cdi_devices")
            name = f"{vendors.pop()}/{name}"
        found = self._devices.get(name)
        if found is None:
            why = "two specifications have it" if name in self._devices else "; ".join(self._problems)
            raise Conflict(f"CDI device injection failed: unresolvable CDI devices {name}{': ' if why else ''}{why}",
                           reason="NO_CDI_DEVICE", field="spec.cdi_devices")
        yield from found


def _files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.suffix in (".json", ".yaml"))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        data = file.read(_FILE_MAX + 1)
    if len(data) > _FILE_MAX:
        raise ValueError(f"longer than {_FILE_MAX} bytes")
    if path.suffix == ".json":
        document = json.loads(data)
    else:
        import yaml

        try:
            document = yaml.safe_load(data)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
    if not isinstance(document, dict) or not isinstance(document.get("devices"), list):
        raise ValueError("no specification: it has no list of devices")
    return document


def _apply(document: Document, edits: Mapping[str, Any]) -> None:
    for name in _NOT_BUILT:
        if edits.get(name):
            raise _bad_spec(f"{name} is not supported")
    process, linux = document["process"], document["linux"]
    for entry in edits.get("env") or ():
        key = entry.partition("=")[0] + "="
        process["env"] = [*(value for value in process["env"] if not value.startswith(key)), entry]
    for node in edits.get("deviceNodes") or ():
        device = _node(node)
        linux["devices"] = [*(known for known in linux["devices"] if known["path"] != device["path"]), device]
        linux["resources"]["devices"].append({
            "allow": True, "type": device["type"], "major": device["major"], "minor": device["minor"],
            "access": node.get("permissions") or "rwm",
        })
    document["mounts"] += [_mount(mount) for mount in edits.get("mounts") or ()]
    for hook in edits.get("hooks") or ():
        name = hook["hookName"]
        if name not in _HOOKS:
            raise ValueError(f"hookName: {name!r}")
        document.setdefault("hooks", {}).setdefault(name, []).append(
            {key: hook[key] for key in ("path", "args", "env", "timeout") if hook.get(key)})
    groups = process["user"]["additionalGids"]
    groups += [int(group) for group in edits.get("additionalGids") or () if group and group not in groups]


def _node(node: Mapping[str, Any]) -> Document:
    """As OCI describes it: what is not said is what the host's node is."""
    path = _absolute(node["path"])
    kind, major, minor = node.get("type"), node.get("major"), node.get("minor")
    if not kind or major is None:
        source = node.get("hostPath") or path
        try:
            status = os.stat(source)
        except OSError as error:
            raise _bad_spec(f"{source}: {error.strerror}") from error
        kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            raise _bad_spec(f"{source}: not a device node")
        major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    device = {"path": path, "type": str(kind), "major": int(major), "minor": int(minor or 0)}
    return device | {key: int(node[key]) for key in ("fileMode", "uid", "gid") if node.get(key) is not None}


def _mount(mount: Mapping[str, Any]) -> Document:
    options = list(mount.get("options") or ())
    kind = mount.get("type") or "bind"
    if kind == "bind" and not {"bind", "rbind"} & set(options):
        options.insert(0, "rbind")
    return {"destination": _absolute(mount["containerPath"]), "source": mount["hostPath"], "type": kind,
            "options": options}


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise ValueError(f"{path!r} is not an absolute path")
    return path


def _bad_spec(what: str) -> Conflict:
    return Conflict(f"CDI specification {what}", reason="BAD_CDI_SPEC", field="spec.cdi_devices")
