"""A traced start: no mount, netlink, nft, cgroup or rename call, and no commit, happens outside a stage.

The services mark each stage's begin and end (``PIER_STAGE_MARKS``), one strace sees the marks and the calls of all of
them in one order. A call is inside where a stage of the same process is open; a shim's, where one of execd's is.
"""

import os
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from chassis.instance import SERVICES
from tests import tools
from tests.engine import running

CALLS = (
    "mount,umount2,fsopen,fsconfig,fsmount,move_mount,open_tree,mount_setattr,rename,renameat,renameat2,"
    "fsync,fdatasync,syncfs,mkdir,mkdirat,rmdir,sendto,sendmsg,access,write,openat,clone,clone3"
)
LINE = re.compile(r"^(\d+) +(\w+)\((.*)$")
BORN = re.compile(r"^(\d+) +(?:<\.\.\. )?clone3?\b.*= (\d+)$")
MARK = re.compile(r'"/pier-stage/(begin|end)/([^"]+)"')
CGROUP_FILE = re.compile(r"/sys/fs/cgroup/[^>\"]*")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with running("traced", tmp_path_factory.mktemp("engine"), PIER_STAGE_MARKS="1") as engine:
        engine.load_busybox()
        yield engine


def matters(call, arguments):
    """Whether the call is one that must be inside a stage."""
    if call in ("sendto", "sendmsg"):
        return "NETLINK" in arguments
    if call in ("write", "openat", "mkdir", "mkdirat", "rmdir"):
        if not CGROUP_FILE.search(arguments.split(", ")[0] if call == "write" else arguments):
            return False
        return call != "openat" or "O_WRONLY" in arguments or "O_RDWR" in arguments
    if call.startswith("rename") and ".pyc" in arguments:
        return False  # Python keeps what it compiled
    return call not in ("access", "clone", "clone3")


def threads_of(pid):
    return {int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()}


def test_every_change_of_the_kernel_or_the_disk_is_inside_a_stage(engine, tmp_path):
    engine.ok("run", "--rm", "busybox", "true")
    pids = {engine.pid(name): name for name in (*SERVICES, "zygote")}
    log = tmp_path / "strace"
    tracer = subprocess.Popen(
        [tools.program("strace"), "-f", "-yy", "-s", "200", "-e", f"trace={CALLS}", "-o", log,
         *[word for pid in pids for word in ("-p", str(pid))]],
        stderr=subprocess.PIPE,
    )
    assert tracer.stderr is not None
    attached = b""
    while attached.count(b"attached") < len(pids):
        assert select.select([tracer.stderr], [], [], 60)[0], attached
        attached += os.read(tracer.stderr.fileno(), 65536)
    owners = {thread: name for pid, name in pids.items() for thread in threads_of(pid)}
    engine.ok("run", "--name", "traced", "busybox", "true")
    engine.ok("rm", "traced")
    time.sleep(0.5)  # what the removal leaves for later is to be seen, too
    owners |= {thread: name for pid, name in pids.items() for thread in threads_of(pid)}
    tracer.terminate()
    tracer.communicate(timeout=60)
    seen, outside = judge(log.read_text(errors="replace"), owners)
    assert seen > 20, "the trace shows hardly anything: it was not attached"
    assert not outside, "outside any stage:\n" + "\n".join(outside)


def born(text):
    """(parent, child) of each thread that was made: netd makes one for each namespace, and it ends at once."""
    starting = set()
    for line in text.splitlines():
        if "clone" in line and "CLONE_THREAD" in line:
            starting.add(line.split()[0])
        if (match := BORN.match(line)) and match[1] in starting:
            starting.discard(match[1])
            yield int(match[1]), int(match[2])


def judge(text, owners):
    """How many calls mattered, and the lines of those outside every stage."""
    open_stages: dict[str, int] = {}
    seen, outside = 0, []
    for thread, child in born(text):
        owners.setdefault(child, owners.get(thread, "shim"))
    for line in text.splitlines():
        if not (match := LINE.match(line)):
            continue
        thread, call, arguments = int(match[1]), match[2], match[3]
        owner = owners.get(thread, "shim")
        if mark := MARK.search(arguments):
            open_stages[owner] = open_stages.get(owner, 0) + (1 if mark[1] == "begin" else -1)
        elif matters(call, arguments):
            seen += 1
            inside = open_stages.get(owner, 0)
            if owner in ("shim", "zygote"):  # these mark what they do unasked; the rest is a stage of execd's
                inside += open_stages.get("execd", 0)
            if inside <= 0:
                outside.append(f"{owner}: {line}")
    return seen, outside
