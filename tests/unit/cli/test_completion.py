"""Completion and man pages say what ``--help`` says: all three are made from the same tables."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from pier_cli import completion
from pier_cli.context import Context
from pier_cli.main import GLOBAL_FLAGS, load
from pier_cli.table import COMMANDS, GROUPS
from tests import tools
from tests.unit.cli.server import json_answer, serving

PIER = str(tools.PROJECT / "bin" / "pier")
NOWHERE = Context("unix:///nowhere")
CONTAINERS = json_answer(json.dumps([{"Names": ["/web"], "Status": "Up"}, {"Names": ["/db"], "Status": "Exited"}]))
IMAGES = json_answer(json.dumps([{"Id": "sha256:" + "a" * 64, "RepoTags": ["busybox:latest", "host:5000/app:2"]}]))


def offered(context: Context, *words: str) -> list[str]:
    return [text for text, _ in completion.candidates(context, GLOBAL_FLAGS, words)]


def test_all_commands_and_nothing_else_are_offered() -> None:
    singles = {words for words, (_, summary) in COMMANDS.items() if " " not in words and summary}
    assert set(offered(NOWHERE, "")) == singles | set(GROUPS)
    inside = {words.partition(" ")[2] for words, (_, about) in COMMANDS.items() if words.startswith("image ") and about}
    assert set(offered(NOWHERE, "image", "")) == inside


@pytest.mark.parametrize("words", sorted(COMMANDS))
def test_all_flags_of_a_command_are_offered(words: str) -> None:
    expected = {f"--{flag.long}" for flag in load(words).flags} | {"--help"}
    assert set(offered(NOWHERE, *words.split(" "), "--")) == expected


@pytest.mark.parametrize(("words", "found"), [
    (("stop", ""), ["web", "db"]), (("stop", "-t", "3", "w"), ["web"]), (("rm", "-f", "web", "d"), ["db"]),
    (("-H", "tcp://x", "exec", "-it", ""), ["web", "db"]), (("exec", "web", ""), []), (("rename", "db", ""), []),
    (("run", "--volumes-from", ""), ["web", "db"]),
])
def test_containers_are_offered_where_one_is_meant(tmp_path: Path, words: tuple[str, ...], found: list[str]) -> None:
    with serving(tmp_path / "s", CONTAINERS) as server:
        context = Context(server.host)
        context.engine._version = "1.51"
        assert offered(context, *words) == found


@pytest.mark.parametrize(("words", "found"), [
    (("run", "b"), ["busybox:latest", "busybox"]), (("rmi", "host:5"), ["host:5000/app:2"]),
    (("run", "-e", "A=1", "--rm", "busybox", ""), []),
])
def test_images_are_offered_where_one_is_meant(tmp_path: Path, words: tuple[str, ...], found: list[str]) -> None:
    with serving(tmp_path / "s", IMAGES) as server:
        context = Context(server.host)
        context.engine._version = "1.51"
        assert offered(context, *words) == found


@pytest.mark.parametrize(("words", "found"), [
    (("build", "-f", ""), [":files"]), (("build", ""), [":files"]), (("cp", "x"), []), (("load", "-i", ""), [":files"]),
    (("completion", ""), ["bash", "zsh", "fish"]), (("nope", ""), []), (("stop", ""), []),
    (("context", "import", "name", ""), [":files"]),
    (("system", "reload", "netd", "e"), ["execd"]),
])
def test_files_words_and_what_cannot_be_known(words: tuple[str, ...], found: list[str]) -> None:
    assert [text for text in offered(NOWHERE, *words) if words[0] != "cp" or text != ":files"] == found


BASH = """
source <("$0" completion bash)
compopt() {{ echo files; }}
COMP_LINE={line!r} COMP_POINT={point}
_pier
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(("line", "found"), [
    ("pier sys", ["system"]), ("pier stop ", ["web", "db"]), ("pier rmi host:50", ["5000/app:2"]),
    ("pier run busybox:l", ["latest"]),
])
def test_bash_completes(tmp_path: Path, line: str, found: list[str]) -> None:
    """Bash breaks words at ":" and "=": what stands before one is on the line already."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "pier").symlink_to(PIER)
    with serving(tmp_path / "s", CONTAINERS if "stop" in line else IMAGES) as server:
        done = subprocess.run(
            ["bash", "--norc", "-c", BASH.format(line=line, point=len(line)), PIER], capture_output=True, text=True,
            check=False, timeout=20,
            env={"PATH": f"{programs}:{os.environ['PATH']}", "DOCKER_HOST": server.host, "DOCKER_API_VERSION": "1.45"},
        )
    assert done.stdout.split() == found, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_scripts_are_their_language(shell: str) -> None:
    unpacked = tools.PROJECT / "build" / "debian"
    program = shutil.which(shell, path=f"{unpacked}/bin:{unpacked}/usr/bin:{os.environ['PATH']}")
    if program is None:
        pytest.skip(f"{shell}: not on this machine, `make test` brings it")
    script = subprocess.run([PIER, "completion", shell], capture_output=True, text=True, check=True).stdout
    libraries = ":".join(map(str, Path(program).parents[1].glob("lib/*-linux-gnu")))  # unpacked beside it
    done = subprocess.run([program, "-n"], input=script, capture_output=True, text=True, check=False,
                          env={"LD_LIBRARY_PATH": libraries, "PATH": os.environ["PATH"], "HOME": "/nonexistent"})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def man() -> ModuleType:
    path = str(tools.PROJECT / "deploy" / "man" / "generate")
    spec = importlib.util.spec_from_loader("man_pages", importlib.machinery.SourceFileLoader("man_pages", path))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_has_a_man_page_with_all_its_flags(man: ModuleType) -> None:
    pages = man.pages()
    for words in COMMANDS:
        page = pages[f"pier-{words.replace(' ', '-')}.1"]
        if found := re.fullmatch(r"\.so man1/(.+)\n", page):
            page = pages[found[1]]
        shown = page.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "")
        for flag in load(words).flags:
            assert f"--{flag.long}" in shown
    requests = {line.split()[0] for page in pages.values() for line in page.splitlines() if line.startswith(".")}
    assert requests <= {".TH", ".SH", ".TP", ".PP", ".B", ".br", ".so"}
    assert not [line for page in pages.values() for line in page.splitlines() if line.startswith("'")]


def test_nothing_of_a_text_is_taken_for_a_request(man: ModuleType) -> None:
    assert man.text(".so /etc/passwd\n'x\\y - ~") == "\\&.so /etc/passwd\n\\(aqx\\ey \\- \\(ti"
