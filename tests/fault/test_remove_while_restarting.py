"""A container that is removed by force at the very moment in which its restart policy begins another life."""

from tests.engine import sh, wait_until


def test_it_is_removed_although_it_was_started_meanwhile(engine, fault_file):
    engine.ok("run", "-d", "--name", "again", "--restart", "always", *sh("sleep 0.2; exit 1"))
    fault_file.write_text("execd:start.mount:delay=1s")
    wait_until(lambda: not fault_file.exists(), 30, "its next life has begun, and holds the container's lock")
    engine.ok("rm", "-f", "again")
    assert engine.docker("inspect", "again").returncode != 0
