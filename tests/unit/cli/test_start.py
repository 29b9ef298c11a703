"""``bin/pier`` as a program: what it imports, where it is found, which engine it speaks to."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from chassis.version import VERSION
from tests.tools import PROJECT

PIER = PROJECT / "bin" / "pier"
# Each costs milliseconds at every start.
HEAVY = {
    "argparse", "asyncio", "calendar", "collections", "contextlib", "dataclasses", "datetime", "email", "enum",
    "functools",
    "http", "inspect", "io.text", "ipaddress", "json", "logging", "os", "pathlib", "re", "shutil", "signal", "socket",
    "ssl",
    "string", "struct.unpack", "subprocess", "tempfile", "textwrap", "threading", "traceback", "typing", "urllib",
}


def pier(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run([str(PIER), *words], capture_output=True, text=True, env=clean, timeout=30, check=False)


@pytest.mark.parametrize("words", [
    ["ps"], ["images"], ["run", "busybox"], ["exec", "x", "y"], ["logs", "x"], ["inspect", "x"], ["stop", "x"],
    ["rm", "x"],
    ["start", "-a", "x"], ["pull", "x"], ["load", "-i", "/dev/null"], ["events"], ["wait", "x"], ["explain", "x"],
    ["--help"],
    ["run", "--help"], ["version"], ["info"], ["network", "ls"], ["volume", "ls"],
])
def test_a_command_imports_nothing_heavy(words: list[str]) -> None:
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-X", "importtime", str(PIER), "-H", "unix:///nonexistent", *words],
        capture_output=True, text=True, timeout=30, check=False,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "pier_cli.main" in loaded
    assert not loaded & HEAVY


def test_the_version_is_the_projects() -> None:
    assert pier("--version").stdout == f"Pier version {VERSION}\n"


def test_it_is_found_through_links(tmp_path: Path) -> None:
    (tmp_path / "first").symlink_to(PIER)
    (tmp_path / "second").symlink_to("first")
    done = subprocess.run([str(tmp_path / "second"), "-v"], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == f"Pier version {VERSION}\n"


def test_nothing_of_the_callers_python_environment_is_imported(tmp_path: Path) -> None:
    (tmp_path / "pier_cli").mkdir()
    (tmp_path / "pier_cli" / "__init__.py").write_text("raise SystemExit('hijacked')")
    done = subprocess.run(
        [str(PIER), "-v"], capture_output=True, text=True, cwd=tmp_path, timeout=30, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout == f"Pier version {VERSION}\n"


@pytest.mark.parametrize(("words", "environment", "address"), [
    ([], {}, "unix:///run/pier/pier.sock"),
    (["--instance", "lab"], {"DOCKER_HOST": "unix:///d"}, "unix:///run/pier-lab/pier.sock"),
    ([], {"PIER_INSTANCE": "lab"}, "unix:///run/pier-lab/pier.sock"),
    ([], {"DOCKER_HOST": "unix:///nonexistent/d"}, "unix:///nonexistent/d"),
    ([], {"DOCKER_HOST": "unix:///nonexistent/d", "PIER_HOST": "unix:///nonexistent/p"}, "unix:///nonexistent/p"),
    (["-H", "unix:///nonexistent/h"], {"DOCKER_HOST": "unix:///nonexistent/d"}, "unix:///nonexistent/h"),
    ([], {"PIER_RUN": "/nonexistent/run"}, "unix:///nonexistent/run/pier.sock"),
])
def test_which_engine_it_speaks_to(words: list[str], environment: dict[str, str], address: str) -> None:
    done = pier(*words, "ps", **environment)
    if address == "unix:///run/pier/pier.sock" and Path("/run/pier/pier.sock").exists():
        pytest.skip("the default instance is up on this machine")
    assert f"Cannot connect to the engine at {address}:" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(("words", "paragraphs", "code"), [
    (["foo"], ["pier: unknown command: pier foo", "Run 'pier --help'"], 1),
    (["container", "foo"],
     ["pier: unknown command: pier container foo", "Usage:  pier container", "Run 'pier container --help'"], 1),
    (["ps", "x"], ["pier: 'pier ps' accepts no arguments", "Usage:  pier ps [OPTIONS]", "Run 'pier ps --help'"], 1),
    (["rm"], ["pier: 'pier rm' requires at least 1 argument", "Usage:  pier rm [OPTIONS] CONTAINER [CONTAINER...]",
              "See 'pier rm --help'"], 1),
    (["rename", "a"], ["pier: 'pier rename' requires 2 arguments", "Usage:  pier rename CONTAINER NEW_NAME",
                       "Run 'pier rename --help'"], 1),
    (["run", "--foo"], ["unknown flag: --foo", "Usage:  pier run [OPTIONS] IMAGE [COMMAND] [ARG...]",
                        "Run 'pier run --help'"], 125),
    (["--foo"], ["unknown flag: --foo", "Usage:  pier [OPTIONS] COMMAND", "Run 'pier --help'"], 125),
    (["run", "-p", "x", "i"], ["pier: invalid containerPort: x", "Run 'pier run --help'"], 125),
    (["run", "-it", "i"], ["the input device is not a TTY"], 1),
    (["--instance", "No", "ps"],
     ["--instance: 'No' is not a lower-case word of at most 15 letters, digits and '-'"], 1),
])
def test_what_is_wrong_is_told_in_dockers_words(words: list[str], paragraphs: list[str], code: int) -> None:
    done = subprocess.run(
        [str(PIER), *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=False
    )
    text = "\n\n".join(paragraphs) + (" for more information" if len(paragraphs) > 1 else "") + "\n"
    assert (done.stderr, done.stdout, done.returncode) == (text, "", code)


def test_tls_files_that_are_not_there_are_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as engine:
        done = pier("-H", f"tcp://127.0.0.1:{engine.getsockname()[1]}", "--tlsverify", "--tlscacert", "/nope", "ps")
    assert "open /nope: no such file or directory" in done.stderr
    assert done.returncode == 1


def test_a_full_disk_behind_the_output_is_told() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([str(PIER), "--help"], stdout=full, stderr=subprocess.PIPE, timeout=30, check=False)
    assert (done.stderr, done.returncode) == (b"pier: No space left on device\n", 1)


def test_a_reader_that_goes_ends_it_as_any_program() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([str(PIER), "--help"], stdout=write, timeout=30, check=False)
    os.close(write)
    assert done.returncode == -13
