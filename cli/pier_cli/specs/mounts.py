"""``-v``, ``--tmpfs`` and ``--mount``."""

from __future__ import annotations

import posix

from pier_cli.failure import Failure
from pier_cli.flags import parse_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TYPES = ("bind", "volume", "tmpfs", "image", "npipe", "cluster")


def parse_volumes(specs: list[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Binds (``-v SOURCE:TARGET[:OPTIONS]``) and anonymous volumes (``-v TARGET``)."""
    binds: list[str] = []
    volumes: dict[str, dict[str, str]] = {}
    for spec in specs:
        if not spec:
            raise Failure("invalid empty volume spec")
        source, colon, rest = spec.partition(":")
        if not colon:
            volumes[spec] = {}
            continue
        if source.startswith("."):
            source = absolute(source)
        binds.append(f"{source}:{rest}")
    return binds, volumes


def absolute(path: str) -> str:
    """``path`` from the root, "." and ".." resolved by their words."""
    parts: list[str] = []
    for part in (path if path.startswith("/") else f"{posix.getcwd()}/{path}").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def parse_tmpfs(specs: list[str]) -> dict[str, str]:
    """``--tmpfs PATH[:OPTIONS]``."""
    return {path: options for path, _, options in (spec.partition(":") for spec in specs)}


def _csv_error(column: int, what: str) -> ValueError:
    return ValueError(f"parse error on line 1, column {column}: {what}")


def csv_fields(text: str) -> list[str]:
    """Fields between commas; a field in double quotes may hold some, and two for one. ValueError as Go's reader."""
    fields: list[str] = []
    position = 0
    while True:
        if text.startswith('"', position):
            position += 1
            field = ""
            while True:
                end = text.find('"', position)
                if end < 0:
                    raise _csv_error(len(text) + 1, 'extraneous or missing " in quoted-field')
                field += text[position:end]
                position = end + 1
                if not text.startswith('"', position):
                    break
                field += '"'
                position += 1
            if position < len(text) and text[position] != ",":
                raise _csv_error(position, 'extraneous or missing " in quoted-field')
        else:
            end = text.find(",", position)
            end = len(text) if end < 0 else end
            field = text[position:end]
            if '"' in field:
                column = position + field.index('"') + 1
                raise _csv_error(column, 'bare " in non-quoted-field')
            position = end
        fields.append(field)
        if position >= len(text):
            return fields
        position += 1


def parse_mount(text: str) -> dict[str, Any]:
    """``type=bind,source=/a,target=/b,readonly`` as the API's Mount. ValueError with docker's words."""
    mount: dict[str, Any] = {"Type": "volume"}
    kinds = {"bind": "BindOptions", "volume": "VolumeOptions", "tmpfs": "TmpfsOptions", "image": "ImageOptions"}

    def options(kind: str) -> dict[str, Any]:
        found: dict[str, Any] = mount.setdefault(kinds[kind], {})
        return found

    for field in csv_fields(text):
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals:
            if key in ("readonly", "ro"):
                mount["ReadOnly"] = True
            elif key == "volume-nocopy":
                options("volume")["NoCopy"] = True
            elif key == "bind-nonrecursive":
                options("bind")["NonRecursive"] = True
            else:
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            continue
        _set(mount, options, key, value, field)
    _check(mount, kinds)
    return mount


def _flag(key: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _set(mount: dict[str, Any], options: Any, key: str, value: str, field: str) -> None:
    if key == "type":
        mount["Type"] = value.lower()
    elif key in ("source", "src"):
        mount["Source"] = absolute(value) if value == "." or value.startswith(("./", "../")) else value
    elif key in ("target", "dst", "destination"):
        mount["Target"] = value
    elif key in ("readonly", "ro"):
        mount["ReadOnly"] = _flag(key, value)
    elif key == "consistency":
        mount["Consistency"] = value.lower()
    elif key == "bind-propagation":
        options("bind")["Propagation"] = value.lower()
    elif key == "bind-nonrecursive":
        options("bind")["NonRecursive"] = _flag(key, value)
    elif key == "bind-recursive":
        _recursive(options("bind"), value)
    elif key == "volume-subpath":
        options("volume")["Subpath"] = value
    elif key == "volume-nocopy":
        options("volume")["NoCopy"] = _flag(key, value)
    elif key == "volume-label":
        name, _, text = value.partition("=")
        options("volume").setdefault("Labels", {})[name] = text
    elif key == "volume-driver":
        options("volume").setdefault("DriverConfig", {})["Name"] = value
    elif key == "volume-opt":
        name, _, text = value.partition("=")
        options("volume").setdefault("DriverConfig", {}).setdefault("Options", {})[name] = text
    elif key == "image-subpath":
        options("image")["Subpath"] = value
    elif key == "tmpfs-size":
        from pier_cli.units import parse_bytes

        try:
            options("tmpfs")["SizeBytes"] = parse_bytes(value)
        except ValueError:
            raise ValueError(f"invalid value for {key}: {value}") from None
    elif key == "tmpfs-mode":
        try:
            options("tmpfs")["Mode"] = int(value, 8)
        except ValueError:
            raise ValueError(f"invalid value for {key}: {value}") from None
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _recursive(options: dict[str, Any], value: str) -> None:
    if value == "enabled":
        pass
    elif value == "disabled":
        options["NonRecursive"] = True
    elif value == "writable":
        options["ReadOnlyNonRecursive"] = True
    elif value == "readonly":
        options["ReadOnlyForceRecursive"] = True
    else:
        known = '"enabled", "disabled", "writable", or "readonly"'
        raise ValueError(f"invalid value for bind-recursive: {value} (must be {known})")


def _check(mount: dict[str, Any], kinds: dict[str, str]) -> None:
    if not mount.get("Type"):
        raise ValueError("type is required")
    if not mount.get("Target"):
        raise ValueError("target is required")
    for kind, name in kinds.items():
        if name in mount and mount["Type"] != kind:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{mount['Type']}'")
