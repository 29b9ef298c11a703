"""The kernel's list of mounts, read."""

import os

from hypothesis import given
from hypothesis import strategies as st

from chassis import mountinfo
from chassis.mountinfo import Mount

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name).map(lambda name: b"/" + name)
TAGS = st.lists(st.sampled_from(["shared:7", "master:2", "propagate_from:3", "unbindable"]), max_size=3, unique=True)


def escaped(name: bytes) -> bytes:
    """As the kernel writes it (fs/proc_namespace.c, mangle)."""
    for byte in b"\\ \t\n#":
        name = name.replace(bytes([byte]), b"\\%03o" % byte)
    return name


def line(mount: Mount) -> bytes:
    tags = "".join(f"{tag} " for tag in mount.tags).encode()
    return b"22 21 %d:%d %s %s rw,relatime %s- %s /dev/x %s\n" % (
        os.major(mount.device), os.minor(mount.device), escaped(os.fsencode(mount.root)),
        escaped(os.fsencode(mount.point)), tags, mount.kind.encode(), escaped(os.fsencode(mount.options)))


MOUNTS = st.builds(
    Mount, st.builds(os.makedev, st.integers(0, 4095), st.integers(0, 1 << 19)), NAMES.map(os.fsdecode),
    NAMES.map(os.fsdecode), TAGS.map(tuple), st.sampled_from(["ext4", "tmpfs", "fuse.sshfs"]),
    st.sampled_from(["rw", "rw,size=4k", "rw,path=/a b"]))


@given(st.lists(MOUNTS, max_size=5))
def test_what_the_kernel_writes_is_read(mounts):
    assert list(mountinfo.parse(b"".join(map(line, mounts)))) == mounts


def test_this_process_has_a_root():
    roots = [mount for mount in mountinfo.own() if mount.point == "/"]
    assert roots[-1].device == os.stat("/").st_dev
