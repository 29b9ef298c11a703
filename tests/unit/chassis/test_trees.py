"""chassis.trees: strangers' trees are removed and measured whatever they are like."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import trees

DEPTH = 3000  # names of 255 bytes: far beyond PATH_MAX, recursion and descriptor limits


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    fds = len(os.listdir("/proc/self/fd"))
    try:
        yield fd
        assert len(os.listdir("/proc/self/fd")) == fds
    finally:
        os.close(fd)


def _deep(parent: int, depth: int) -> None:
    here = os.dup(parent)
    for _ in range(depth):
        os.mkdir(b"d" * 255, dir_fd=here)
        there = os.open(b"d" * 255, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)


def test_a_tree_deeper_than_any_path_is_measured_and_removed(parent: int, tmp_path: Path) -> None:
    _deep(parent, DEPTH)
    assert trees.usage(parent, b"d" * 255).inodes == DEPTH
    trees.remove_tree(parent, b"d" * 255)
    assert os.listdir(tmp_path) == []


def test_a_wide_tree_is_removed_in_linear_time(parent: int, tmp_path: Path) -> None:
    def seconds(width: int) -> float:
        for index in range(width):
            (tmp_path / "tree" / str(index) / "below").mkdir(parents=True)
        start = time.process_time()
        trees.remove_tree(parent, b"tree")
        return time.process_time() - start

    assert seconds(8000) < 16 * max(seconds(1000), 0.005)


def test_links_are_removed_and_not_followed(parent: int, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"kept")
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below" / "link").symlink_to("../../outside")
    (tree / "below" / "up").symlink_to("..")
    os.link(tmp_path / "outside" / "file", tree / "hard")
    os.mkfifo(tree / "fifo")
    trees.remove_tree(parent, b"tree")
    assert os.listdir(tmp_path) == ["outside"]
    assert (tmp_path / "outside" / "file").read_bytes() == b"kept"


def test_a_file_and_a_link_are_trees_too_and_nothing_is_nothing(parent: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("/")
    for name in (b"file", b"link", b"absent"):
        trees.remove_tree(parent, name)
    assert os.listdir(tmp_path) == []


def test_a_file_with_two_names_counts_once(parent: int, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_bytes(b"x" * 100_000)
    once = trees.usage(parent, b"tree")
    os.link(tmp_path / "tree" / "a", tmp_path / "tree" / "b")
    twice = trees.usage(parent, b"tree")
    assert twice.inodes == once.inodes == 2
    assert 100_000 <= twice.bytes <= 120_000


@given(st.sets(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map(tuple), max_size=20))
def test_a_walk_names_everything_parents_first(paths: set[tuple[str, ...]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "tree"
        root.mkdir()
        for path in paths:
            (root / "/".join(path)).mkdir(parents=True, exist_ok=True)
        parent = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            walked = [found.decode() for found, _ in trees.walk(parent, b"tree")]
            expected = sorted({""} | {"/".join(path[:end]) for path in paths for end in range(len(path) + 1)},
                              key=lambda one: one.split("/") if one else [])
            assert walked == expected
            trees.remove_tree(parent, b"tree")
            assert os.listdir(name) == []
        finally:
            os.close(parent)
