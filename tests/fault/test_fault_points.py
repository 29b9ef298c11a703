"""Create and start killed at every stage boundary there is: afterwards it is done or undone, and fsck is clean.

The boundaries are those of a successful run's trace, over all services; nothing is listed by hand. Besides, kills at
random milliseconds, whose seed is printed.
"""

import json
import os
import random
import threading
import time

import pytest

from tests.engine import PROGRAMS, wait_until

RANDOM_KILLS = int(os.environ.get("PIER_TEST_RANDOM_KILLS", "10"))
# Each owner's boundaries are all killed by its own tests (tests/service); here the suite takes the coordinator's.
KILLED = ("gateway", "imaged", "netd", "execd") if os.environ.get("PIER_TEST_ALL_BOUNDARIES") else ("gateway",)


def boundaries(engine):
    """(service, stage) of each span below the roots of a create's and a start's trace."""
    engine.ok("run", "--name", "probe", "busybox", "true")

    def traced():
        roots = json.loads(engine.pier("explain", "--json", "--all", "probe").stdout)
        return roots if {root["name"] for root in roots} >= {"create", "start"} else None

    found = set()

    def walk(span):
        if "." in span["name"]:
            found.add((span["service"], span["name"]))
        for child in span["children"]:
            walk(child)

    for root in wait_until(traced, what="the traces of create and start"):
        walk(root)
    engine.ok("rm", "probe")
    found = {point for point in found if point[0] != "shim"}  # a shim has its own tests: tests/service/execd
    assert {service for service, _ in found} == {"gateway", "imaged", "netd", "execd"}
    return sorted(found)


def expect_clean(engine, subject):
    """fsck finds nothing, soon; what it found last is told."""
    told = ""

    def clean():
        nonlocal told
        found = engine.pier("system", "fsck")
        told = found.stdout + found.stderr
        return found.returncode == 0

    try:
        wait_until(clean)
    except AssertionError:
        raise AssertionError(f"{subject}: {told}") from None


def settled(engine, name):
    """The container is not there, or at rest: never half made."""
    states = engine.ok("ps", "-a", "--filter", f"name=^{name}$", "--format", "{{.State}}").split()
    return not states or states[0] in ("created", "exited", "running")


def check(engine, name, subject):
    engine.wait_serving()
    wait_until(lambda: settled(engine, name), what=f"{subject}: {name} settled")
    expect_clean(engine, subject)
    engine.docker("rm", "-f", name)
    assert engine.ok("run", "--rm", "--name", name, "busybox", "echo", "again") == "again", subject
    expect_clean(engine, f"{subject}, in the end")


def test_a_start_killed_at_any_boundary_is_done_or_undone(engine, fault_file):
    points = [(service, stage + end) for service, stage in boundaries(engine) if service in KILLED
              for end in ("", "@end")]
    assert len(points) >= 12
    failures = []
    for number, (service, point) in enumerate(points):
        name = f"point{number}"
        fault_file.write_text(f"{service}:{point}:kill")
        engine.docker("run", "--name", name, "busybox", "true")
        try:
            assert not fault_file.exists(), "the boundary was not reached"
            check(engine, name, f"{service}:{point}")
        except AssertionError as error:
            failures.append(f"{service}:{point}: {error}")
            engine.wait_serving()
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("victim", PROGRAMS)
def test_a_start_killed_at_a_random_moment_is_done_or_undone(engine, victim):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for number in range(max(1, RANDOM_KILLS // len(PROGRAMS))):
        name = f"random{number}"
        runner = threading.Thread(target=engine.docker, args=("run", "--name", name, "busybox", "true"))
        runner.start()
        time.sleep(chance.uniform(0, 0.15))
        engine.kill(victim)
        runner.join()
        check(engine, name, f"{victim} killed, seed {seed}, try {number}")
        engine.wait_supervised()
