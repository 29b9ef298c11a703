"""The default profile's verdict on every system call, asked of the kernel, beside dockerd's, crun's and runc's.

``data/dockerd-verdicts.json`` is what ``seccomp_probe.py`` printed inside containers of dockerd 20.10.24 (Debian 12,
runc 1.1.5, x86-64), by the capability given besides the default ones. Where a dockerd is installed, it is asked again.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import platform
import shutil
import signal
import subprocess
import tarfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from execd import seccomp

HERE = Path(__file__).parent
PROBE = HERE / "seccomp_probe.py"
RECORDED = HERE / "data" / "dockerd-verdicts.json"
DEFAULT_CAPABILITIES = frozenset(
    f"CAP_{name}" for name in (
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
        "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    )
)
Verdicts = dict[tuple[str, int], str]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="containers need root"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers and the recording are x86-64's"),
]

# What today's Docker (29) answers otherwise than 20.10 did. (section, number) → (verdict, capability that it takes).
IO_URING = dict.fromkeys((425, 426, 427), "errno 1")  # out since 25.0: its requests pass by the filter
SINCE_20_10 = {
    303: None,  # name_to_handle_at: of no use without open_by_handle_at, which stays with CAP_DAC_READ_SEARCH
    310: None, 311: None,  # process_vm_readv, process_vm_writev: as ptrace, which was allowed before
    329: None, 330: None, 331: None,  # pkey_*: they configure the caller's own memory
    450: "CAP_SYS_NICE",  # set_mempolicy_home_node, as set_mempolicy
}
X32_NUMBERS = {310: 539, 311: 540}
# Newer than 20.10: number → name, capability. Allowed where this platform's libseccomp knows the name.
NEWER = {
    450: ("set_mempolicy_home_node", "CAP_SYS_NICE"), 451: ("cachestat", None), 452: ("fchmodat2", None),
    453: ("map_shadow_stack", None), 454: ("futex_wake", None), 455: ("futex_wait", None),
    456: ("futex_requeue", None), 457: ("statmount", None), 458: ("listmount", None),
    459: ("lsm_get_self_attr", "CAP_SYS_ADMIN"), 460: ("lsm_set_self_attr", "CAP_SYS_ADMIN"),
    461: ("lsm_list_modules", "CAP_SYS_ADMIN"), 462: ("mseal", None), 463: ("setxattrat", None),
    464: ("getxattrat", None), 465: ("listxattrat", None), 466: ("removexattrat", None),
}
# uretprobe and uprobe: newer kernels let them by every filter (they only work from the kernel's own trampoline).
UNFILTERED = (335, 336)
SHADOW_STACK = ("x32", 453)  # libseccomp knows map_shadow_stack there since 2.6: it is allowed with it, refused before
SOCKET_FAMILIES_OF_TODAY = {*range(38), 39, *range(41, 46)}  # not AF_ALG (CVE-2026-31431), AF_VSOCK, nor none


def expand(table: dict[str, dict[str, str]]) -> Verdicts:
    out: Verdicts = {}
    for section, groups in table.items():
        for verdict, spans in groups.items():
            for span in spans.split(","):
                first, _, last = span.partition("-")
                out |= {(section, number): verdict for number in range(int(first), int(last or first) + 1)}
    out.pop(SHADOW_STACK, None)
    return {key: value for key, value in out.items() if key[0] not in ("native", "x32") or key[1] not in UNFILTERED}


@functools.cache
def recorded() -> dict[str, dict[str, dict[str, str]]]:
    table: dict[str, dict[str, dict[str, str]]] = json.loads(RECORDED.read_bytes())
    return table


def ask(command: list[str]) -> tuple[int, Verdicts]:
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    answer = json.loads(done.stdout)
    return answer["mode"], expand(answer["verdicts"])


def of_pier(tmp_path: Path, capabilities: frozenset[str]) -> Verdicts:
    file = tmp_path / "filter.bpf"
    file.write_bytes(seccomp.compile_bpf(seccomp.default_profile(), capabilities))
    mode, verdicts = ask(["/usr/bin/python3", "-I", "-S", str(PROBE), str(file)])
    assert mode == 2
    return verdicts


def expected(docker: Verdicts, capabilities: frozenset[str]) -> Verdicts:
    """dockerd 20.10's verdicts with what is known to differ today laid over them."""
    out = dict(docker)
    unknown = seccomp.skipped(seccomp.default_profile(), capabilities)
    allowed = {n for n, (name, cap) in NEWER.items() if name not in unknown and (not cap or cap in capabilities)}
    for section in ("native", "x32"):
        for number, verdict in IO_URING.items():
            out[section, number] = verdict
        for number, cap in SINCE_20_10.items():
            if not cap or cap in capabilities:
                out[section, X32_NUMBERS.get(number, number) if section == "x32" else number] = "allow"
        for number in NEWER:
            if number in allowed and (section, number) != SHADOW_STACK:
                out[section, number] = "allow"
            elif section == "native":
                out[section, number] = "errno 1" if number < max(allowed) else "errno 38"
    for section, number in docker:
        if section.endswith(" socket"):
            out[section, number] = "allow" if number in SOCKET_FAMILIES_OF_TODAY else "errno 1"
    return out


def differences(left: Verdicts, right: Verdicts) -> dict[tuple[str, int], tuple[str | None, str | None]]:
    keys = left.keys() | right.keys()
    return {key: (left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)}


def capabilities_of(case: str) -> frozenset[str]:
    """A case of the recording: "default", or capabilities added ("+CAP_…") and dropped ("-CAP_…")."""
    words = [] if case == "default" else case.split()
    added = {word[1:] for word in words if word[0] == "+"}
    return DEFAULT_CAPABILITIES.union(added).difference(word[1:] for word in words if word[0] == "-")


@pytest.mark.parametrize("case", recorded())
def test_every_system_call_gets_docker_s_verdict(case: str, tmp_path: Path) -> None:
    capabilities = capabilities_of(case)
    docker = expand(recorded()[case])
    pier = {key: verdict for key, verdict in of_pier(tmp_path, capabilities).items() if key in docker}
    assert len(pier) > 1000
    assert differences(expected(docker, capabilities), pier) == {}


def test_every_capability_that_20_10_s_profile_asks_about_is_recorded() -> None:
    newer = {"CAP_BPF", "CAP_PERFMON"}
    cases = [word[1:] for case in recorded() for word in case.split() if word[0] in "+-"]
    assert set(cases) >= seccomp.default_profile().capabilities - newer


@pytest.mark.parametrize("family", [38, 40, 2**32 + 38, 2**32 + 40, 2**63 + 38])
def test_18_af_alg_and_vsock_sockets_are_refused_however_the_upper_half_of_the_register_is_set(
    family: int, tmp_path: Path
) -> None:
    # CVE-2026-31431. The kernel takes the lower 32 bits only, the filter sees all 64.
    assert of_pier(tmp_path, DEFAULT_CAPABILITIES)["native socket", family] == "errno 1"


def make_bundle(directory: Path, linux: dict[str, object], annotations: dict[str, str]) -> None:
    """A container with the host's /usr, read-only, and the probe as its one process."""
    make_rootfs(directory / "rootfs")
    caps = sorted(DEFAULT_CAPABILITIES)
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/usr/bin"],
            "args": ["/usr/bin/python3", "-I", "-S", "/probe.py"],
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
        },
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/usr", "type": "none", "source": "/usr", "options": ["rbind", "ro"]},
            {"destination": "/probe.py", "type": "none", "source": str(PROBE), "options": ["bind", "ro"]},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")], **linux},
        "annotations": annotations,
    }
    (directory / "config.json").write_text(json.dumps(config))


def make_rootfs(rootfs: Path) -> None:
    for name in ("usr", "proc", "dev", "sys", "tmp", "etc"):
        (rootfs / name).mkdir(parents=True)
    for name in ("lib", "lib64", "bin"):
        (rootfs / name).symlink_to(f"usr/{name}")
    (rootfs / "probe.py").touch()


def run_in(
    runtime: str, directory: Path, linux: dict[str, object], annotations: dict[str, str]
) -> tuple[int, Verdicts]:
    if shutil.which(runtime) is None:
        pytest.skip(f"{runtime} is not installed")
    make_bundle(directory, linux, annotations)
    container = f"s-seccomp-{uuid.uuid4().hex[:12]}"
    # crun refuses a hybrid cgroup layout: the empty v2 hierarchy is hidden in a mount namespace of the command's.
    hide = "umount -n /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\""
    try:
        return ask([
            "unshare", "-m", "--propagation", "private", "sh", "-c", hide, "sh",
            runtime, "--root", str(directory / "state"), "run", "-b", str(directory), container,
        ])
    finally:
        # Newer crun keeps compiled filters in .cache.
        left = [*Path("/sys/fs/cgroup").glob(f"*/{container}"), *(directory / "state").glob("[!.]*")]
        assert left == []


def test_the_filter_given_to_crun_by_annotation_does_the_same_in_the_container(tmp_path: Path) -> None:
    bpf = seccomp.compile_bpf(seccomp.default_profile(), DEFAULT_CAPABILITIES)
    annotations = {"run.oci.seccomp_bpf_data": base64.b64encode(bpf).decode()}
    mode, verdicts = run_in("crun", tmp_path, {}, annotations)
    assert mode == 2
    assert differences(of_pier(tmp_path, DEFAULT_CAPABILITIES), verdicts) == {}


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_the_rules_given_to_a_runtime_mean_what_the_filter_means(runtime: str, tmp_path: Path) -> None:
    rules = seccomp.linux_seccomp(seccomp.default_profile(), DEFAULT_CAPABILITIES)
    mode, verdicts = run_in(runtime, tmp_path, {"seccomp": rules}, {})
    assert mode == 2
    pier = of_pier(tmp_path, DEFAULT_CAPABILITIES)
    found = differences(pier, verdicts)
    if runtime == "crun":
        # crun answers calls newer than the profile with the default action; nothing is allowed that was not.
        newest = max(n for (section, n), verdict in pier.items() if section == "native" and verdict == "allow")
        found = {key: pair for key, pair in found.items() if not (key[1] > newest and pair == ("errno 38", "errno 1"))}
    assert found == {}


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A docker command whose daemon runs in mount, network and pid namespaces, with the image "probe"."""
    if any(shutil.which(name) is None for name in ("docker", "dockerd", "containerd", "runc")):
        pytest.skip("dockerd is not installed: the recorded verdicts stand for it")
    directory = tmp_path_factory.mktemp("dockerd")
    address = f"unix://{directory}/docker.sock"
    cgroup = f"s-dockerd-{os.getpid()}"
    daemon = (
        "set -e; umount -n /sys/fs/cgroup/unified 2>/dev/null || true; mount -t proc proc /proc;"
        # Where dockerd and containerd leave files otherwise.
        f" mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /opt; mkdir {directory}/etc {directory}/work;"
        f" mount -t overlay overlay -o lowerdir=/etc,upperdir={directory}/etc,workdir={directory}/work /etc;"
        f" exec dockerd --data-root {directory}/data --exec-root {directory}/exec --pidfile {directory}/pid"
        f" -H {address} --bridge none --iptables=false --ip6tables=false --storage-driver vfs"
        f" --cgroup-parent /{cgroup}"
    )
    process = subprocess.Popen(
        ["unshare", "-m", "-n", "-p", "-f", "--kill-child=KILL", "--propagation", "private", "sh", "-c", daemon],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )
    assert process.stderr is not None
    log: list[bytes] = []
    # Reads on when the daemon is up, lest it stop at a full pipe.
    reader = threading.Thread(target=log.extend, args=(process.stderr,))
    try:
        for line in process.stderr:
            log.append(line)
            if b"API listen on" in line:
                break
        else:
            pytest.fail("dockerd did not start:\n" + b"".join(log).decode())
        reader.start()
        command = ["docker", "-H", address]
        make_rootfs(directory / "rootfs")
        with tarfile.open(directory / "rootfs.tar", "w") as tar:
            tar.add(directory / "rootfs", arcname=".")
        image = [*command, "import", str(directory / "rootfs.tar"), "probe"]
        subprocess.run(image, check=True, capture_output=True)
        yield command
    finally:
        # The daemon is process 1 of its pid namespace: with it goes all that it started; unshare reaps it and ends.
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        process.wait()
        if reader.is_alive():
            reader.join()
        process.stderr.close()
        remove_cgroups(cgroup)
        shutil.rmtree(directory)


def remove_cgroups(name: str) -> None:
    for hierarchy in Path("/sys/fs/cgroup").glob(f"*/{name}"):
        for directory, _, _ in os.walk(hierarchy, topdown=False):
            os.rmdir(directory)


@pytest.mark.host  # beside the host's own cgroups and network: the daemon makes a world of its own
@pytest.mark.parametrize("case", recorded())
def test_the_recorded_verdicts_are_dockerd_s(case: str, docker: list[str]) -> None:
    version = subprocess.run(
        [*docker, "version", "-f", "{{.Server.Version}}"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if not version.startswith("20.10."):
        pytest.skip(f"the recording is dockerd 20.10's, this is {version}")
    words = [] if case == "default" else case.split()
    options = [f"--cap-{'add' if word[0] == '+' else 'drop'}={word[5:]}" for word in words]
    mode, verdicts = ask([
        *docker, "run", "--rm", "--network", "none", *options, "-v", "/usr:/usr:ro", "-v", f"{PROBE}:/probe.py:ro",
        "probe", "/usr/bin/python3", "-I", "-S", "/probe.py",
    ])
    assert mode == 2
    assert differences(expand(recorded()[case]), verdicts) == {}
