"""Further contexts of ``pier build``: what the client has, sent when the build wants it; images and URLs."""

import functools
import http.server
import tarfile
import threading

import pytest

from tests.e2e.builds.test_pier_build import pier, pier_ok


@pytest.fixture
def other(tmp_path):
    """A directory beside the context."""
    directory = tmp_path / "other"
    (directory / "sub").mkdir(parents=True)
    (directory / "sub" / "file").write_text("of-other")
    (directory / "left").write_text("x")
    (directory / "run").write_text("#!/bin/sh\n")
    (directory / "run").chmod(0o755)
    return directory


def test_a_directory_is_copied_from_and_changes_are_seen(builder, other):
    (other / ".dockerignore").write_text("left\n.dockerignore\n")
    text = ("FROM busybox\nCOPY --from=lib . /lib/\nRUN --mount=type=bind,from=lib,target=/m cat /m/sub/file > /said\n"
            "RUN find /lib -type f | sort >> /said; stat -c '%a %u' /lib/run >> /said\n")
    given = ("--build-context", f"lib={other}")
    pier_ok(builder, "-t", "a", *given, dockerfile=text)
    assert builder.run("a", "cat", "/said").splitlines() == ["of-other/lib/run", "/lib/sub/file", "755 0"]
    assert pier_ok(builder, *given).stderr.count("CACHED") == 4
    (other / "sub" / "file").write_text("changed")
    pier_ok(builder, "-t", "a", *given)
    assert builder.run("a", "cat", "/lib/sub/file") == "changed"


def test_a_directory_is_built_from_and_a_tar_too(builder, other, tmp_path):
    with tarfile.open(tmp_path / "root.tar.gz", "w:gz") as archive:
        archive.add(other, ".")
    text = "FROM base\nCOPY --from=base /left /again\nCOPY --from=busybox /bin/busybox /bin/cat\n"
    ids = set()
    for place in (other, tmp_path / "root.tar.gz"):
        pier_ok(builder, "-t", "a", "--build-context", f"base={place}", dockerfile=text)
        assert builder.run("a", "/bin/cat", "/sub/file", "/again") == "of-otherx"
        ids.add(builder.inspect("a")["Id"])
    assert len(ids) == 1  # the same files, found the second time
    rows = builder.engine.ok("history", "--no-trunc", "--format", "{{.CreatedBy}}", "a").splitlines()
    assert rows[-1] == "/bin/sh -c #(nop) FROM base "
    assert len(builder.inspect("a")["RootFS"]["Layers"]) == 3
    # What is not wanted is not read.
    pier_ok(builder, "--build-context", f"unwanted={tmp_path / 'root.tar.gz'}", dockerfile="FROM busybox\nENV A=b\n")


def test_two_stages_want_a_directory_each_at_the_same_time(builder, other, tmp_path):
    (tmp_path / "large").mkdir()
    with open(tmp_path / "large" / "file", "wb") as file:
        file.truncate(8 << 20)
    text = ("FROM busybox AS one\nCOPY --from=lib sub/file /\nFROM busybox AS two\nCOPY --from=big file /big\n"
            "FROM busybox\nCOPY --from=one /file /\nCOPY --from=two /big /\n")
    pier_ok(builder, "-t", "a", "--build-context", f"lib={other}", "--build-context", f"big={tmp_path / 'large'}",
            dockerfile=text)
    assert builder.run("a", "stat", "-c", "%s", "/big", "/file").split() == [str(8 << 20), "8"]


def test_images_and_urls_are_contexts_too(builder, other):
    with tarfile.open(other / "served.tar", "w") as archive:
        archive.add(other / "sub", "sub")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(other))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            pier_ok(builder, "-t", "a", "--build-context", "tools=docker-image://busybox", "--build-context",
                    f"lib=http://127.0.0.1:{server.server_port}/served.tar",
                    dockerfile="FROM tools\nCOPY --from=lib sub/file /\nCOPY --from=tools /bin/busybox /d/busybox\n")
            assert builder.run("a", "/d/busybox", "cat", "/file") == "of-other"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("place", "words"), [
    ("none", 'unable to prepare context lib: path "none" not found'),
    ("/etc/hostname", "archive: it ends in the middle of an entry"),
])
def test_a_context_that_is_none_is_said(builder, place, words):
    done = pier(builder, "--build-context", f"lib={place}", dockerfile="FROM busybox\nCOPY --from=lib / /lib\n")
    assert done.returncode != 0
    assert words in done.stderr.lower()


def test_a_file_that_cannot_be_read_ends_the_build_with_its_name(builder, tmp_path):
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / ".dockerignore").mkdir()
    done = pier(builder, "--build-context", f"lib={tmp_path / 'gone'}",
                dockerfile="FROM busybox\nCOPY --from=lib / /lib\n")
    assert done.returncode != 0
    assert ".dockerignore" in done.stderr
