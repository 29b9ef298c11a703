"""Git repositories as contexts and as what ADD brings, by a server on loopback."""

import os
import socket
import subprocess
import time

import docker
import pytest

_ENVIRONMENT = {
    "PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b", "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "protocol.file.allow", "GIT_CONFIG_VALUE_0": "always",
}


class Repository:
    """A working tree, which the server shows too."""

    def __init__(self, directory, url):
        self.directory, self.url = directory, url
        directory.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *words):
        done = subprocess.run(["git", *words], cwd=self.directory, env=_ENVIRONMENT, check=True, capture_output=True,
                              text=True)
        return done.stdout.strip()

    def commit(self, **files):
        for name, content in files.items():
            path = self.directory / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(content)
        self.git("add", "--all")
        self.git("commit", "-q", "-m", "a commit")
        return self.git("rev-parse", "HEAD")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(A maker of repositories by name, which is the server's too.)"""
    top = tmp_path_factory.mktemp("repositories")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    daemon = subprocess.Popen(
        ["git", "daemon", f"--base-path={top}", "--export-all", "--listen=127.0.0.1", f"--port={port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        _await(port)
        yield lambda name: Repository(top / name, f"git://127.0.0.1:{port}/{name}")
    finally:
        os.killpg(daemon.pid, 9)
        daemon.wait()


def _await(port):
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.fixture
def client(engine):
    found = docker.DockerClient(base_url=engine.host, version="auto")
    yield found
    found.close()


def test_a_repository_is_a_context_at_a_branch_a_tag_a_commit_and_in_a_directory(server, engine, client):
    made = server("context.git")
    first = made.commit(Dockerfile="FROM busybox\nCOPY . /c\n", said="first")
    made.git("tag", "-a", "v1", "-m", "the first")
    made.git("checkout", "-q", "-b", "side")
    made.commit(deep__Dockerfile="FROM busybox\nCOPY said /c/\n", deep__said="deep")
    made.git("checkout", "-q", "main")
    made.commit(said="second")
    for where, said in {"": "second", "#main": "second", "#v1": "first", f"#{first}": "first", "#side:deep": "deep",
                        "#refs/heads/side:/deep": "deep"}.items():
        client.images.build(path=f"{made.url}{where}", tag="a", rm=True)
        assert engine.ok("run", "--rm", "a", "cat", "/c/said") == said, where
    assert "COPY . /c\n#2 CACHED" in engine.pier("build", "-t", "a", f"{made.url}#main").stderr


def test_a_repository_is_unpacked_as_it_was_committed_with_its_submodules(server, engine, client):
    inner, outer = server("inner.git"), server("outer.git")
    inner.commit(file="of the inner")
    outer.commit(**{
        "Dockerfile": "FROM busybox\nCOPY . /c\n", ".gitattributes": "hidden export-ignore\nsaid export-subst\n",
        "hidden": "here", "said": "$Format:%H$"})
    outer.git("submodule", "--quiet", "add", "--", str(inner.directory), "part/of")
    outer.git("config", "-f", ".gitmodules", "submodule.part/of.url", "../inner.git")
    (outer.directory / "run").write_text("#!/bin/sh\n")
    (outer.directory / "run").chmod(0o755)
    (outer.directory / "link").symlink_to("../../../etc/passwd")
    outer.commit()
    client.images.build(path=outer.url, tag="a", rm=True)
    said = engine.ok("run", "--rm", "a", "sh", "-c",
                     "cd /c; cat part/of/file hidden said; stat -c ' %a %u:%g' run said; readlink link; ls -A | wc -l")
    assert said.split("\n") == [
        "of the innerhere$Format:%H$ 755 0:0", " 644 0:0", "../../../etc/passwd", "8"]


def test_add_brings_a_repository_and_its_commit_decides_what_is_cached(server, builder):
    made = server("added.git")
    first = made.commit(file="1", sub__more="2")
    text = f"FROM busybox\nADD {made.url} /all\nADD {made.url}#main:sub /part/\n"
    builder.ok("-t", "a", dockerfile=text)
    assert builder.run("a", "cat", "/all/file", "/all/sub/more", "/part/more") == "122"
    assert builder.ok("-t", "a").count("Using cache") == 2
    second = made.commit(file="3")
    assert builder.ok("-t", "a").count("Using cache") == 0
    assert builder.run("a", "cat", "/all/file") == "3"
    builder.ok("-t", "b", dockerfile=f"FROM busybox\nADD --checksum={second} {made.url} /all\n")
    done = builder.docker(dockerfile=f"FROM busybox\nADD --checksum={first} {made.url} /all\n")
    assert done.returncode != 0
    assert f"got {second}" in done.stderr


def test_the_repository_itself_comes_along_where_that_is_asked_for(server, builder, client, tmp_path):
    made = server("kept.git")
    made.commit(Dockerfile="FROM busybox\nCOPY . /r\n", said="first", deep__er="1")
    made.git("tag", "v1")
    made.commit(said="second")

    def copied(image):
        place = tmp_path / f"of-{image}"
        holder = builder.engine.ok("create", image)
        builder.engine.ok("cp", f"{holder}:/r", str(place))

        def git(*words):
            done = subprocess.run(["git", "-C", str(place), *words], env=_ENVIRONMENT, check=False, capture_output=True,
                                  text=True)
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        return git

    builder.ok("-t", "tag", dockerfile=f"FROM busybox\nADD --keep-git-dir=true {made.url}#v1 /r\n")
    git = copied("tag")
    assert git("status", "--porcelain") == ""
    assert git("describe", "--tags") == "v1"
    assert git("rev-parse", "HEAD") == made.git("rev-parse", "v1")
    assert git("remote", "get-url", "origin") == made.url
    git("fsck", "--strict")
    builder.ok("-t", "branch", dockerfile=f"FROM busybox\nADD {made.url}?branch=main&keep-git-dir /r\n")
    assert copied("branch")("rev-parse", "origin/main") == made.git("rev-parse", "main")
    assert "Using cache" not in builder.ok("-t", "none", dockerfile=f"FROM busybox\nADD {made.url}?branch=main /r\n")
    assert builder.run("none", "ls", "-A", "/r").split() == ["Dockerfile", "deep", "said"]
    client.images.build(path=made.url, tag="context", rm=True, buildargs={"BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1"})
    assert copied("context")("status", "--porcelain") == ""
    for line in (f"--keep-git-dir {made.url}#main:deep", f"--keep-git-dir {made.url}?keep-git-dir=0"):
        done = builder.docker(dockerfile=f"FROM busybox\nADD {line} /r\n")
        assert done.returncode != 0
        assert "keep-git-dir" in done.stderr


def test_what_a_repository_does_not_have_is_told(server, client):
    made = server("lacking.git")
    made.commit(Dockerfile="FROM busybox\n")
    for where, told in {"#none": "does not contain ref", "#--upload-pack=touch": "no git reference",
                        "#" + "0" * 40: "no commit", "#main:none": "none"}.items():
        with pytest.raises(docker.errors.APIError, match=told):
            client.images.build(path=f"{made.url}{where}")


@pytest.mark.parametrize("url", ["git@127.0.0.1:a.git", "ssh://127.0.0.1/a.git"])
def test_repositories_over_ssh_are_refused_by_name(builder, url):
    done = builder.docker(dockerfile=f"FROM busybox\nADD {url} /a\n")
    assert done.returncode != 0
    assert "over ssh are not supported" in done.stderr


def test_row_47_a_directory_of_a_repository_is_never_outside_of_it(server, client, canary, engine):
    made = server("escaping.git")
    (made.directory / "link").symlink_to(canary)
    (made.directory / "up").symlink_to("../" * 20 + str(canary).lstrip("/"))
    made.commit(Dockerfile="FROM busybox\nCOPY . /c\n", sub__Dockerfile="FROM busybox\nCOPY . /c\n")
    for directory in (f"../../..{canary}", "sub/../../etc", "link", "up", str(canary)):
        with pytest.raises(docker.errors.APIError) as caught:
            client.images.build(path=f"{made.url}#main:{directory}")
        assert "alive" not in str(caught.value)


def test_what_a_repository_says_is_never_run_and_nothing_of_it_is_left(server, engine, client):
    made = server("hostile.git")
    hooks = {"path = sub": "", "path = ../../x": "leaves the root"}
    for path, told in hooks.items():
        made.commit(**{
            "Dockerfile": "FROM busybox\nCOPY . /c\n", ".gitattributes": "* filter=x\n",
            ".gitmodules": f'[submodule "x"]\n\t{path}\n\turl = ../inner.git\n\tupdate = !touch /tmp/ran\n'})
        if told:
            with pytest.raises(docker.errors.APIError, match=told):
                client.images.build(path=made.url)
        else:
            client.images.build(path=made.url, tag="a", rm=True)
    assert engine.ok("run", "--rm", "a", "ls", "-A", "/c").split() == [".gitattributes", ".gitmodules", "Dockerfile"]
    assert not os.path.exists("/tmp/ran")
    assert not [name for name in os.listdir("/var/tmp") if "-git-" in name]


def test_a_repository_and_a_tar_are_further_contexts(server, builder):
    made = server("further.git")
    made.commit(file="of git")
    builder.write("Dockerfile", "FROM busybox\nCOPY --from=more file /\n"
                                "RUN --mount=type=bind,from=more,target=/m cp /m/file /f\n")
    for url, told in ((made.url, ""), (f"{made.url}#none", "does not contain ref"), ("./here", '"./here" not found')):
        done = builder.engine.pier("build", "-t", "a", "--build-context", f"more={url}", str(builder.directory))
        assert (done.returncode == 0) == (not told)
        assert told in done.stderr
    assert builder.run("a", "cat", "/file", "/f") == "of gitof git"
    builder.write("Dockerfile", "FROM more\nCOPY --from=busybox /bin/busybox /bin/cat\n")
    done = builder.engine.pier("build", "-t", "b", "--build-context", f"more={made.url}", str(builder.directory))
    assert done.returncode == 0, done.stderr
    assert builder.run("b", "/bin/cat", "/file") == "of git"
