"""`push` as people use it: progress, digest, refusals; by both commands."""

import re

import pytest


@pytest.fixture(params=["docker", "pier"])
def command(request, engine):
    def run(*arguments):
        return engine.run([*engine.argv(request.param), *arguments])

    return run


def test_an_image_goes_to_a_registry_and_comes_back(command, engine, registry):
    target = f"{registry.host}/pushed/busybox:1"
    engine.ok("tag", "busybox", target)
    done = command("push", target)
    assert done.returncode == 0, done.stderr
    assert f"The push refers to repository [{registry.host}/pushed/busybox]" in done.stdout
    assert re.search(r"^1: digest: sha256:[0-9a-f]{64} size: \d+$", done.stdout, re.MULTILINE)
    assert "Layer already exists" in command("push", target).stdout
    engine.ok("rmi", target)
    assert engine.ok("run", "--rm", target, "echo", "back") == "back"
    engine.ok("rmi", "-f", target)


def test_what_cannot_be_pushed_is_told(command, engine):
    done = command("push", "127.0.0.1:1/nothing:1")
    assert done.returncode == 1
    assert "An image does not exist locally with the tag: 127.0.0.1:1/nothing" in done.stderr
    engine.ok("tag", "busybox", "127.0.0.1:1/down:1")
    done = command("push", "127.0.0.1:1/down:1")
    assert done.returncode == 1
    assert "connection refused" in done.stderr
    engine.ok("rmi", "127.0.0.1:1/down:1")


def test_all_tags_of_a_repository_go_and_come(command, engine, registry):
    name = f"{registry.host}/every/tag"
    for tag in ("1", "2"):
        engine.ok("tag", "busybox", f"{name}:{tag}")
    done = command("push", "-a", name)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(\d): digest: sha256:", done.stdout, re.MULTILINE) == ["1", "2"]
    engine.ok("rmi", f"{name}:1", f"{name}:2")
    done = command("pull", "-a", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == name
    assert sorted(engine.ok("images", name, "--format", "{{.Tag}}").split()) == ["1", "2"]
    engine.ok("rmi", f"{name}:1", f"{name}:2")
    assert "does not exist locally with the tag" in command("push", "-a", name).stderr
