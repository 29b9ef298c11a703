"""Changes between trees, as the program counts them: here on plain directories, as if each were a mount."""

import os

import pytest

from imaged.diff.changes import Trees, changes


@pytest.fixture
def trees(tmp_path):
    """Three roots; what a test makes in ``upper`` is what the merged tree has beside the base's."""
    for name in ("outer/upper", "base", "merged"):
        (tmp_path / name).mkdir(parents=True)
    fds = [os.open(tmp_path / name, os.O_RDONLY) for name in ("outer", "base", "merged")]
    yield tmp_path, Trees(*fds)
    for fd in fds:
        os.close(fd)


def put(top, path, text="x", *names):
    for name in names:
        file = top / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        os.utime(file, ns=(10**9, 10**9))


def found(trees, *mount_points):
    return [(change.kind, change.path.decode()) for change in changes(trees, frozenset(mount_points))]


def test_parents_of_a_change_are_changed_and_stand_before_it(trees):
    top, made = trees
    (top / "base" / "a" / "b").mkdir(parents=True)
    put(top, "a/b/new", "x", "outer/upper", "merged")
    assert found(made) == [("C", "a"), ("C", "a/b"), ("A", "a/b/new")]


def test_what_was_copied_up_and_not_changed_is_no_change(trees):
    top, made = trees
    put(top, "a/same", "x", "base", "outer/upper", "merged")
    assert found(made) == []
    put(top, "a/same", "longer", "outer/upper")
    assert found(made) == [("C", "a"), ("C", "a/same")]


def test_what_the_merged_tree_lacks_is_deleted(trees):
    top, made = trees
    put(top, "a/gone", "x", "base")
    put(top, "a/kept", "x", "base", "merged")
    (top / "outer/upper/a").mkdir()
    put(top, "top", "x", "base")
    assert found(made) == [("D", "top"), ("C", "a"), ("D", "a/gone")]


def test_a_directory_in_a_files_place_is_changed_and_what_is_in_it_added(trees):
    top, made = trees
    put(top, "a", "x", "base")
    put(top, "a/inside", "x", "outer/upper", "merged")
    assert found(made) == [("C", "a"), ("A", "a/inside")]


def test_a_directory_that_goes_while_it_is_read_ends_nothing(trees):
    top, made = trees
    put(top, "a/one", "x", "base")
    put(top, "a/two", "x", "outer/upper")
    assert ("A", "a/two") in found(made)
