"""Restart policies, by both commands, and with the services away."""

import pytest

from tests.engine import sh, wait_until

COUNTS = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n > /n; echo life $n;"


def facts(engine, name):
    return engine.inspect(name)


def lives(engine, name):
    return engine.ok("logs", name).count("life ")


def test_on_failure_is_tried_as_often_as_asked_and_no_more(client, engine):
    client.ok("run", "-d", "--name", "fails", "--restart", "on-failure:2", *sh(COUNTS + "exit 3"))
    wait_until(lambda: facts(engine, "fails")["State"]["Status"] == "exited")
    found = facts(engine, "fails")
    assert (found["RestartCount"], found["State"]["ExitCode"], lives(engine, "fails")) == (2, 3, 3)
    client.ok("run", "-d", "--name", "ends", "--restart", "on-failure:2", *sh(COUNTS + "exit 0"))
    wait_until(lambda: facts(engine, "ends")["State"]["Status"] == "exited")
    assert (facts(engine, "ends")["RestartCount"], lives(engine, "ends")) == (0, 1)


def test_another_life_has_the_same_files_address_and_name(client, engine):
    client.ok("run", "-d", "--name", "again", "--restart", "always", "-p", "80",
              *sh(COUNTS + "ip -o -4 address show eth0; cat /etc/hosts | tail -1; [ $n -gt 2 ] && sleep 1000; exit 1"))
    wait_until(lambda: lives(engine, "again") == 3 and facts(engine, "again")["State"]["Status"] == "running")
    lines = [line for line in engine.ok("logs", "again").splitlines() if not line.startswith("life")]
    assert len(lines) == 6
    assert len(set(lines)) == 2, lines
    assert facts(engine, "again")["RestartCount"] == 2
    client.ok("stop", "-t", "0", "again")
    assert facts(engine, "again")["State"]["Status"] == "exited"
    client.ok("start", "again")
    assert facts(engine, "again")["RestartCount"] == 0


@pytest.mark.parametrize("verb", [["stop"], ["kill"], ["rm", "-f"]])
def test_one_that_is_to_be_restarted_can_be_ended(client, engine, verb):
    engine.ok("run", "-d", "--name", "loops", "--restart", "always", *sh("exit 1"))
    # Pauses double: after some restarts it is most probably waiting.
    wait_until(lambda: facts(engine, "loops")["RestartCount"] >= 3
               and facts(engine, "loops")["State"]["Status"] == "restarting")
    assert "Restarting (1)" in client.ok("ps")
    assert "is restarting" in client.run("exec", "loops", "true").stderr
    assert client.run("rm", "loops").returncode == 1
    client.ok(*verb, "loops")
    if verb[0] == "rm":
        assert engine.ok("ps", "-aq") == ""
    else:
        assert facts(engine, "loops")["State"]["Status"] == "exited"
        client.ok("rm", "loops")


def test_a_restart_needs_execd_alone(client, engine):
    engine.ok("run", "-d", "--name", "needs", "--restart", "always", *sh(COUNTS + "while [ ! -e /end ]; do sleep 0.02; "
                                                                         "done; rm /end; exit 1"))
    engine.kill("gateway", "imaged", "netd")
    engine.wait_serving()
    engine.ok("exec", "needs", "touch", "/end")
    wait_until(lambda: lives(engine, "needs") == 2)
    engine.kill("execd", "zygote")
    engine.wait_serving()
    engine.ok("exec", "needs", "touch", "/end")
    wait_until(lambda: lives(engine, "needs") == 3)
    assert facts(engine, "needs")["RestartCount"] == 2


def test_an_end_while_execd_is_dead_is_followed_too(client, engine):
    engine.ok("run", "-d", "--name", "unseen", "--restart", "unless-stopped", *sh(COUNTS + "sleep 0.3; exit 1"))
    engine.kill("execd")
    engine.wait_serving()
    before = lives(engine, "unseen")
    wait_until(lambda: lives(engine, "unseen") > before)


def test_docker_wait_is_told_each_end(client, engine):
    engine.ok("run", "-d", "--name", "waited", "--restart", "on-failure:1", *sh("sleep 0.2; exit 5"))
    assert client.ok("wait", "waited") == "5"
