"""Builds killed at stage boundaries: what was finished is reused, nothing is left, fsck is clean."""

import re
import subprocess
import sys

import pytest

from tests.engine import wait_until
from tests.tools import PROJECT

POINTS = [
    # service, boundary, how many of the two steps the next build finds
    ("buildd", "build.context@end", 0),
    ("imaged", "prepare.record@end", 0),
    ("execd", "create.record_rootfs@end", 1),
    ("imaged", "apply.unpack@end", 0),
    ("netd", "create_sandbox.record@end", 1),
    ("buildd", "build.intend@end", 0),
    ("execd", "start.record_intent@end", 1),
    ("buildd", "build.copy@end", 0),
    ("imaged", "copy.rename@end", 0),
    ("netd", "attach.link@end", 1),
    ("buildd", "build.commit@end", 1),
    ("imaged", "commit_snapshot.layer@end", 0),
    ("execd", "start.record@end", 1),
    ("buildd", "build.record@end", 1),
    ("imaged", "commit_snapshot.intent@end", 1),
    ("buildd", "build.cache_mount@end", 1),
    ("imaged", "commit_snapshot.record@end", 1),
    ("buildd", "build.run@end", 1),
    ("imaged", "create_image.documents@end", 2),
    ("buildd", "build.image@end", 2),
    ("imaged", "create_image.record@end", 2),
]
_OF_A_LAUNCHER = 11
"""Kills, the services in turns, after which another launcher begins: one makes longer and longer pauses before it
starts what keeps dying."""
NOT_KILLED_AT = {
    "build.parse": "nothing is written", "build.check": "nothing is written", "build.lookup": "nothing is written",
    "build.hash": "nothing is written",
    "build.stage": "all of its steps are above", "build.pull": "imaged's own boundaries, killed in its tests",
    "build.fetch": "a file without a name", "build.git_fetch": "a directory that a start sweeps",
    "build.git_refs": "a directory that a start sweeps", "build.abandon": "the intent is settled as after a kill",
    "build.used": "times alone", "build.stream": "the gateway's, which keeps nothing",
}
"""Boundaries of a build at which nothing can be left half done, or where others see to it."""


def test_every_boundary_of_a_build_is_killed_at_or_said_why_not():
    text = "".join(path.read_text() for path in (PROJECT / "services" / "buildd").glob("*.py"))
    found = set(re.findall(r'(?:stage|store\.write)\(\s*"(build\.\w+)"', text))
    killed = {point.removesuffix("@end") for service, point, _ in POINTS if service == "buildd"}
    assert found - {*killed, *NOT_KILLED_AT} == set()
    assert killed - found == set()


def fsck(engine):
    """What the services say of themselves, as `pier system fsck` prints it."""
    done = subprocess.run(
        [sys.executable, "-m", "pier_cli.system", "fsck", "--instance", engine.instance.name], check=False,
        capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


@pytest.fixture
def context(engine, tmp_path):
    (tmp_path / "file").write_text("content")
    (tmp_path / "Dockerfile").write_text("FROM busybox\nENV A=b\n")
    engine.ok("build", str(tmp_path))  # the base is a ground from here on
    yield tmp_path
    engine.ok("builder", "prune", "-af")
    for id_ in set(engine.ok("images", "-aq").split()) - {engine.ok("images", "-q", "busybox:latest")}:
        engine.docker("rmi", "-f", id_)


def test_a_build_killed_at_a_boundary_is_gone_on_with(engine, fault_file, context):
    failures = []
    for number, (service, point, found) in enumerate(POINTS):
        if number and number % _OF_A_LAUNCHER == 0:
            wait_until(lambda: fsck(engine) == "nothing found\n", 20, "fsck is clean")
            engine.down()
            engine.up()
            engine.wait_supervised()
        (context / "file").write_text(point)
        (context / "Dockerfile").write_text(
            f"FROM busybox\nCOPY file /\nRUN --mount=type=cache,target=/c echo {service} > /said\n")
        fault_file.write_text(f"{service}:{point}:kill")
        engine.docker("build", "-t", "a", str(context))
        try:
            assert not fault_file.exists(), "the boundary was not reached"
            engine.wait_supervised()
            said = engine.ok("build", "-t", "a", str(context))
            assert said.count("Using cache") >= found, said
            assert engine.ok("run", "--rm", "a", "cat", "/file", "/said") == f"{point}{service}"
        except AssertionError as error:
            failures.append(f"{service}:{point}: {error}\n{fsck(engine)}")
            fault_file.unlink(missing_ok=True)
            engine.wait_serving()
    assert not failures, "\n".join(failures)
    wait_until(lambda: fsck(engine) == "nothing found\n", 20, "fsck is clean")
