"""What a command may see and nothing may keep: secrets as files and as variables."""

import subprocess

import pytest

from tests.e2e.builds.test_pier_build import pier, pier_ok
from tests.engine import wait_until

SECRET = "the-most-secret-word"


@pytest.fixture
def word(tmp_path):
    """The --secret flag of a file that holds the secret."""
    (tmp_path / "word").write_text(SECRET)
    return f"id=word,src={tmp_path / 'word'}"


def holding(*roots):
    """Files below ``roots`` in which the secret stands."""
    found = []
    for path in (path for root in roots for path in root.rglob("*")):
        try:
            if path.is_file() and SECRET.encode() in path.read_bytes():
                found.append(str(path))
        except OSError:  # it went, or is a pinned namespace
            continue
    return found


def see_that_nothing_holds_it(builder):
    """Neither state nor run directory of the engine, nor what it says and saves of the image ``a``."""
    instance = builder.engine.instance
    assert holding(instance.root) == []
    wait_until(lambda: not holding(instance.run), 20, "the container is gone")
    assert list((instance.run / "buildd" / "secrets").iterdir()) == []
    assert SECRET not in builder.engine.ok("history", "--no-trunc", "a")
    assert SECRET not in builder.engine.ok("image", "inspect", "a")
    saved = builder.engine.docker("save", "a", text=False)
    assert saved.returncode == 0
    assert SECRET.encode() not in saved.stdout


def test_a_secret_is_seen_by_its_command_and_stands_nowhere_else(builder, word, tmp_path):
    text = """\
FROM busybox
RUN --mount=type=secret,id=word [ "$(sha256sum /run/secrets/word)" ] && stat -c %a:%s /run/secrets/word
RUN ls /run > /left || true
"""
    said = pier_ok(builder, "-t", "a", "--secret", word, dockerfile=text)
    assert " 400:20\n" in said.stderr
    assert builder.run("a", "cat", "/left") == ""
    see_that_nothing_holds_it(builder)
    # Another value is no other step.
    (tmp_path / "word").write_text("changed")
    assert "#2 CACHED" in pier_ok(builder, "--secret", word).stderr


def test_a_secret_is_a_variable_of_its_command_and_stands_nowhere_else(builder, word, tmp_path):
    text = """\
FROM busybox
ENV WORD=public
RUN --mount=type=secret,id=word,env=WORD --mount=type=secret,id=word,env=OTHER,target=/both \\
    [ "$(cat /both)" = "$WORD$NONE" ] && [ "$OTHER" = "$WORD" ] && [ ${#WORD} = 20 ]
RUN --mount=type=secret,id=absent,env=ABSENT echo "$WORD ${ABSENT-none}" > /said
RUN env > /after; ls /run/secrets /both >> /after 2>/dev/null || true
"""
    pier_ok(builder, "-t", "a", "--secret", word, dockerfile=text)
    assert builder.run("a", "cat", "/said") == "public none"
    assert "OTHER" not in builder.run("a", "cat", "/after")
    see_that_nothing_holds_it(builder)
    (tmp_path / "word").write_text("changed")
    assert pier_ok(builder, "--secret", word).stderr.count("CACHED") == 5


def test_a_variable_that_is_secret_is_on_no_disk_while_its_command_runs(builder, word):
    builder.write("Dockerfile", "FROM busybox\nRUN --mount=type=secret,id=word,env=WORD echo begun; sleep 1000\n")
    with builder.engine.start([*builder.engine.argv("pier"), "build", "--secret", word, str(builder.directory)],
                              stderr=subprocess.PIPE, text=True) as client:
        assert any("begun" in line for line in client.stderr if not line.startswith("#2 ["))
        assert holding(builder.engine.instance.root) == []
        client.kill()


@pytest.mark.parametrize(("mount", "value", "words"), [
    ("id=word,env=WORD,required", None, "secret 'word': not found"),
    ("env=WORD", "x", "the secret has no id"),
    ("id=word,env=A=B", "x", "env='A=B' is no name of a variable"),
    ("id=word,env=WORD", "x\0y", "secret 'word' cannot be the value of a variable"),
    ("id=word,env=WORD", "x" * (101 << 10), "secret 'word' cannot be the value of a variable"),
])
def test_a_secret_that_cannot_be_a_variable_is_refused(builder, tmp_path, mount, value, words):
    (tmp_path / "word").write_text(value or "")
    given = [] if value is None else ["--secret", f"id=word,src={tmp_path / 'word'}"]
    done = pier(builder, *given, dockerfile=f"FROM busybox\nRUN --mount=type=secret,{mount} true\n")
    assert done.returncode != 0
    assert words in done.stderr
