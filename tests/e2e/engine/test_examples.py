"""The example programs, run by a Python that has the client from `pip install ./client` and nothing else of ours."""

import os
import subprocess
import sys
import sysconfig

import pytest

from tests import tools
from tests.engine import wait_until

EXAMPLES = tools.PROJECT / "examples"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment of a program that finds the installed client, and what the client needs, in site directories."""
    directory = tmp_path_factory.mktemp("client")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check",
         "--target", directory, tools.PROJECT / "client"], check=True, timeout=120)
    return {"PATH": os.environ["PATH"], "PYTHONPATH": f"{directory}{os.pathsep}{sysconfig.get_path('purelib')}",
            "PYTHONDONTWRITEBYTECODE": "1"}


def program(installed, name, *arguments, **options):
    command = [sys.executable, "-P", EXAMPLES / name, *arguments]
    return subprocess.run(command, env=installed, capture_output=True, text=True, timeout=60, check=False, **options)


def test_the_client_that_is_installed_is_the_one_that_is_used(installed):
    script = "import pier_client, pier.engine.v1; print(pier_client.__file__, *pier.engine.v1.__path__)"
    done = subprocess.run([sys.executable, "-P", "-c", script], env=installed, cwd="/", capture_output=True, text=True,
                          check=True)
    directory = installed["PYTHONPATH"].partition(os.pathsep)[0]
    assert all(path.startswith(directory) for path in done.stdout.split())


def test_a_command_is_run(installed, address):
    done = program(installed, "run.py", "--engine", address, "busybox", "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (done.returncode, done.stdout, done.stderr) == (5, "out\n", "err\n")
    done = program(installed, "run.py", "--engine", address, "no-such-image", "true")
    assert (done.returncode, done.stderr.partition(":")[0]) == (125, "NO_SUCH_IMAGE")


def test_a_pair_talks_and_leaves_nothing(installed, address, engine):
    done = program(installed, "pair.py", "--engine", address, "busybox")
    assert (done.returncode, done.stdout) == (0, "hello from web\n"), done.stderr
    assert engine.ok("volume", "ls", "-q") == ""


def test_events_are_followed_and_followed_on(installed, address, engine, tmp_path):
    command = [sys.executable, "-P", EXAMPLES / "follow.py", "--engine", address, tmp_path / "cursor"]
    engine.ok("create", "--name", "before", "busybox")
    told = tmp_path / "told"
    for name in ("one", "two"):
        with told.open("a") as output:
            follower = subprocess.Popen(command, env=installed, stdout=output)
            try:
                wait_until((tmp_path / "cursor").exists, 20)
                engine.ok("create", "--name", name, "busybox")
                wait_until(lambda name=name: f"create {name}\n" in told.read_text(), 20)
            finally:
                follower.kill()
                follower.wait()
        engine.ok("rename", name, f"{name}-away")  # while nobody follows
    with told.open("a") as output:
        follower = subprocess.Popen(command, env=installed, stdout=output)
        wait_until(lambda: "rename two-away\n" in told.read_text(), 20)
        follower.kill()
        follower.wait()
    lines = told.read_text().splitlines()
    assert [line for line in dict.fromkeys(lines)] == [  # noqa: C416 - what was told twice is told once
        "create one", "rename one-away", "create two", "rename two-away"]
