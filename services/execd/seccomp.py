"""Seccomp profiles: which system calls a container may make, given its capabilities, as rules or as a ready filter.

A *profile* is JSON in the form that Docker's ``--security-opt seccomp=FILE`` takes: a default action, the architectures
with their sub-architectures, and rules; a rule holds names, an action, comparisons of arguments, and the conditions
(capabilities, architecture, kernel version) on which it counts. ``includes`` must all hold, of ``excludes`` none.
Several rules for one call are alternatives. ``data/seccomp.json`` is Pier's default, equal in effect to Docker's.

A profile and a capability set give OCI's ``linux.seccomp`` (``linux_seccomp``), which every runtime compiles anew for
each container, or the BPF program itself (``compile_bpf``), which is compiled once and kept.

    profile = default_profile()
    config["linux"]["seccomp"] = linux_seccomp(profile, frozenset({"CAP_CHOWN"}))
"""

from __future__ import annotations

import enum
import errno
import functools
import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from chassis.errors import InvalidArgument, Unimplemented
from execd import libseccomp

_FIELD: Final = "seccomp_profile"
_MOST_BYTES: Final = 1 << 20
_MOST_KEPT: Final = 64
_NAME: Final = re.compile(r"[a-z0-9_]{1,64}")
_CAPABILITY: Final = re.compile(r"CAP_[A-Z0-9_]{1,60}")
_KERNEL: Final = re.compile(r"(\d{1,5})\.(\d{1,5})")
_DATA: Final = Path(__file__).parent / "data" / "seccomp.json"
_MACHINES: Final = {"x86_64": ("SCMP_ARCH_X86_64", "amd64"), "aarch64": ("SCMP_ARCH_AARCH64", "arm64")}
"""uname's machine → its OCI architecture, and the name that profiles' conditions use."""


class Action(enum.Enum):
    """What happens to a call (OCI runtime specification, "Seccomp"); SCMP_ACT_KILL is the old name of KILL_THREAD."""

    KILL = "SCMP_ACT_KILL"
    KILL_THREAD = "SCMP_ACT_KILL_THREAD"
    KILL_PROCESS = "SCMP_ACT_KILL_PROCESS"
    TRAP = "SCMP_ACT_TRAP"
    ERRNO = "SCMP_ACT_ERRNO"
    TRACE = "SCMP_ACT_TRACE"
    LOG = "SCMP_ACT_LOG"
    ALLOW = "SCMP_ACT_ALLOW"


_KERNEL_ACTION: Final = {
    Action.KILL: libseccomp.KILL_THREAD, Action.KILL_THREAD: libseccomp.KILL_THREAD,
    Action.KILL_PROCESS: libseccomp.KILL_PROCESS, Action.TRAP: libseccomp.TRAP, Action.ERRNO: libseccomp.ERRNO,
    Action.TRACE: libseccomp.TRACE, Action.LOG: libseccomp.LOG, Action.ALLOW: libseccomp.ALLOW,
}


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    pass


class Argument(_Strict, frozen=True):
    """A comparison of one argument (0 to 5) as an unsigned 64-bit number; for MASKED_EQ ``value`` is the mask and
    ``value_two`` what must come out."""

    index: int
    value: int
    op: Literal[
        "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"
    ]
    value_two: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.index <= 5:
            raise ValueError(f"index {self.index} is not 0 to 5")
        if not (0 <= self.value < 1 << 64 and 0 <= self.value_two < 1 << 64):
            raise ValueError("value is not an unsigned 64-bit number")


class Condition(_Strict, frozen=True):
    """Capabilities, architectures (amd64, arm64, …) and the least kernel version ("4.8"); an empty one says nothing."""

    caps: tuple[str, ...] = ()
    arches: tuple[str, ...] = ()
    min_kernel: str = ""

    def __post_init__(self) -> None:
        for cap in self.caps:
            if not _CAPABILITY.fullmatch(cap):
                raise ValueError(f"{cap!a} is not a capability such as CAP_SYS_ADMIN")
        if self.min_kernel and not _KERNEL.fullmatch(self.min_kernel):
            raise ValueError(f"{self.min_kernel!a} is not a kernel version such as 4.8")


class Rule(_Strict, frozen=True):
    """One rule for all of ``names``; ``name`` is the older spelling for one."""

    action: Action
    names: tuple[str, ...] = ()
    name: str = ""
    errno_ret: int | None = None
    args: tuple[Argument, ...] | None = None
    comment: str = ""
    includes: Condition | None = None
    excludes: Condition | None = None

    def __post_init__(self) -> None:
        if bool(self.names) == bool(self.name):
            raise ValueError("a rule has either names or name")
        for name in self.calls:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!a} is not the name of a system call")
        _check_errno(self.action, self.errno_ret, "errnoRet")

    @property
    def calls(self) -> tuple[str, ...]:
        return self.names or (self.name,)


class ArchitectureFamily(_Strict, frozen=True):
    """An architecture, and those of its programs that it runs besides its own."""

    architecture: str
    sub_architectures: tuple[str, ...] | None = None


class _Document(_Strict, frozen=True):
    default_action: Action
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] | None = None
    arch_map: tuple[ArchitectureFamily, ...] | None = None
    flags: tuple[str, ...] | None = None
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: tuple[Rule, ...] | None = None

    def __post_init__(self) -> None:
        if self.architectures and self.arch_map:
            raise ValueError("a profile has either architectures or archMap")
        _check_errno(self.default_action, self.default_errno_ret, "defaultErrnoRet")


def _check_errno(action: Action, value: int | None, field: str) -> None:
    if value is None:
        return
    if action not in (Action.ERRNO, Action.TRACE):
        raise ValueError(f"{field} goes with SCMP_ACT_ERRNO and SCMP_ACT_TRACE only")
    # The kernel cuts an ERRNO's value to MAX_ERRNO silently (seccomp(2)).
    if not 0 <= value <= 4095:
        raise ValueError(f"{field} {value} is not 0 to 4095")


@dataclass(frozen=True)
class Profile:
    """A checked profile. ``digest`` is the SHA-256 of its text and stands for it in the cache."""

    digest: str
    default_action: Action
    default_errno: int
    architectures: tuple[str, ...]
    families: tuple[ArchitectureFamily, ...]
    rules: tuple[Rule, ...]

    @functools.cached_property
    def capabilities(self) -> frozenset[str]:
        """The capabilities that any rule asks about: no others make a difference to the filter."""
        conditions = (c for rule in self.rules for c in (rule.includes, rule.excludes) if c is not None)
        return frozenset(cap for condition in conditions for cap in condition.caps)


@dataclass(frozen=True)
class Platform:
    """What a profile's conditions are asked about: uname's machine, and the kernel's version."""

    machine: str
    kernel: tuple[int, int]


@functools.cache
def this_platform() -> Platform:
    """The running kernel's."""
    uname = os.uname()
    major, minor = re.match(r"(\d+)\.(\d+)", uname.release).groups()  # type: ignore[union-attr]
    return Platform(machine=uname.machine, kernel=(int(major), int(minor)))


@functools.cache
def default_profile() -> Profile:
    """Pier's own, from ``data/seccomp.json``."""
    return load_profile(_DATA.read_bytes())


def load_profile(text: bytes) -> Profile:
    """The profile in ``text`` (JSON, at most 1 MiB). Raises InvalidArgument, which names the place; Unimplemented for
    what a profile may ask that Pier does not do: flags, notification of a listener, some orders of 64-bit values."""
    if len(text) > _MOST_BYTES:
        raise _bad(f"{len(text)} bytes", "at most 1 MiB")
    try:
        document = msgspec.json.decode(text, type=_Document)
    except (msgspec.DecodeError, RecursionError) as error:
        if "SCMP_ACT_NOTIFY" in str(error):
            raise _not_built("SCMP_ACT_NOTIFY") from error
        raise _bad(str(error), "a seccomp profile in Docker's JSON form") from error
    for name, asked in (
        ("flags", document.flags), ("listenerPath", document.listener_path),
        ("listenerMetadata", document.listener_metadata),
    ):
        if asked:
            raise _not_built(name)
    _refuse_misread_orders(document.syscalls or ())
    return Profile(
        digest=hashlib.sha256(text).hexdigest(),
        default_action=document.default_action,
        default_errno=errno.EPERM if document.default_errno_ret is None else document.default_errno_ret,
        architectures=document.architectures or (),
        families=document.arch_map or (),
        rules=document.syscalls or (),
    )


_BELOW: Final = frozenset({"SCMP_CMP_LT", "SCMP_CMP_LE"})
_ORDERS: Final = _BELOW | {"SCMP_CMP_GT", "SCMP_CMP_GE"}


def _refuse_misread_orders(rules: tuple[Rule, ...]) -> None:
    """libseccomp (2.5.4 at least) compiles some alternatives for one call wrongly, so that calls pass that none of them
    allows: orders of different arguments; and of one argument, where one is LT or LE and the values differ in their
    upper 32 bits. The property test found it; every runtime that compiles by libseccomp has it."""
    alternatives: dict[str, list[tuple[Argument, ...]]] = {}
    for rule in rules:
        for name in rule.calls if rule.args else ():
            alternatives.setdefault(name, []).extend(_alternatives(rule.args or ()))
    for name, found in alternatives.items():
        args = [arg for alternative in found for arg in alternative]
        orders = [arg for arg in args if arg.op in _ORDERS]
        mixed = len({arg.index for arg in args}) > 1
        apart = any(arg.op in _BELOW for arg in orders) and len({arg.value >> 32 for arg in orders}) > 1
        if len(found) > 1 and orders and (mixed or apart):
            raise _not_built(f"{name}: ordering argument {orders[0].index} in one of several rules")


def _bad(message: str, expected: str) -> InvalidArgument:
    return InvalidArgument(
        f"seccomp profile: {message}", reason="BAD_SECCOMP_PROFILE", field=_FIELD, expected=expected
    )


def _not_built(what: str) -> Unimplemented:
    return Unimplemented(f"seccomp profile: {what} is not supported", reason="SECCOMP_FEATURE", field=_FIELD)


def linux_seccomp(
    profile: Profile, capabilities: frozenset[str], platform: Platform | None = None
) -> dict[str, object]:
    """OCI's ``linux.seccomp`` for a container with ``capabilities`` (its bounding set, "CAP_CHOWN", …).

    A runtime other than runc answers calls newer than the profile with the default action here, not with ENOSYS.
    """
    platform = platform or this_platform()
    out: dict[str, object] = {"defaultAction": profile.default_action.value}
    if profile.default_action in (Action.ERRNO, Action.TRACE):
        out["defaultErrnoRet"] = profile.default_errno
    out["architectures"] = list(_architectures(profile, platform))
    out["syscalls"] = [
        _oci_rule(rule, alternative)
        for rule in _selected(profile, capabilities, platform)
        for alternative in _alternatives(rule.args or ())
    ]
    return out


def _oci_rule(rule: Rule, args: tuple[Argument, ...]) -> dict[str, object]:
    out: dict[str, object] = {"names": list(rule.calls), "action": rule.action.value}
    if rule.action in (Action.ERRNO, Action.TRACE):
        out["errnoRet"] = errno.EPERM if rule.errno_ret is None else rule.errno_ret
    if args:
        out["args"] = [
            {"index": arg.index, "value": arg.value, "valueTwo": arg.value_two, "op": arg.op} for arg in args
        ]
    return out


_lock = threading.Lock()
_kept: OrderedDict[tuple[str, frozenset[str], Platform], libseccomp.Filter] = OrderedDict()


def compile_bpf(profile: Profile, capabilities: frozenset[str], platform: Platform | None = None) -> bytes:
    """The filter as struct sock_filter[] for seccomp(2), for a container with ``capabilities``.

    Compiled in some milliseconds and kept, so that it belongs on a thread the first time. A capability that no rule
    asks about makes no new one. Calls newer than all that the profile names get ENOSYS (see ``libseccomp.build``).
    """
    return _compiled(profile, capabilities, platform).bpf


def skipped(profile: Profile, capabilities: frozenset[str], platform: Platform | None = None) -> tuple[str, ...]:
    """The names in counting rules that this platform's libseccomp does not know; the filter lacks them."""
    return _compiled(profile, capabilities, platform).skipped


def _compiled(profile: Profile, capabilities: frozenset[str], platform: Platform | None) -> libseccomp.Filter:
    platform = platform or this_platform()
    key = (profile.digest, capabilities & profile.capabilities, platform)
    # Held over the compilation: two that want the same filter make it once.
    with _lock:
        found = _kept.get(key)
        if found is None:
            found = _compile(profile, capabilities, platform)
            _kept[key] = found
            if len(_kept) > _MOST_KEPT:
                _kept.popitem(last=False)
        _kept.move_to_end(key)
        return found


def _compile(profile: Profile, capabilities: frozenset[str], platform: Platform) -> libseccomp.Filter:
    calls = (
        libseccomp.Call(
            name=name,
            action=_kernel_action(rule.action, errno.EPERM if rule.errno_ret is None else rule.errno_ret),
            comparisons=tuple(libseccomp.Comparison(a.index, a.op, a.value, a.value_two) for a in alternative),
        )
        for rule in _selected(profile, capabilities, platform)
        for alternative in _alternatives(rule.args or ())
        for name in rule.calls
    )
    default = _kernel_action(profile.default_action, profile.default_errno)
    return libseccomp.build(_architectures(profile, platform), default, calls)


def _kernel_action(action: Action, value: int) -> int:
    return _KERNEL_ACTION[action] | (value if action in (Action.ERRNO, Action.TRACE) else 0)


def _architectures(profile: Profile, platform: Platform) -> tuple[str, ...]:
    native, _ = _machine(platform)
    listed = profile.architectures
    for family in profile.families:
        if family.architecture == native:
            listed = family.sub_architectures or ()
    for name in listed:
        if name not in libseccomp.ABIS:
            raise _bad(f"architecture {name!a}", "one of " + ", ".join(libseccomp.ABIS))
    return tuple(dict.fromkeys((native, *listed)))


def _machine(platform: Platform) -> tuple[str, str]:
    try:
        return _MACHINES[platform.machine]
    except KeyError:
        raise Unimplemented(
            f"seccomp: machine {platform.machine} is not supported", reason="SECCOMP_MACHINE",
            expected=" or ".join(_MACHINES),
        ) from None


def _selected(profile: Profile, capabilities: frozenset[str], platform: Platform) -> Iterator[Rule]:
    _, arch = _machine(platform)
    for rule in profile.rules:
        if rule.includes and not _includes(rule.includes, capabilities, arch, platform.kernel):
            continue
        if rule.excludes and _excludes(rule.excludes, capabilities, arch, platform.kernel):
            continue
        yield rule


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def _includes(condition: Condition, capabilities: frozenset[str], arch: str, kernel: tuple[int, int]) -> bool:
    return (
        capabilities.issuperset(condition.caps)
        and (not condition.arches or arch in condition.arches)
        and (not condition.min_kernel or kernel >= _version(condition.min_kernel))
    )


def _excludes(condition: Condition, capabilities: frozenset[str], arch: str, kernel: tuple[int, int]) -> bool:
    return (
        not capabilities.isdisjoint(condition.caps)
        or arch in condition.arches
        or bool(condition.min_kernel and kernel >= _version(condition.min_kernel))
    )


def _alternatives(args: tuple[Argument, ...]) -> list[tuple[Argument, ...]]:
    """Comparisons of different arguments must all hold. Where one argument is compared twice, each comparison is an
    alternative of its own: libseccomp takes no such rule, and runc, hence Docker, reads it so."""
    indexes = [arg.index for arg in args]
    return [args] if len(set(indexes)) == len(indexes) else [(arg,) for arg in args]
