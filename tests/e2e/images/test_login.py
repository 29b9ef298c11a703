"""A registry that lets only those in who say who they are, by the real commands."""

import base64
import json
import stat
import subprocess

import pytest

from tests.registry import PASSWORD, USER, running


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    with running(tmp_path_factory.mktemp("locked"), locked=True) as started:
        yield started


@pytest.fixture(autouse=True)
def config(engine):
    path = engine.instance.root / "docker-config" / "config.json"
    yield path
    path.unlink(missing_ok=True)


def login(client, host, password=PASSWORD):
    return client.run("login", "-u", USER, "--password-stdin", host, input=password)


def test_who_has_logged_in_pushes_and_pulls(client, engine, locked, config):
    name = f"{locked.host}/private:1"
    engine.ok("tag", "busybox", name)
    done = client.run("push", name)
    assert done.returncode == 1
    assert "no basic auth credentials" in done.stderr or "authentication required" in done.stderr
    done = login(client, locked.host)
    assert (done.returncode, "Login Succeeded" in done.stdout) == (0, True)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    kept = json.loads(config.read_text())["auths"][locked.host]["auth"]
    assert base64.b64decode(kept).decode() == f"{USER}:{PASSWORD}"
    client.ok("push", name)
    engine.ok("rmi", name)
    client.ok("pull", name)
    assert client.ok("run", "--rm", name, "echo", "in") == "in"
    engine.ok("rmi", name)
    assert "Removing login credentials" in client.ok("logout", locked.host)
    assert locked.host not in json.loads(config.read_text()).get("auths", {})
    assert client.run("pull", name).returncode == 1
    assert PASSWORD not in engine.log("gateway") + engine.log("imaged")
    assert kept not in engine.log("gateway") + engine.log("imaged")


def test_a_wrong_password_is_refused_and_not_kept(client, locked, config):
    done = login(client, locked.host, "wrong")
    assert done.returncode == 1
    assert "unauthorized" in done.stderr
    assert not config.exists() or locked.host not in config.read_text()


def test_what_one_command_keeps_the_other_finds(engine, locked):
    name = f"{locked.host}/shared:1"
    engine.ok("tag", "busybox", name)
    assert engine.docker("login", "-u", USER, "--password-stdin", locked.host, input=PASSWORD).returncode == 0
    assert engine.pier("push", name).returncode == 0
    assert engine.pier("logout", locked.host).returncode == 0
    assert engine.pier("login", "-u", USER, "--password-stdin", locked.host, input=PASSWORD).returncode == 0
    engine.ok("rmi", name)
    engine.ok("pull", name)
    engine.ok("rmi", name)


def test_a_helper_program_keeps_credentials_where_the_configuration_names_one(engine, locked, config, tmp_path):
    helper = tmp_path / "docker-credential-test"
    helper.write_text(f'#!/bin/sh\nf={tmp_path}/kept\ncase $1 in store) cat > $f;; get) cat > /dev/null; test -f $f && '
                      'cat $f || { echo "credentials not found in native keychain"; exit 1; };; erase) rm $f;; esac\n')
    helper.chmod(0o755)
    config.write_text(json.dumps({"credsStore": "test", "detachKeys": "ctrl-x"}))
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    for client in ("pier", "docker"):
        command = engine.argv(client)
        environment = {**engine.environment(), **path}

        def run(*arguments, command=command, environment=environment, **options):
            return subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True,
                                           check=False, timeout=60, **options)

        done = run("login", "-u", USER, "--password-stdin", locked.host, input=PASSWORD)
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / "kept").read_text())["Secret"] == PASSWORD
        assert PASSWORD not in config.read_text()
        assert json.loads(config.read_text())["detachKeys"] == "ctrl-x", "what is not ours stays"
        engine.ok("tag", "busybox", f"{locked.host}/helped:1")
        assert run("push", f"{locked.host}/helped:1").returncode == 0
        engine.ok("rmi", f"{locked.host}/helped:1")
        assert run("logout", locked.host).returncode == 0
        assert not (tmp_path / "kept").exists()
