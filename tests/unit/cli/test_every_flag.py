"""Every command and every flag that ``--help`` lists is used by a test, which sees its effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import command_lines
from tests.command_lines import GLOBAL
from tests.tools import PROJECT
from tests.unit.cli.test_flag_effects import SAMPLES

TESTS = PROJECT / "tests"
COMPLETION = TESTS / "unit" / "cli" / "test_completion.py"
_RUN_NOTHING = frozenset({"command_lines.py", "test_every_flag.py", COMPLETION.name})
"""The command lines there are run by nobody, but for `completion` itself."""


def test_every_command_and_every_flag_has_a_test() -> None:
    used = command_lines.used(path for path in TESTS.rglob("*.py") if path.name not in _RUN_NOTHING)
    used |= command_lines.used([COMPLETION]) & {("completion", "")}
    # The same flags of two commands, and a test that goes through all of them.
    used |= {(words, flag) for words in ("run", "create") for flag in SAMPLES}
    missing = sorted(command_lines.grammar() - used)
    assert not missing, "no test uses " + ", ".join(f"{words or 'pier'} --{flag}" for words, flag in missing)


@pytest.mark.parametrize(("source", "found"), [
    ('engine.pier("ps", "-aq", "--last=2")', {("ps", ""), ("ps", "all"), ("ps", "quiet"), ("ps", "last")}),
    ('pier("-H", host, "stop", "-t", "0", name)', {(GLOBAL, "host"), ("stop", ""), ("stop", "timeout")}),
    ('play("run --rm NAME ls -l")', {("run", ""), ("run", "rm")}),
    ('["network rm --force x"]', {("network:RM", ""), ("network:RM", "force")}),
    ('run("network rm", ["-f", x])', {("network:RM", ""), ("network:RM", "force")}),
    ('engine.ok("ps", "-a"); engine.docker("ps", "-q"); docker("rm", "x")', set()),
    ('"""run --rm is told of here"""', set()), ("f('ps')", {("ps", "")}),
    ('engine.pier("rm", "--nope", "x")', {("rm", "")}),
    ('def build(e, *words):\n    return e.pier("build", *words, ".")\nbuild(e, "--pull", "-qt", name)',
     {("build", ""), ("build", "pull"), ("build", "quiet"), ("build", "tag")}),
    ('@p("flag", ["--all", "-l"])\ndef test(flag):\n    ask("ps", [flag])',
     {("ps", ""), ("ps", "all"), ("ps", "latest")}),
])
def test_command_lines_are_found_in_the_source(tmp_path: Path, source: str, found: set[tuple[str, str]]) -> None:
    path = tmp_path / "test_x.py"
    path.write_text(source)
    assert command_lines.used([path]) == found
