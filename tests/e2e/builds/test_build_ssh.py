"""`RUN --mount=type=ssh`: the client's agent, for one command, and no more of it than signing."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import tools
from tests.e2e.builds.test_pier_build import pier, pier_ok
from tests.engine import wait_until


class Agent:
    """A real ssh-agent on this machine with a key in it."""

    def __init__(self, directory):
        self.path = directory / "agent"
        self.key = directory / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "of-the-client", "-f", self.key],
                       check=True)
        self.process = subprocess.Popen(["ssh-agent", "-D", "-a", self.path], stdout=subprocess.DEVNULL)
        wait_until(self.path.exists, 20, "the agent listens")
        self.environment = {**os.environ, "SSH_AUTH_SOCK": str(self.path)}
        subprocess.run(["ssh-add", "-q", self.key], check=True, env=self.environment, capture_output=True)

    def identities(self):
        done = subprocess.run(["ssh-add", "-l"], check=False, env=self.environment, capture_output=True, text=True)
        return done.stdout


@pytest.fixture
def agent(tmp_path):
    made = Agent(tmp_path)
    yield made
    made.process.terminate()
    made.process.wait()


@pytest.fixture
def image(builder):
    """A Dockerfile's beginning: an image with the real ssh-add in it."""
    said = subprocess.run(["ldd", tools.program("ssh-add")], check=True, capture_output=True, text=True).stdout
    for path in [tools.program("ssh-add"), *re.findall(r"(/\S+) \(0x", said)]:
        builder.write(f"root{path}", Path(path).read_bytes(), 0o755)
    return "FROM busybox\nCOPY root /\n"


def step(mount, command):
    return f"RUN --mount=type=ssh{mount} {command}\n"


def test_a_command_asks_the_clients_agent_and_nothing_of_it_is_kept(builder, agent, image):
    builder.write("key.pub", agent.key.with_suffix(".pub").read_text())
    text = (f"{image}COPY key.pub /\n"
            + step("", "ssh-add -l && ssh-add -T /key.pub && stat -c '%a %u:%g' $SSH_AUTH_SOCK")
            + "RUN echo ${SSH_AUTH_SOCK-none} > /after; ls /run >> /after 2>/dev/null || true\n")
    said = pier_ok(builder, "-t", "a", "--ssh", f"default={agent.path}", dockerfile=text).stderr
    assert "of-the-client (ED25519)" in said
    assert " 600 0:0\n" in said
    assert builder.run("a", "cat", "/after") == "none"
    assert list((builder.engine.instance.run / "buildd" / "secrets").iterdir()) == []
    for told in (builder.engine.ok("history", "--no-trunc", "a"), str(builder.inspect("a")["Config"])):
        assert "SSH_AUTH_SOCK=" not in told
        assert "ssh_agent" not in told
    # Nobody asks the agent of a step that is found.
    done = builder.engine.run(["env", f"SSH_AUTH_SOCK={agent.path}", *builder.engine.argv("pier"), "build", "--ssh",
                               "default", str(builder.directory)])
    assert done.stderr.count("CACHED") == 5, done.stderr


def test_an_agent_is_asked_for_identities_and_signatures_alone(builder, agent, image):
    builder.write("other", agent.key.read_text(), 0o600)
    text = f"{image}COPY other /\n" + step("", "! ssh-add -D && ! ssh-add -d /other && ! ssh-add -x </dev/null "
                                           "&& ! ssh-add /other && ssh-add -l | wc -l")
    assert re.search(r" 1\n", pier_ok(builder, "--ssh", f"default={agent.path}", dockerfile=text).stderr)
    assert "of-the-client" in agent.identities()


def test_an_agent_has_the_id_place_owner_and_mode_that_are_asked_for(builder, agent, image):
    text = f"{image}USER 7:8\n" + step(
        ",id=other,target=/there/sock,uid=7,gid=8,mode=0640,required",
        "stat -c '%a %u:%g' /there/sock && [ $SSH_AUTH_SOCK = /there/sock ] && ssh-add -l")
    text += step(",id=none", "echo [$SSH_AUTH_SOCK]") + "ENV SSH_AUTH_SOCK=/own\n"
    text += step(",id=other", "echo $SSH_AUTH_SOCK && ls /run/buildkit")
    said = pier_ok(builder, "--ssh", f"other={agent.path}", dockerfile=text).stderr
    assert " 640 7:8\n" in said
    assert "of-the-client (ED25519)" in said
    assert " []\n" in said
    assert " /own\n" in said
    assert " ssh_agent.0\n" in said


def test_keys_from_files_are_in_an_agent_that_ends_with_the_command(builder, agent, image):
    text = image + step("", "ssh-add -l")
    assert "of-the-client" in pier_ok(builder, "--ssh", f"default={agent.key}", dockerfile=text).stderr
    assert not list(Path("/tmp").glob("pier-ssh-*"))


@pytest.mark.parametrize(("given", "mount", "words"), [
    ([], ",required", "unset ssh forward key 'default'"),
    (["default"], "", "failed to use ssh agent default: SSH_AUTH_SOCK is not set"),
    (["default=/none"], "", "failed to use ssh agent default: /none: No such file or directory"),
    (["=x"], "", "use default or ID=SOCKET|KEY[,KEY]"),
    (["default=/etc/passwd"], "", "failed to use ssh agent default: "),
])
def test_an_agent_that_is_not_there_is_said(builder, given, mount, words):
    flags = [word for text in given for word in ("--ssh", text)]
    done = pier(builder, *flags, dockerfile="FROM busybox\n" + step(mount, "true"))
    assert done.returncode != 0
    assert words in done.stderr


def test_a_client_that_vanishes_takes_the_socket_with_it(builder, agent):
    builder.write("Dockerfile", "FROM busybox\n" + step("", "echo begun; sleep 1000"))
    secrets = builder.engine.instance.run / "buildd" / "secrets"
    with builder.engine.start([*builder.engine.argv("pier"), "build", "--ssh", f"default={agent.path}",
                               str(builder.directory)], stderr=subprocess.PIPE, text=True) as client:
        assert any(line.endswith(" begun\n") for line in client.stderr)
        assert len(list(secrets.iterdir())) == 1
        client.kill()
    wait_until(lambda: not list(secrets.iterdir()), 20, "the socket is gone")
