"""`run --rm IMAGE true` and `exec` beside their floor, the OCI runtime alone with the same document; memory; idling.

Both are measured in turns in one run, so that what else the machine does falls on both alike. The limits are ratios to
the floor, and sizes; milliseconds are printed for people.
"""

import json
import os
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from deploy.busybox_image import layer, rootfs_entries
from tests.engine import PROGRAMS

pytestmark = pytest.mark.bench

ROUNDS = int(os.environ.get("PIER_BENCH_ROUNDS", "30"))
RUN_LIMIT = 5.0  # times the floor
EXEC_LIMIT = 5.0
SERVICES_LIMIT = 160 << 20  # bytes of PSS together
SHIMS = 20  # they share what the zygote imported: a mean says how many there were
SHIM_LIMIT = 2_500_000
IDLE_LIMIT = 0.1  # seconds of CPU time in IDLE_FOR
IDLE_FOR = 30.0


def milliseconds(command, **options):
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **options)
    return (time.perf_counter() - began) * 1000


def in_turns(commands):
    """Times of each command, taken in turns after one warm-up."""
    samples: dict[str, list[float]] = {name: [] for name in commands}
    for command, options in commands.values():
        milliseconds(command, **options)
    for _ in range(ROUNDS):
        for name, (command, options) in commands.items():
            samples[name].append(milliseconds(command, **options))
    return samples


def report(title, samples):
    print(f"\n{title} ({ROUNDS} rounds)\n  {'':<24}{'median':>8}{'p10':>8}{'p90':>8} ms")
    for name, times in samples.items():
        tenths = statistics.quantiles(times, n=10)
        print(f"  {name:<24}{statistics.median(times):8.1f}{tenths[0]:8.1f}{tenths[-1]:8.1f}")


@pytest.fixture(scope="module")
def floor(engine, tmp_path_factory):
    """A bundle of `true` with the document that execd wrote for such a container, a root and cgroup of its own."""
    bundle = tmp_path_factory.mktemp("floor")
    id_ = engine.ok("run", "-d", "busybox", "sleep", "600")
    documents = [json.loads(path.read_text()) for path in engine.instance.run.glob("execd/**/config.json")]
    spec, *_ = [document for document in documents if document["linux"]["cgroupsPath"].endswith(id_)]
    root = bundle / "rootfs"
    root.mkdir()
    subprocess.run(["tar", "-x", "-C", root], input=layer(rootfs_entries()), check=True)
    spec["root"]["path"] = str(root)
    spec["process"]["args"] = ["true"]
    spec["process"]["terminal"] = False
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["type"] != "bind"]  # their sources go with it
    spec["linux"]["cgroupsPath"] = "/floor"
    for namespace in spec["linux"]["namespaces"]:
        namespace.pop("path", None)
    (bundle / "config.json").write_text(json.dumps(spec))
    engine.ok("rm", "-f", id_)
    return bundle


def hidden(command):
    """``command`` where the empty v2 hierarchy beside v1 is out of sight: crun 1.8 refuses the pair."""
    unified = "/sys/fs/cgroup/unified"
    if not os.path.ismount(unified):
        return command
    hide = f"umount {unified}; exec \"$@\""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", hide, "sh", *command]


def test_run_beside_the_runtime_alone(engine, floor):
    environment = {"env": engine.environment()}
    commands: dict[str, tuple[list[str], dict[str, object]]] = {
        "floor: crun run": (hidden(["crun", "run", "--bundle", str(floor), "floor"]), {}),
    }
    for network in ("bridge", "none", "host"):
        for client in ("pier", "docker"):
            argv = [*engine.argv(client), "run", "--rm", "--network", network, "busybox", "true"]
            commands[f"{client} run, {network}"] = (argv, environment)
    samples = in_turns(commands)
    report("run --rm busybox true", samples)
    engine.ok("run", "--name", "explained", "busybox", "true")
    print(engine.pier("explain", "explained").stdout)
    engine.ok("rm", "explained")
    lowest = statistics.median(samples["floor: crun run"])
    assert statistics.median(samples["pier run, bridge"]) <= RUN_LIMIT * lowest


def test_exec_beside_the_runtime_alone(engine, floor):
    engine.ok("run", "-d", "--name", "base", "busybox", "sleep", "600")
    subprocess.run(hidden(["crun", "run", "--detach", "--bundle", str(_sleeping(floor)), "floor-exec"]), check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        samples = in_turns({
            "floor: crun exec": (hidden(["crun", "exec", "floor-exec", "true"]), {}),
            "pier exec": ([*engine.argv("pier"), "exec", "base", "true"], {"env": engine.environment()}),
            "docker exec": ([*engine.argv("docker"), "exec", "base", "true"], {"env": engine.environment()}),
        })
    finally:
        subprocess.run(hidden(["crun", "delete", "--force", "floor-exec"]), check=True)
        engine.ok("rm", "-f", "base")
    report("exec base true", samples)
    assert statistics.median(samples["pier exec"]) <= EXEC_LIMIT * statistics.median(samples["floor: crun exec"])


def _sleeping(bundle):
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"]["args"] = ["sleep", "600"]
    spec["linux"]["cgroupsPath"] = "/floor-exec"
    other = bundle / "sleeping"
    other.mkdir()
    (other / "config.json").write_text(json.dumps(spec))
    return other


def pss(pid):
    """Proportional set size of a process in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Pss")


def parent(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("PPid:")[2].split()[0])


def test_memory_of_services_and_shims(engine):
    sizes = {program: pss(engine.pid(program)) for program in (*PROGRAMS, "launcher")}
    for number in range(SHIMS):
        engine.ok("run", "-d", "--name", f"m{number}", "busybox", "sleep", "600")
    shims = [pss(parent(engine.inspect(f"m{number}")["State"]["Pid"])) for number in range(SHIMS)]
    engine.remove_everything()
    print("\nPSS, MB: " + ", ".join(f"{name} {size / 1e6:.1f}" for name, size in sizes.items()))
    print(f"together {sum(sizes.values()) / 1e6:.1f}; a shim, mean of {SHIMS}: {statistics.mean(shims) / 1e6:.2f}")
    assert sum(sizes.values()) <= SERVICES_LIMIT
    assert statistics.mean(shims) <= SHIM_LIMIT


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_idle_services_use_no_cpu(engine):
    pids = {program: engine.pid(program) for program in (*PROGRAMS, "launcher")}
    before = {program: cpu_seconds(pid) for program, pid in pids.items()}
    time.sleep(IDLE_FOR)
    used = {program: cpu_seconds(pid) - before[program] for program, pid in pids.items()}
    print(f"\nCPU seconds in {IDLE_FOR:.0f} s: " + ", ".join(f"{name} {value:.2f}" for name, value in used.items()))
    assert sum(used.values()) <= IDLE_LIMIT
