"""Paths in strangers' trees: resolved as the kernel resolves them for a process that has the tree as its root."""

import errno
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis import kernel
from chassis.errors import InvalidArgument
from imaged.files.roots import Root, cleaned

NAMES = st.sampled_from([b"a", b"b", b"c", b"..", b"."])
PATHS = st.lists(NAMES, max_size=5).map(b"/".join)
TREES = st.lists(st.tuples(st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=3),
                           st.one_of(st.just(None), st.tuples(st.booleans(), PATHS))), max_size=8)


def grown(top, entries):
    """Directories (None) and links (whether absolute, target) at paths, where they can be made."""
    for parts, link in entries:
        path = os.path.join(os.fsencode(top), *parts)
        try:
            if link is None:
                os.makedirs(path)
            else:
                os.symlink((b"/" if link[0] else b"") + (link[1] or b"."), path)
        except OSError:
            continue


def opened(fd, path):
    """What the kernel says that the path is; None where there is nothing."""
    try:
        return kernel.openat2(fd, path or b".", os.O_PATH, kernel.RESOLVE_IN_ROOT)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return None


@settings(max_examples=150)
@given(TREES, PATHS)
def test_a_path_that_is_there_resolves_as_the_kernel_resolves_it(tmp_path_factory, entries, path):
    top = tmp_path_factory.mktemp("root")
    grown(top, entries)
    fd = os.open(top, os.O_PATH)
    try:
        root = Root(fd)
        try:
            place = root.resolve(path)
        except InvalidArgument:
            place = None
        found = opened(fd, path)
        if found is None:
            return
        assert place is not None
        assert b".." not in place.split(b"/")
        status = root.status(place)
        assert status is not None
        assert os.path.samestat(os.fstat(found), status)
        os.close(found)
    finally:
        os.close(fd)
        shutil.rmtree(top)


@given(st.binary(max_size=20))
def test_a_cleaned_path_never_climbs(path):
    assert not {b"", b".", b".."} & set(cleaned(path).split(b"/")) or cleaned(path) == b""


def test_a_loop_is_told(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    fd = os.open(tmp_path, os.O_PATH)
    with pytest.raises(InvalidArgument, match="too many levels"):
        Root(fd).resolve(b"loop/x")
    os.close(fd)
