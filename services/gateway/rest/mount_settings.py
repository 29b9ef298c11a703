"""Binds, Mounts and Tmpfs → MountSpecs."""

from __future__ import annotations

import posixpath
import re
from typing import Final

from chassis.errors import InvalidArgument, Unimplemented
from chassis.ids import name as check_name
from chassis.ids import new_id
from gateway.rest.body import Fields, as_list, as_strings
from gateway.rest.draft import Draft
from gateway.rest.errors import bad
from pier.engine.v1 import engine_pb2
from pier.types.v1 import types_pb2

_PROPAGATIONS: Final = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
_IGNORED: Final = frozenset({"z", "Z", "consistent", "cached", "delegated", "nocopy"})
"""Modes that mean nothing on Linux without SELinux, or for a bind."""
_TMPFS_OPTIONS: Final = frozenset({"size", "mode", "uid", "gid", "nr_inodes"})
_OPPOSITES: Final = {"ro": "rw", "rw": "ro", "nosuid": "suid", "suid": "nosuid", "nodev": "dev", "dev": "nodev",
                     "noexec": "exec", "exec": "noexec"}
"""Flags of a tmpfs: the last one holds."""
ANONYMOUS: Final = "com.docker.volume.anonymous"
_SIZE: Final = re.compile(r"\d+[kKmMgG]?|\d+%")


def binds(draft: Draft, fields: Fields, key: str) -> None:
    """"source:target[:modes]": a source with a slash before it is the host's, and made as a directory where it is
    missing, as Docker does; another is a volume's name."""
    for text in fields.strings(key):
        _bind(draft, text, fields.path(key))


def _bind(draft: Draft, text: str, where: str) -> None:
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not all(parts[:2]):
        raise bad(f"invalid volume specification: '{text[:200]}'", field=where)
    source, target = parts[0], parts[1]
    _target(target, f"invalid volume specification: '{text[:200]}': invalid mount config for type \"bind\": ", where)
    if not source.startswith("/"):
        draft.volumes.append(_named_volume(text, where))
        return
    spec = types_pb2.MountSpec(
        type="bind", source=_bytes(posixpath.normpath(source)), target=_bytes(posixpath.normpath(target)),
        recursive=True,
    )
    for mode in _modes(parts[2:], where):
        if mode == "ro":
            spec.options.add(key="ro")
        elif mode in _PROPAGATIONS:
            spec.propagation = mode
        elif mode != "rw" and mode not in _IGNORED:
            raise bad(f"invalid mode: {parts[2][:80]}", field=where)
    draft.host_directories.append(posixpath.normpath(source))
    draft.spec.mounts.append(spec)


def _named_volume(text: str, where: str) -> engine_pb2.VolumeMount:
    name, target, *modes = text.split(":")
    volume = engine_pb2.VolumeMount(name=volume_name(name, where), target=_bytes(posixpath.normpath(target)))
    for mode in _modes(modes, where):
        if mode == "ro":
            volume.read_only = True
        elif mode == "nocopy":
            volume.no_copy = True
        elif mode not in ("rw", "z", "Z"):
            raise bad(f"invalid mode: {modes[0][:80]}", field=where)
    return volume


def _modes(part: list[str], where: str) -> list[str]:
    """The words of a bind's third part; none where there is none. It is either ``ro`` or ``rw``, and once."""
    words = part[0].split(",") if part else []
    if sum(word in ("ro", "rw") for word in words) > 1:
        raise bad(f"invalid mode: {part[0][:80]}", field=where)
    return words


def volume_name(name: str, where: str) -> str:
    """400 in Docker's words for what cannot be a volume's name."""
    try:
        return check_name(name)
    except InvalidArgument as error:
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path',
            reason=error.reason, field=where, expected=error.expected) from error


def anonymous_volume(target: bytes) -> engine_pb2.VolumeMount:
    """A volume for one container alone, told apart by Docker's label."""
    return engine_pb2.VolumeMount(name=new_id(), target=target, anonymous=True, labels={ANONYMOUS: ""})


def mounts(draft: Draft, fields: Fields, key: str) -> None:
    """The long form: a bind's source must be there."""
    for entry in fields.objects(key):
        kind = entry.text("Type")
        if kind == "bind":
            draft.spec.mounts.append(_bind_mount(draft, entry))
        elif kind == "tmpfs":
            draft.spec.mounts.append(_tmpfs_mount(entry))
        elif kind == "volume":
            draft.volumes.append(_volume_mount(entry))
        elif kind == "image":
            draft.images.append(_image_mount(entry))
        elif kind in ("npipe", "cluster"):
            raise Unimplemented(f"{entry.path('Type')}: {kind} is not built yet", reason="NOT_BUILT", field=key)
        else:
            raise bad(f'invalid mount config for type "{ascii(kind[:80])[1:-1]}": mount type unknown',
                      field=entry.path("Type"))


def _bind_mount(draft: Draft, entry: Fields) -> types_pb2.MountSpec:
    prefix = 'invalid mount config for type "bind": '
    source, target = entry.text("Source"), entry.text("Target")
    _other_options(entry, "BindOptions", prefix)
    if not source:
        raise bad(f"{prefix}field Source must not be empty", field=entry.path("Source"))
    if not source.startswith("/"):
        text = f"{prefix}invalid mount path: '{source[:200]}' mount path must be absolute"
        raise bad(text, field=entry.path("Source"))
    _target(target, prefix, entry.path("Target"))
    options, read_only = entry.object("BindOptions"), entry.boolean("ReadOnly")
    _read_only_options(options, prefix, read_only=read_only)
    propagation = options.text("Propagation")
    if propagation and propagation not in _PROPAGATIONS:
        raise bad(f"{prefix}invalid propagation mode: {propagation[:80]}", field=options.path("Propagation"))
    if options.boolean("CreateMountpoint"):
        draft.host_directories.append(posixpath.normpath(source))
    spec = types_pb2.MountSpec(
        type="bind", source=_bytes(posixpath.normpath(source)), target=_bytes(posixpath.normpath(target)),
        propagation=propagation, recursive=not options.boolean("NonRecursive"),
        read_only_top=options.boolean("ReadOnlyNonRecursive"),
    )
    if read_only:
        spec.options.add(key="ro")
    return spec


def _read_only_options(options: Fields, prefix: str, *, read_only: bool) -> None:
    """Refuse what the options of a bind say against each other."""
    top, force = "ReadOnlyNonRecursive", "ReadOnlyForceRecursive"
    for name in (top, force):
        if options.boolean(name) and not read_only:
            raise bad(f"{prefix}{name} needs ReadOnly", field=options.path(name))
    if options.boolean(top) and options.boolean(force):
        raise bad(f"{prefix}{top} and {force} exclude each other", field=options.path(force))
    if options.boolean(force) and options.boolean("NonRecursive"):
        raise bad(f"{prefix}{force} and NonRecursive exclude each other", field=options.path(force))


def _volume_mount(entry: Fields) -> engine_pb2.VolumeMount:
    prefix = 'invalid mount config for type "volume": '
    source, target = entry.text("Source"), entry.text("Target")
    _other_options(entry, "VolumeOptions", prefix)
    _target(target, prefix, entry.path("Target"))
    options = entry.object("VolumeOptions")
    subpath = _subpath(options, prefix, "volume")
    if subpath and not source:
        raise bad(f"{prefix}must not set Subpath when using anonymous volumes", field=options.path("Subpath"))
    volume = anonymous_volume(_bytes(posixpath.normpath(target)))
    if source:
        volume = engine_pb2.VolumeMount(name=volume_name(source, entry.path("Source")), target=volume.target)
    driver = options.object("DriverConfig")
    volume.subpath = subpath
    volume.driver = driver.text("Name")
    volume.options.update(driver.string_map("Options"))
    volume.labels.update(options.string_map("Labels"))
    volume.read_only, volume.no_copy = entry.boolean("ReadOnly"), options.boolean("NoCopy")
    return volume


def _image_mount(entry: Fields) -> engine_pb2.ImageMount:
    prefix = 'invalid mount config for type "image": '
    source, target, options = entry.text("Source"), entry.text("Target"), entry.object("ImageOptions")
    _other_options(entry, "ImageOptions", prefix)
    if not source:
        raise bad(f"{prefix}field Source must not be empty", field=entry.path("Source"))
    _target(target, prefix, entry.path("Target"))
    return engine_pb2.ImageMount(image=source, target=_bytes(posixpath.normpath(target)),
                                 subpath=_subpath(options, prefix, "image"))


def _subpath(options: Fields, prefix: str, whole: str) -> bytes:
    path = options.text("Subpath")
    if path and (path.startswith("/") or ".." in path.split("/") or "\0" in path):
        raise bad(f"{prefix}subpath must be a relative path within the {whole}", field=options.path("Subpath"))
    return _bytes(posixpath.normpath(path)) if path else b""


def _tmpfs_mount(entry: Fields) -> types_pb2.MountSpec:
    prefix = 'invalid mount config for type "tmpfs": '
    _other_options(entry, "TmpfsOptions", prefix)
    if entry.text("Source"):
        raise bad(f"{prefix}field Source must not be specified", field=entry.path("Source"))
    target = entry.text("Target")
    _target(target, prefix, entry.path("Target"))
    options = entry.object("TmpfsOptions")
    spec = _new_tmpfs(target)
    for words in as_list(options.raw("Options"), options.path("Options")):
        given = as_strings(words, options.path("Options"))
        if not 1 <= len(given) <= 2:
            raise bad(f"{prefix}an option is a word, or a word and its value", field=options.path("Options"))
        _tmpfs_option(spec, given[0], given[1] if len(given) == 2 else None, options.path("Options"))
    if size := options.integer("SizeBytes"):
        spec.options.add(key="size", value=str(size).encode())
    if mode := options.integer("Mode"):
        spec.options.add(key="mode", value=f"{mode & 0o7777:o}".encode())
    if entry.boolean("ReadOnly"):
        spec.options.add(key="ro")
    return spec


def tmpfs(draft: Draft, fields: Fields, key: str) -> None:
    """{"/target": "size=8m,mode=1777"}."""
    for target, text in fields.string_map(key).items():
        _target(target, "invalid tmpfs: ", fields.path(key))
        spec = _new_tmpfs(target)
        for option in filter(None, text.split(",")):
            name, equals, value = option.partition("=")
            _tmpfs_option(spec, name, value if equals else None, fields.path(key))
        draft.spec.mounts.append(spec)


def _tmpfs_option(spec: types_pb2.MountSpec, name: str, value: str | None, where: str) -> None:
    if value is None and name in _OPPOSITES:
        kept = [each for each in spec.options if each.key not in (name, _OPPOSITES[name])]
        del spec.options[:]
        spec.options.extend([*kept, types_pb2.MountOption(key=name)])
    elif value is not None and name in _TMPFS_OPTIONS and (name != "size" or _SIZE.fullmatch(value)):
        spec.options.add(key=name, value=_bytes(value))
    else:
        text = name if value is None else f"{name}={value}"
        raise bad(f"invalid tmpfs option {text[:80]!a}", field=where)


def _new_tmpfs(target: str) -> types_pb2.MountSpec:
    """Docker's flags of a tmpfs."""
    spec = types_pb2.MountSpec(type="tmpfs", target=_bytes(posixpath.normpath(target)))
    for flag in ("nosuid", "nodev", "noexec"):
        spec.options.add(key=flag)
    return spec


def _other_options(entry: Fields, own: str, prefix: str) -> None:
    for name in ("BindOptions", "VolumeOptions", "TmpfsOptions", "ImageOptions"):
        if name != own and name in entry:
            raise bad(f"{prefix}field {name} must not be specified", field=entry.path(name))


def _target(target: str, prefix: str, where: str) -> None:
    if not target:
        raise bad(f"{prefix}field Target must not be empty", field=where)
    if not target.startswith("/"):
        raise bad(f"{prefix}invalid mount path: '{target[:200]}' mount path must be absolute", field=where)
    if posixpath.normpath(target).lstrip("/") == "":
        raise bad(f"{prefix}invalid specification: destination can't be '/'", field=where)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
