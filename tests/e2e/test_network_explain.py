"""``pier network explain``: who would stop a packet to a published port."""

import json
import subprocess

import pytest

from tests.engine import sh


@pytest.fixture(autouse=True)
def cleaned(engine):
    yield
    engine.remove_everything()
    subprocess.run(["nft", "add table ip operator; delete table ip operator"], check=True)


def test_the_deciding_rule_is_shown_with_its_table_and_chain(engine):
    engine.ok("run", "-d", "--name", "web", "-p", "80", *sh("httpd -f -p 80"))
    done = engine.pier("network", "explain", "web", "80")
    assert done.returncode == 0, done.stderr
    first, *steps = done.stdout.splitlines()
    assert first.endswith(":80: accepted")
    assert [line for line in steps if line.startswith("=>") and "(ours): accept" in line]
    guard = "add chain ip operator guard { type filter hook forward priority -5; }"
    rule = "add rule ip operator guard tcp dport 80 counter drop"
    subprocess.run(["nft", f"add table ip operator; {guard}; {rule}"], check=True)
    shown = engine.pier("network", "explain", "web", "80/tcp").stdout
    assert "dropped" in shown
    assert "=> forward    -5  ip operator guard (not ours): drop: tcp dport 80 counter" in shown
    (entry,) = json.loads(engine.pier("network", "explain", "--json", "web", "80").stdout)
    assert (entry["Verdict"], entry["Steps"][entry["DecidedBy"]]["Table"]) == ("drop", "operator")


def test_a_port_that_is_not_published_and_a_container_that_does_not_run_are_told(engine):
    engine.ok("create", "--name", "web", "-p", "80", *sh("httpd -f -p 80"))
    assert "is not running" in engine.pier("network", "explain", "web", "80").stderr
    engine.ok("start", "web")
    assert "port 81/tcp is not published" in engine.pier("network", "explain", "web", "81").stderr
    assert engine.pier("network", "explain", "web", "x").returncode == 1
