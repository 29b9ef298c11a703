"""Builds killed at stage boundaries: what was finished is reused, nothing is left, fsck is clean."""

import subprocess
import sys

import pytest

from tests.engine import wait_until

POINTS = [
    # service, boundary, how many of the two steps the next build finds
    ("buildd", "build.context@end", 0),
    ("buildd", "build.intend@end", 0),
    ("buildd", "build.commit@end", 1),
    ("buildd", "build.record@end", 1),
    ("buildd", "build.run@end", 1),
    ("buildd", "build.image@end", 2),
    ("imaged", "apply.unpack@end", 0),
    ("imaged", "copy.rename@end", 0),
    ("imaged", "commit_snapshot.layer@end", 0),
    ("imaged", "commit_snapshot.record@end", 1),
    ("imaged", "create_image.documents@end", 2),
    ("execd", "start.record_intent@end", 1),
    ("netd", "create_sandbox.record@end", 1),
]


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
    for service, point, found in POINTS:
        (context / "file").write_text(point)
        (context / "Dockerfile").write_text(f"FROM busybox\nCOPY file /\nRUN echo {service} > /said\n")
        fault_file.write_text(f"{service}:{point}:kill")
        engine.docker("build", "-t", "a", str(context))
        try:
            assert not fault_file.exists(), "the boundary was not reached"
            engine.wait_supervised()
            said = engine.ok("build", "-t", "a", str(context))
            assert said.count("Using cache") >= found, said
            assert engine.ok("run", "--rm", "a", "cat", "/file", "/said") == f"{point}{service}"
            wait_until(lambda: fsck(engine) == "nothing found\n", 10, "fsck is clean")
        except AssertionError as error:
            failures.append(f"{service}:{point}: {error}\n{fsck(engine)}")
            fault_file.unlink(missing_ok=True)
            engine.wait_serving()
    assert not failures, "\n".join(failures)
