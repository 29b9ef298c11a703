"""Links of the default network, which has no DNS of its own."""

import json

import pytest

from tests.engine import sh


@pytest.fixture(autouse=True)
def cleaned(engine):
    yield
    engine.remove_everything()


def hosts(engine, name):
    lines = engine.ok("exec", name, "cat", "/etc/hosts").splitlines()
    return {words[1]: (words[0], words[1:]) for words in (line.split() for line in lines) if len(words) > 1}


def address(engine, name):
    return engine.inspect(name)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]


def test_a_linked_container_is_known_by_its_alias_wherever_it_goes(client, engine):
    client.ok("run", "-d", "--name", "db", *sh("sleep 1000"))
    client.ok("run", "-d", "--name", "web", "--link", "db:database", "--link", "db", *sh("sleep 1000"))
    short = engine.inspect("db")["Id"][:12]
    assert hosts(engine, "web")["database"] == (address(engine, "db"), ["database", short, "db"])
    assert hosts(engine, "web")["db"] == (address(engine, "db"), ["db", short])
    assert json.loads(client.ok("inspect", "web"))[0]["HostConfig"]["Links"] == ["/db:/web/database", "/db:/web/db"]
    engine.ok("exec", "web", "ping", "-c1", "-W2", "database")
    before = address(engine, "db")
    engine.ok("stop", "-t", "0", "db")
    engine.ok("run", "-d", "--name", "other", *sh("sleep 1000"))
    engine.ok("start", "db")
    assert address(engine, "db") != before
    assert hosts(engine, "web")["database"][0] == address(engine, "db"), "it has moved"
    engine.ok("rename", "db", "data")
    assert hosts(engine, "web")["database"] == (address(engine, "data"), ["database", short, "data"])
    engine.ok("restart", "-t", "0", "web")
    assert hosts(engine, "web")["database"][0] == address(engine, "data")
    assert "database" not in hosts(engine, "data")


def test_a_link_needs_a_container_of_the_default_network_that_runs(client, engine):
    done = client.run("create", "--name", "web", "--link", "nope", "busybox", "true")
    assert done.returncode == 1
    assert "could not get container for nope" in done.stderr
    engine.ok("create", "--name", "db", *sh("sleep 1000"))
    done = client.run("run", "--rm", "--link", "db:database", "busybox", "true")
    assert done.returncode == 125
    assert "Cannot link to a non running container" in done.stderr
    engine.ok("run", "-d", "--name", "bare", "--network", "none", *sh("sleep 1000"))
    done = client.run("create", "--link", "bare", "busybox", "true")
    assert "does not belong to the default network" in done.stderr


def told(engine, name, *command):
    lines = engine.ok("exec", name, *command).splitlines()
    return {line.partition("=")[0]: line.partition("=")[2] for line in lines if line.startswith("MY_DB")}


def test_a_linking_container_is_told_of_addresses_ports_and_environment(client, engine):
    db = ("run", "-d", "--name", "db", "-e", "KEY=a=b", "-e", "HOME=/x", "--expose", "5432", "--expose", "53/udp")
    client.ok(*db, *sh("sleep 1000"))
    client.ok("run", "-d", "--name", "web", "--link", "db:my-db", "-e", "MY_DB_PORT_53_UDP=own",
              *sh("env > /told; sleep 1000"))
    first = told(engine, "web", "cat", "/told")
    assert first == told(engine, "web", "env")
    where = address(engine, "db")
    assert first["MY_DB_NAME"] == "/web/my-db"
    assert first["MY_DB_PORT"] == f"udp://{where}:53"
    assert first["MY_DB_PORT_53_UDP"] == "own", "what it was given itself goes before"
    assert first["MY_DB_PORT_5432_TCP_ADDR"] == where
    assert first["MY_DB_ENV_KEY"] == "a=b"
    assert "MY_DB_ENV_HOME" not in first
    engine.ok("stop", "-t", "0", "db")
    engine.ok("run", "-d", "--name", "other", *sh("sleep 1000"))
    engine.ok("start", "db")
    assert address(engine, "db") != where
    assert told(engine, "web", "env")["MY_DB_PORT_5432_TCP_ADDR"] == address(engine, "db"), "an exec knows where it is"
    engine.ok("restart", "-t", "0", "web")
    assert told(engine, "web", "cat", "/told")["MY_DB_PORT_5432_TCP_ADDR"] == address(engine, "db")


def test_only_links_of_the_default_network_are_variables(engine):
    engine.ok("network", "create", "blue")
    engine.ok("run", "-d", "--name", "db", "--network", "blue", "--expose", "80", *sh("sleep 1000"))
    assert "MY_DB" not in engine.ok("run", "--rm", "--network", "blue", "--link", "db:my-db", "busybox", "env")
    engine.remove_everything()
    engine.ok("network", "rm", "blue")


def test_a_linked_container_that_leaves_the_network_and_comes_back_is_followed(client, engine):
    engine.ok("run", "-d", "--name", "db", *sh("sleep 1000"))
    engine.ok("run", "-d", "--name", "web", "--link", "db:my-db", *sh("sleep 1000"))
    client.ok("network", "disconnect", "bridge", "db")
    assert "my-db" not in hosts(engine, "web")
    assert told(engine, "web", "env") == {}
    engine.ok("run", "-d", "--name", "other", *sh("sleep 1000"))
    client.ok("network", "connect", "bridge", "db")
    assert hosts(engine, "web")["my-db"][0] == address(engine, "db")
    assert told(engine, "web", "env") == {"MY_DB_NAME": "/web/my-db"}
