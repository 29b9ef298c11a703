"""Who is not root finds nothing of an engine's: directories of state and of sockets are its own."""

import os
import stat

import pytest

from tests.engine import running


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Started where everything that is made is open to all, over directories that were open to all before."""
    root = tmp_path_factory.mktemp("engine") / "root"
    root.mkdir(mode=0o777)
    root.chmod(0o777)
    before = os.umask(0)
    try:
        with running("open", root.parent) as engine:
            engine.load_busybox()
            yield engine
    finally:
        os.umask(before)


def open_to_others(directory):
    """Paths below ``directory`` that others than the owner may look into or use, reached from above."""
    found = []
    pending = [directory]
    while pending:
        path = pending.pop()
        facts = os.lstat(path)
        if stat.S_ISLNK(facts.st_mode) or not facts.st_mode & 0o077:
            continue  # what is behind is not reached
        found.append(f"{path} {facts.st_mode & 0o777:o}")
        if stat.S_ISDIR(facts.st_mode):
            pending += [os.path.join(path, name) for name in os.listdir(path)]
    return found


def test_56_nothing_of_the_engines_is_reached_by_others_and_what_was_open_is_closed(engine):
    engine.ok("run", "-d", "--name", "box", "-v", "data:/data", "busybox", "sleep", "1000")
    for directory in (engine.instance.root, engine.instance.run):
        assert open_to_others(str(directory)) == []
    engine.down()
    for directory in (engine.instance.root, engine.instance.run):
        directory.chmod(0o777)
    engine.up()
    engine.wait_serving()
    for directory in (engine.instance.root, engine.instance.run):
        assert open_to_others(str(directory)) == []
    engine.ok("volume", "ls")
    engine.ok("rm", "-f", "box")
    engine.ok("volume", "rm", "data")
