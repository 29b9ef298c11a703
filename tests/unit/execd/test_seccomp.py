"""Seccomp profiles: what is taken and refused, which rules count, and that the program means what the rules say."""

from __future__ import annotations

import dataclasses
import errno
import json
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from chassis.errors import InvalidArgument, PierError, Unimplemented
from execd import libseccomp, seccomp
from execd.seccomp import Platform
from tests.unit.execd import bpf

X86 = Platform("x86_64", (6, 1))
ARM = Platform("aarch64", (6, 1))
NONE: frozenset[str] = frozenset()
ALLOW, EPERM, ENOSYS = libseccomp.ALLOW, libseccomp.ERRNO | errno.EPERM, libseccomp.ERRNO | errno.ENOSYS


def profile(*rules: dict[str, object], **more: object) -> seccomp.Profile:
    return seccomp.load_profile(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules, **more}).encode())


def allow(*names: str, **more: object) -> dict[str, object]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", **more}


def counting(rules: seccomp.Profile, capabilities: frozenset[str] = NONE, platform: Platform = X86) -> set[str]:
    selected = seccomp.linux_seccomp(rules, capabilities, platform)["syscalls"]
    assert isinstance(selected, list)
    return {name for rule in selected for name in rule["names"]}


@pytest.mark.parametrize(
    "text, told",
    [
        (b"", "Input data was truncated"),
        (b"[]", "Expected `object`"),
        (b"{}", "defaultAction"),
        (b'{"defaultAction": "SCMP_ACT_ERRNO", "syscall": []}', "unknown field `syscall`"),
        (b'{"defaultAction": "SCMP_ACT_PERMIT"}', "SCMP_ACT_PERMIT"),
        (b'{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}', "defaultErrnoRet goes with"),
        (b'{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}', "not 0 to 4095"),
        (
            b'{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["A"], "archMap": [{"architecture": "B"}]}',
            "either architectures or archMap",
        ),
    ],
)
def test_a_text_that_is_no_profile_is_refused_with_the_place(text: bytes, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told) as caught:
        seccomp.load_profile(text)
    assert (caught.value.reason, caught.value.field) == ("BAD_SECCOMP_PROFILE", "seccomp_profile")


@pytest.mark.parametrize(
    "rule, told",
    [
        ({"action": "SCMP_ACT_ALLOW"}, "either names or name"),
        (allow("read", name="write"), "either names or name"),
        (allow("re ad"), "not the name of a system call"),
        (allow("read\0"), "not the name of a system call"),
        (allow("read", errnoRet=1), "errnoRet goes with"),
        (allow("read", args=[{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]), "not 0 to 5"),
        (allow("read", args=[{"index": 0, "value": 1 << 64, "op": "SCMP_CMP_EQ"}]), "seccomp profile"),
        (allow("read", args=[{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]), "not an unsigned 64-bit number"),
        (allow("read", args=[{"index": 0, "value": 0, "op": "SCMP_CMP_LIKE"}]), "SCMP_CMP_LIKE"),
        (allow("read", includes={"caps": ["SYS_ADMIN"]}), "not a capability"),
        (allow("read", includes={"minKernel": "4"}), "not a kernel version"),
        (allow("read", includes={"user": "root"}), "unknown field `user`"),
    ],
)
def test_a_rule_that_says_nothing_clear_is_refused(rule: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        profile(rule)


@pytest.mark.parametrize(
    "more",
    [
        {"flags": ["SECCOMP_FILTER_FLAG_LOG"]}, {"listenerPath": "/run/x"}, {"listenerMetadata": "x"},
        {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]},
    ],
)
def test_what_pier_does_not_do_for_a_profile_is_refused_rather_than_ignored(more: dict[str, object]) -> None:
    with pytest.raises(Unimplemented):
        seccomp.load_profile(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", **more}).encode())


@pytest.mark.parametrize("other, refused", [("GT", True), ("GE", True), ("LE", True), ("EQ", False), ("NE", False)])
def test_orders_of_64_bit_values_that_libseccomp_misreads_are_refused(other: str, refused: bool) -> None:
    def rules(high: int) -> seccomp.Profile:
        pair = (("LT", 38), (other, high))
        args = ([{"index": 0, "value": value, "op": f"SCMP_CMP_{op}"}] for op, value in pair)
        return profile(*(allow("socket", args=arg) for arg in args))

    assert rules(40).digest  # Docker 29's own profile: < 38, == 39, > 40
    if refused:
        with pytest.raises(Unimplemented, match="socket: ordering argument 0"):
            rules(1 << 32)
    else:
        assert rules(1 << 32).digest


def test_a_profile_of_more_than_a_mebibyte_is_refused_unread() -> None:
    with pytest.raises(InvalidArgument, match="1048577 bytes"):
        seccomp.load_profile(b" " * ((1 << 20) + 1))


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["defaultAction", "syscalls", "names", "action", "args", "includes"]) | st.text(max_size=4),
        inner, max_size=3),
).map(lambda value: json.dumps(value).encode()))
def test_any_text_gives_a_profile_or_one_of_pier_s_errors(text: bytes) -> None:
    try:
        assert seccomp.load_profile(text).digest
    except PierError as error:
        assert error.field == "seccomp_profile"  # noqa: PT017 - both outcomes are right, this one is looked at


def test_a_rule_counts_when_every_included_capability_is_there() -> None:
    rules = profile(allow("bpf", includes={"caps": ["CAP_BPF", "CAP_PERFMON"]}))
    assert counting(rules, frozenset({"CAP_BPF"})) == set()
    assert counting(rules, frozenset({"CAP_BPF", "CAP_PERFMON"})) == {"bpf"}


def test_a_rule_does_not_count_when_any_excluded_capability_is_there() -> None:
    rules = profile(allow("clone3", excludes={"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}))
    assert counting(rules) == {"clone3"}
    assert counting(rules, frozenset({"CAP_BPF"})) == set()


def test_a_rule_counts_on_its_architectures_and_from_its_kernel_on() -> None:
    rules = profile(
        allow("arch_prctl", includes={"arches": ["amd64"]}), allow("set_tls", includes={"arches": ["arm64"]}),
        allow("clone", excludes={"arches": ["amd64"]}), allow("ptrace", includes={"minKernel": "4.8"}),
        allow("acct", excludes={"minKernel": "6.2"}),
    )
    assert counting(rules) == {"arch_prctl", "ptrace", "acct"}
    assert counting(rules, platform=ARM) == {"set_tls", "clone", "ptrace", "acct"}
    assert counting(rules, platform=Platform("x86_64", (4, 7))) == {"arch_prctl", "acct"}
    assert counting(rules, platform=Platform("x86_64", (6, 10))) == {"arch_prctl", "ptrace"}


def test_the_rules_for_a_runtime_carry_the_architectures_and_every_number() -> None:
    assert seccomp.linux_seccomp(
        profile(
            {"name": "clone3", "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            allow("clone", args=[{"index": 0, "value": 7, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]),
            archMap=[{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                     {"architecture": "SCMP_ARCH_S390X", "subArchitectures": ["SCMP_ARCH_S390"]}],
        ), NONE, X86,
    ) == {
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 7, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]},
        ],
    }


def test_a_machine_that_pier_cannot_filter_is_refused() -> None:
    with pytest.raises(Unimplemented, match="s390x"):
        seccomp.linux_seccomp(seccomp.default_profile(), NONE, Platform("s390x", (6, 1)))
    with pytest.raises(InvalidArgument, match="SCMP_ARCH_MIPS"):
        seccomp.compile_bpf(profile(architectures=["SCMP_ARCH_MIPS"]), NONE, X86)


def test_one_argument_compared_twice_in_a_rule_means_either_as_with_docker() -> None:
    rules = profile(allow("socket", args=[
        {"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (1, 2)
    ]))
    program = seccomp.compile_bpf(rules, NONE, X86)
    assert [bpf.verdict(program, bpf.X86_64, 41, [family]) for family in (0, 1, 2, 3)] == [EPERM, ALLOW, ALLOW, EPERM]


def test_a_filter_is_compiled_once_for_all_sets_of_capabilities_that_make_no_difference(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[libseccomp.Filter] = []
    build = libseccomp.build

    def counted(architectures: Sequence[str], default: int, calls: Iterable[libseccomp.Call]) -> libseccomp.Filter:
        made.append(build(architectures, default, calls))
        return made[-1]

    monkeypatch.setattr(libseccomp, "build", counted)
    rules = profile(allow("read"), allow("bpf", includes={"caps": ["CAP_BPF"]}), allow("uname", comment="kept?"))
    first = seccomp.compile_bpf(rules, frozenset({"CAP_CHOWN"}), X86)
    assert seccomp.compile_bpf(rules, frozenset({"CAP_KILL"}), X86) is first
    assert len(made) == 1
    assert seccomp.compile_bpf(rules, frozenset({"CAP_KILL", "CAP_BPF"}), X86) != first
    assert len(made) == 2


def test_no_more_than_a_bounded_number_of_filters_is_kept() -> None:
    for number in range(70):
        seccomp.compile_bpf(profile(allow("read"), defaultErrnoRet=number), NONE, X86)
    assert len(seccomp._kept) == 64


def test_names_unknown_to_the_library_are_skipped_and_listed_once() -> None:
    rules = profile(allow("read", "no_such_call", "neither"), allow("no_such_call"))
    assert seccomp.skipped(rules, NONE, X86) == ("no_such_call", "neither")


def test_calls_newer_than_the_profile_are_told_to_be_unknown_so_that_programs_fall_back() -> None:
    program = seccomp.compile_bpf(profile(allow("read", "openat2")), NONE, X86)  # openat2: 437
    found = [bpf.verdict(program, bpf.X86_64, number) for number in (0, 436, 437, 438, 2000)]
    assert found == [ALLOW, EPERM, ALLOW, ENOSYS, ENOSYS]


@pytest.mark.parametrize("default", ["ALLOW", "LOG"])
def test_calls_newer_than_the_profile_pass_where_the_profile_only_forbids(default: str) -> None:
    rules = profile({"names": ["mount"], "action": "SCMP_ACT_ERRNO"}, defaultAction=f"SCMP_ACT_{default}")
    program = seccomp.compile_bpf(rules, NONE, X86)
    assert bpf.verdict(program, bpf.X86_64, 2000) == {"ALLOW": libseccomp.ALLOW, "LOG": libseccomp.LOG}[default]
    assert bpf.verdict(program, bpf.X86_64, 165) == EPERM


def test_calls_of_an_architecture_that_the_profile_leaves_out_are_killed() -> None:
    program = seccomp.compile_bpf(profile(allow("read", "getpid")), NONE, X86)
    assert bpf.verdict(program, bpf.I386, 20) == libseccomp.KILL_THREAD
    assert bpf.verdict(program, bpf.X86_64, libseccomp.X32_BIT | 39) == libseccomp.KILL_THREAD


# The calls' numbers by ABI; this kernel may have no entry for it.
@pytest.mark.parametrize(
    "platform, audit, socket, clone, mount, getrandom",
    [
        (X86, bpf.X86_64, 41, 56, 165, 318), (X86, bpf.I386, 359, 120, 21, 355),
        (ARM, bpf.AARCH64, 198, 220, 40, 278), (ARM, bpf.ARM, 281, 120, 21, 384),
    ],
)
def test_the_default_profile_means_the_same_on_every_abi(
    platform: Platform, audit: int, socket: int, clone: int, mount: int, getrandom: int
) -> None:
    plain = seccomp.compile_bpf(seccomp.default_profile(), NONE, platform)
    admin = seccomp.compile_bpf(seccomp.default_profile(), frozenset({"CAP_SYS_ADMIN"}), platform)
    families = {family for family in range(60) if bpf.verdict(plain, audit, socket, [family]) == ALLOW}
    assert families == {*range(38), 39, 41, 42, 43, 44, 45}
    assert bpf.verdict(plain, audit, getrandom) == ALLOW
    assert (bpf.verdict(plain, audit, mount), bpf.verdict(admin, audit, mount)) == (EPERM, ALLOW)
    assert (bpf.verdict(plain, audit, clone, [17]), bpf.verdict(plain, audit, clone, [0x10000000])) == (ALLOW, EPERM)
    assert bpf.verdict(admin, audit, clone, [0x10000000]) == ALLOW
    assert (bpf.verdict(plain, audit, 435), bpf.verdict(admin, audit, 435)) == (ENOSYS, ALLOW)  # clone3
    assert bpf.verdict(plain, audit, 2000) == ENOSYS


def test_32_bit_arm_keeps_its_private_calls() -> None:
    program = seccomp.compile_bpf(seccomp.default_profile(), NONE, ARM)
    assert bpf.verdict(program, bpf.ARM, 0xF0005) == ALLOW  # set_tls


@pytest.mark.parametrize(
    "capability, number",
    [
        ("CAP_BPF", 321), ("CAP_DAC_READ_SEARCH", 304), ("CAP_PERFMON", 298), ("CAP_SYSLOG", 103),
        ("CAP_SYS_ADMIN", 272), ("CAP_SYS_BOOT", 169), ("CAP_SYS_CHROOT", 161), ("CAP_SYS_MODULE", 175),
        ("CAP_SYS_NICE", 237),
        ("CAP_SYS_PACCT", 163), ("CAP_SYS_PTRACE", 312), ("CAP_SYS_RAWIO", 172), ("CAP_SYS_TIME", 164),
        ("CAP_SYS_TTY_CONFIG", 153),
    ],
)
def test_each_capability_lets_its_calls_pass_and_only_it(capability: str, number: int) -> None:
    rules = seccomp.default_profile()
    assert bpf.verdict(seccomp.compile_bpf(rules, frozenset({capability}), X86), bpf.X86_64, number) == ALLOW
    # With CAP_SYS_ADMIN come perf_event_open, bpf and syslog, too.
    others = rules.capabilities - {capability, *({"CAP_SYS_ADMIN"} if number in (103, 298, 321) else ())}
    assert bpf.verdict(seccomp.compile_bpf(rules, others, X86), bpf.X86_64, number) == EPERM


@given(st.sampled_from(["socket", "personality", "clone"]), st.data())
def test_the_default_s_comparisons_hold_for_all_64_bits_of_an_argument(name: str, data: st.DataObject) -> None:
    rules = seccomp.default_profile()
    value = data.draw(_halves) << 32 | data.draw(_halves)
    clone = [rule for rule in rules.rules if "clone" in rule.calls and not rule.args]
    assert [rule.includes for rule in clone] == [seccomp.Condition(caps=("CAP_SYS_ADMIN",))]
    plain = dataclasses.replace(rules, rules=tuple(rule for rule in rules.rules if rule not in clone))
    program = seccomp.compile_bpf(rules, NONE, X86)
    expected = ALLOW if passes(plain, name, [value]) else EPERM
    assert bpf.verdict(program, bpf.X86_64, _NUMBERS[name], [value]) == expected


_halves = st.integers(0, 60) | st.integers(0, 2**32 - 1)
_NUMBERS = {"read": 0, "socket": 41, "clone": 56, "personality": 135}
_edges = [0, 1, 2, 0xFF, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1]
_values = st.sampled_from(_edges) | st.integers(0, 2**64 - 1)
_args = st.lists(
    st.fixed_dictionaries({
        "index": st.integers(0, 2), "value": _values, "valueTwo": _values,
        "op": st.sampled_from(sorted(libseccomp.COMPARE)),
    }),
    max_size=2,
)


def holds(arg: seccomp.Argument, value: int) -> bool:
    return {
        "NE": value != arg.value, "LT": value < arg.value, "LE": value <= arg.value, "EQ": value == arg.value,
        "GE": value >= arg.value, "GT": value > arg.value, "MASKED_EQ": value & arg.value == arg.value_two & arg.value,
    }[arg.op.removeprefix("SCMP_CMP_")]


def passes(rules: seccomp.Profile, name: str, args: list[int]) -> bool:
    """What the rules say: a call passes where one rule for it holds; a rule without comparisons always does."""
    for rule in rules.rules:
        if name in rule.calls:
            said = [holds(arg, args[arg.index]) for arg in rule.args or ()]
            twice = len({arg.index for arg in rule.args or ()}) < len(said)
            if any(said) if twice else all(said):
                return True
    return False


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(_NUMBERS)), _args), max_size=4),
    st.lists(st.tuples(_values, _values, _values), min_size=1, max_size=8),
)
def test_the_program_passes_exactly_what_the_rules_pass(
    written: list[tuple[str, list[dict[str, object]]]], calls: list[tuple[int, int, int]]
) -> None:
    try:
        rules = profile(*(allow(name, args=args) for name, args in written), allow("openat2"))
    except Unimplemented:
        reject()
    program = seccomp.compile_bpf(rules, NONE, X86)
    for name, number in _NUMBERS.items():
        for args in calls:
            expected = ALLOW if passes(rules, name, list(args)) else EPERM
            assert bpf.verdict(program, bpf.X86_64, number, args) == expected, (name, args)
