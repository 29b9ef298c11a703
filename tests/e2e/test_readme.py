"""The README is true: what `make run` does after the set-up, every line of the tour, every page it names."""

import re
import subprocess

import pytest

from chassis.instance import instance
from launcher import control
from tests import leaks, tools, world
from tests.engine import Engine

README = (tools.PROJECT / "README.md").read_text()
TOUR = [block.replace("\n    ", "\n").strip() for block in re.findall(r"<!-- tour -->\n((?:    .*\n)+)", README)]


def shell(script):
    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=tools.PROJECT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def quickstart():
    """The default instance, brought up by what `make run` calls; its output."""
    assert world.inside(), "this test needs a world"
    own = instance()
    forget = leaks.register_baseline(Engine(own).kept)
    yield shell("deploy/quickstart.py")
    control.down(own)
    shell("bin/pier system clear")
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    assert own.nft_table not in tables.split()
    assert own.bridge not in links
    assert not list((own.run / "netd" / "ns").iterdir())
    forget()


def test_the_quick_start_runs_a_container_and_says_where_the_time_went(quickstart):
    assert re.search(r"Hello from [0-9a-f]{12}, a container at 172\.\d+\.0\.\d+\.", quickstart)
    assert re.search(r"start\.run .* ms", quickstart)
    assert re.search(r"sum of stages [\d.]+ ms of [\d.]+ ms wall", quickstart)
    assert quickstart.rstrip().splitlines()[-1].startswith("Pier is up. Go on with `bin/pier run -it busybox sh`")


def test_the_tour_is_true(quickstart):
    assert len(TOUR) == 2
    first, second = (shell(block) for block in TOUR)
    assert first.startswith("hello\n")
    assert "0.0.0.0:8080->80/tcp" in first
    assert "start.run" in first
    assert second.count("serving") == 5
    assert "still here\n" in second
    assert "nothing found\n" in second


def test_what_is_in_use_is_not_cleared_away(quickstart):
    command = ["bin/pier", "system", "clear"]
    done = subprocess.run(command, cwd=tools.PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "stop the services first" in done.stderr


def test_the_named_pages_are_there():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (tools.PROJECT / target).exists(), target
