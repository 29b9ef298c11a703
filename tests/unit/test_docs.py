"""The pages are true: their links lead somewhere, and every command in them is one, with flags that it has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pier_cli.failure import UsageError
from pier_cli.flags import Help, parse
from pier_cli.main import GLOBAL_FLAGS, load
from pier_cli.table import COMMANDS, GROUPS
from tests.tools import PROJECT

PAGES = sorted([PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").rglob("*.md")])
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`(?:bin/)?(pier [^`\n]+)`")
_LINE = re.compile(r"^    (?:\$ )?(?:bin/)?(pier .+)$", re.MULTILINE)
_END = frozenset({"|", ">", "<", "&&", ";", "&", "#"})


def anchors(page: Path) -> set[str]:
    """What a heading is called in a link, as GitHub makes it."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), target


def commands(page: Path) -> list[str]:
    text = page.read_text()
    return [*_SPAN.findall(text), *_LINE.findall(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_are_commands(page: Path) -> None:
    for line in commands(page):
        words = []
        for word in shlex.split(line, comments=True)[1:]:
            if word in _END:
                break
            words.append(word)
        check(line, words)


def check(line: str, words: list[str]) -> None:
    """The words parse: a command of the table, and flags that it has."""
    try:
        _, rest = parse(GLOBAL_FLAGS, words, interspersed=False)
        name = " ".join(rest[:2]) if rest and rest[0] in GROUPS else rest[0] if rest else ""
        if not name or name in GROUPS or not name.islower() or "…" in name:
            return  # a group, or a word that stands for any command
        assert name in COMMANDS, f"{line}: no such command"
        command = load(name)
        parse(command.flags, rest[len(name.split()):], command.interspersed)
    except Help:
        return
    except UsageError as error:
        if not error.message.startswith("flag needs an argument"):  # a page may name a flag alone
            raise


def test_a_wrong_link_or_command_would_be_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        check("pier nope", ["nope"])
    with pytest.raises(Exception, match="unknown flag"):
        check("pier ps --nope", ["ps", "--nope"])
    page = tmp_path / "page.md"
    page.write_text("# A `b` c\n[x](gone.md)\n\n    pier ps -a | cat\n")
    assert commands(page) == ["pier ps -a | cat"]
    assert anchors(page) == {"a-b-c"}
    with pytest.raises(AssertionError):
        test_the_links_of_a_page_lead_somewhere(page)


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES for target in _LINK.findall(page.read_text())
    }
    for page in PAGES:
        reached = page in linked or page.parent.name == "decisions" or page.name in ("README.md", "CONTRIBUTING.md")
        assert reached, f"{page.name}: nobody finds it"
