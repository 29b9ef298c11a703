"""What a container has made of its image: seen, exported, and made an image of its own."""

import hashlib
import io
import json
import tarfile

import pytest

from tests.engine import sh, wait_until

SCRIPT = (
    "mkdir -p /new/deep /etc/sub; echo hello > /new/deep/file; ln /new/deep/file /new/link; ln -s deep /new/soft; "
    "chmod 4755 /new/deep/file; chown 7:8 /new/deep; rm /usr/bin/wget; mkfifo /new/pipe; "
    "rm -rf /home; touch -d '2001-02-03 00:00:00' /new/old; echo changed >> /etc/passwd"
)


@pytest.fixture(autouse=True)
def cleaned(engine):
    yield
    engine.remove_everything()
    for image in engine.ok("images", "-q", "--filter", "reference=made").split():
        engine.docker("rmi", "-f", image)
    engine.ok("image", "prune", "-f")


@pytest.fixture
def changed(engine):
    """A stopped container that has done all kinds of things."""
    engine.ok("run", "--name", "box", *sh(SCRIPT))
    return "box"


def content(archive, member):
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def test_changes_are_told_as_docker_tells_them(client, engine, changed):
    found = client.ok("diff", changed).splitlines()
    expected = {
        "A /new", "A /new/deep", "A /new/deep/file", "A /new/link", "A /new/soft", "A /new/pipe", "A /new/old",
        "C /usr", "C /usr/bin", "D /usr/bin/wget", "C /etc", "A /etc/sub", "C /etc/passwd",
    }
    assert expected <= set(found)
    assert "D /home" in found
    assert len(found) == len(set(found))
    assert found.index("C /usr/bin") < found.index("D /usr/bin/wget")
    engine.ok("create", "--name", "fresh", *sh("true"))
    assert client.ok("diff", "fresh") == ""
    assert "No such container" in client.run("diff", "nobody").stderr


def test_a_file_that_was_only_looked_at_and_a_directory_whose_time_changed_are_no_changes(client, engine):
    engine.ok("run", "--name", "box", *sh("cat /etc/passwd > /dev/null; touch /etc; chmod 755 /bin"))
    assert client.ok("diff", "box").splitlines() == []


def test_an_export_holds_what_the_container_shows(client, engine, changed, tmp_path):
    path = tmp_path / "box.tar"
    client.ok("export", "-o", str(path), changed)
    with tarfile.open(path) as archive:
        members = {member.name: member for member in archive}
        assert content(archive, "new/deep/file") == b"hello\n"
    assert members["new/deep/file"].mode == 0o4755
    assert (members["new/deep"].uid, members["new/deep"].gid) == (7, 8)
    assert members["new/link"].islnk()
    assert members["new/soft"].issym()
    assert members["new/pipe"].isfifo()
    assert members["new/old"].mtime == 981158400
    assert "usr/bin/wget" not in members
    assert "bin/busybox" in members
    assert not any(name.startswith((".wh", "proc/", "sys/")) or "/.wh." in name for name in members)
    assert members[".dockerenv"].size == 0


def test_programs_find_the_mark_that_docker_puts_into_each_container(client, engine):
    assert client.ok("run", "--name", "box", "--read-only", *sh("cat /.dockerenv && echo there")) == "there"
    assert client.ok("diff", "box") == ""


def test_a_container_that_runs_is_exported_without_what_is_mounted_in_it(client, engine):
    engine.ok("run", "-d", "--name", "box", "-v", "/own", "--tmpfs", "/tmp",
              *sh("echo a > /own/a; echo b > /b; sleep 1000"))
    wait_until(lambda: "A /b" in engine.ok("diff", "box").splitlines())
    raw = client.run("export", "box", text=False).stdout
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        names = archive.getnames()
    assert "b" in names
    assert "own/a" not in names


def test_a_committed_image_runs_with_what_was_changed_and_with_its_config(client, engine, changed):
    id_ = client.ok(
        "commit", "-m", "why", "-a", "me", "-c", 'CMD ["cat", "/new/deep/file"]', "-c", "ENV WHO=world GREET='a b'",
        "-c", "LABEL kind=test", "-c", "EXPOSE 80 90-91/udp", "-c", "USER 7:8", "-c", "WORKDIR /new",
        "-c", "HEALTHCHECK --interval=5s --retries=2 CMD true", "-c", "STOPSIGNAL SIGUSR1", "-c", 'VOLUME ["/data"]',
        changed, "made:one")
    assert id_.startswith("sha256:")
    image = engine.inspect("made:one")
    assert image["Id"] == id_
    assert (image["Author"], image["Comment"]) == ("me", "why")
    config = image["Config"]
    assert config["Cmd"] == ["cat", "/new/deep/file"]
    assert {"WHO=world", "GREET=a b"} <= set(config["Env"])
    assert config["Labels"] == {"kind": "test"}
    assert config["ExposedPorts"] == {"80/tcp": {}, "90/udp": {}, "91/udp": {}}
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("7:8", "/new", "SIGUSR1")
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 5 * 10**9, "Retries": 2}
    assert "/data" in config["Volumes"]
    base = engine.inspect("busybox")
    assert image["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    assert engine.ok("run", "--rm", "made:one") == "hello"
    script = ("ls /usr/bin/wget; stat -c '%a %u %h' /new/deep/file; readlink /new/soft; tail -n 1 /etc/passwd; "
              "stat -c %F /new/pipe")
    shown = engine.ok("run", "--rm", "-u", "0", "made:one", "sh", "-c", script)
    assert shown.splitlines() == ["4755 0 2", "deep", "changed", "fifo"]
    newest = json.loads(engine.ok("history", "--no-trunc", "--format", "{{json .}}", "made:one").splitlines()[0])
    assert newest["Comment"] == "why"
    assert newest["CreatedBy"].startswith("sh -c mkdir")
    engine.ok("rmi", "made:one")


def test_the_same_changes_make_the_same_layer_and_load_elsewhere(client, engine, changed, tmp_path):
    for tag in ("a", "b"):
        client.ok("commit", changed, f"made:{tag}")
    one, two = engine.inspect("made:a"), engine.inspect("made:b")
    assert one["RootFS"] == two["RootFS"]
    path = tmp_path / "made.tar"
    engine.ok("save", "-o", str(path), "made:a")
    with tarfile.open(path) as archive:
        blobs = [member for member in archive if member.name.startswith("blobs/") and member.isfile()]
        for member in blobs:
            assert hashlib.sha256(content(archive, member)).hexdigest() == member.name.rpartition("/")[2]
    engine.ok("rmi", "made:a", "made:b")
    engine.ok("load", "-i", str(path))
    assert engine.inspect("made:a")["RootFS"] == one["RootFS"]
    assert engine.ok("run", "--rm", "made:a", "cat", "/new/link") == "hello"


def test_a_running_container_stands_still_while_it_is_committed_and_goes_on(client, engine, tmp_path):
    engine.ok("run", "-d", "--name", "box", *sh("i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.01; done"))

    def counted():
        return engine.docker("exec", "box", "cat", "/count").stdout.strip()

    wait_until(counted)
    client.ok("commit", "box", "made:live")
    assert engine.inspect("box")["State"]["Status"] == "running"
    assert int(engine.ok("run", "--rm", "made:live", "cat", "/count")) > 0
    client.ok("commit", "--pause=false", "-m", "as it ran", "box", "made:live")
    client.ok("export", "-o", str(tmp_path / "root.tar"), "box")
    client.ok("restart", "-t", "0", "box")
    told = engine.ok("events", "--since", "1", "--until", engine.ok("run", "--rm", *sh("echo $(($(date +%s) + 1))")),
                     "--filter", f"container={engine.inspect('box')['Id']}", "--format", "{{.Action}}").splitlines()
    assert [told.count(word) for word in ("pause", "unpause", "commit", "export", "restart")] == [1, 1, 2, 1, 1]


def test_what_cannot_be_committed_is_refused(client, engine, changed):
    for arguments, words in (
        (["-c", "RUN true", changed], "RUN is not a valid change command"),
        (["-c", "EXPOSE 99999", changed], "invalid containerPort"),
        (["-c", "ENV a", changed], "ENV must have two arguments"),
        (["nobody"], "No such container"),
    ):
        done = client.run("commit", *arguments)
        assert done.returncode == 1, arguments
        assert words in done.stderr
    assert client.run("commit", changed, "MADE:Upper").returncode == 1


def test_layers_stand_on_layers(engine):
    for number in range(1, 6):
        source = "busybox" if number == 1 else f"made:l{number - 1}"
        engine.ok("run", "--name", "step", source, "sh", "-c", f"echo {number} > /f{number}; rm -f /f{number - 1}")
        engine.ok("commit", "step", f"made:l{number}")
        engine.ok("rm", "step")
    assert engine.ok("run", "--rm", "made:l5", "sh", "-c", "cat /f*") == "5"


def test_an_import_takes_changes(client, engine, changed, tmp_path):
    path = tmp_path / "root.tar"
    engine.ok("export", "-o", str(path), changed)
    client.ok("import", "-c", 'ENTRYPOINT ["cat"]', "-c", 'CMD ["/new/deep/file"]', str(path), "made:import")
    assert engine.ok("run", "--rm", "made:import") == "hello"
