"""``pier system``: answers whatever is dead or hung, and an exit code that scripts can use."""

from __future__ import annotations

import json
import os
import posix
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis.instance import instance
from chassis.version import VERSION
from pier_cli.commands import system as commands
from pier_cli.context import Context
from pier_cli.failure import Failure
from pier_cli.flags import parse
from pier_cli.main import load
from pier_cli.system import silence
from pier_cli.system.__main__ import VERBS, main
from pier_cli.system.status import Row, table, uptime


@pytest.fixture
def netd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """One service of four, a sample in netd's place."""
    monkeypatch.setenv("PIER_RUN", str(tmp_path / "run"))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.chassis.sample_service", "--root", str(tmp_path / "root"),
         "--run", str(tmp_path / "run"), "--metrics-port", "0"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stderr=subprocess.PIPE, text=True,
    )
    assert process.stderr
    for line in process.stderr:
        if json.loads(line)["event"] == "serving":
            break
    yield process
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.wait(10)
    process.stderr.close()


def test_status_tells_the_living_from_the_dead(
    netd: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--json"]) == 1
    rows = {row["service"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == ["gateway", "imaged", "netd", "execd", "buildd"]
    assert (rows["netd"]["version"], rows["netd"]["pid"], rows["netd"]["health"]) == (VERSION, netd.pid, "serving")
    assert rows["netd"]["uptime"] >= 0
    assert {rows[name]["health"] for name in ("gateway", "imaged", "execd")} == {"dead"}


def test_status_does_not_wait_for_a_hung_service(
    netd: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    netd.send_signal(signal.SIGSTOP)
    assert main(["status"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["SERVICE", "VERSION", "PID", "UPTIME", "HEALTH"]
    assert lines[3].split() == ["netd", "-", str(netd.pid), "-", "hung"]
    stopped = f"process {netd.pid} was stopped by a signal: kill -CONT {netd.pid} lets it go on"
    assert lines[6:] == [f"netd: {stopped}"]


def test_fsck_fails_where_a_service_cannot_be_asked(
    netd: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fsck"]) == 1
    said = capsys.readouterr()
    assert "execd: " in said.err
    assert "nothing found" not in said.out


def test_config_shows_where_each_value_came_from(
    netd: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config"]) == 1  # three of the four are dead
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["netd", "metrics_port", "0", "flag", "--metrics-port"] in rows
    assert ["netd", "log_level", "info", "default"] in rows


def test_a_bad_instance_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--instance", "No"]) == 125
    assert "lower-case word" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "text"), [(-1, "-"), (5, "5s"), (65, "1m 5s"), (3600, "1h 0m"), (90061, "1d 1h")])
def test_uptimes(seconds: float, text: str) -> None:
    assert uptime(seconds) == text


CANNOT = json.dumps({"event": "cannot run", "reason": "LOCKED", "error": "another process holds it"})
SERVING = json.dumps({"event": "serving"})


def test_why_a_service_ended_is_read_from_its_log(tmp_path: Path) -> None:
    own = instance(root=tmp_path, run=tmp_path)
    (tmp_path / "log").mkdir()
    log, launcher = silence.log_of(own, "netd"), silence.log_of(own, "launcher")
    log.write_text(f"{SERVING}\nTraceback\n{CANNOT}\n")
    assert silence.of(own, "netd") == silence.Silence(
        silence.DEAD, 0, "it cannot run (LOCKED): another process holds it")
    log.write_text(f"{CANNOT}\n{SERVING}\n")  # that was before
    assert silence.of(own, "netd").why == ""
    launcher.write_text("Z launcher: netd ended (killed by signal 9), again in 0.1 s\n")
    assert silence.of(own, "netd").why == "netd ended (killed by signal 9), again in 0.1 s"
    with launcher.open("a") as file:
        file.write("Z launcher: netd started, pid 9\n")
    assert silence.of(own, "netd").why == ""


def test_under_systemd_it_is_read_from_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "journalctl"
    journal.write_text(f"#!/bin/sh\n[ $2 = pier-netd ] && echo '{CANNOT}'\n")
    journal.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(silence, "_SYSTEMD", tmp_path)
    monkeypatch.setattr(silence, "_JOURNAL_SECONDS", 30.0)
    own = instance(root=tmp_path, run=tmp_path)
    assert silence.last_words(own, "netd") == "it cannot run (LOCKED): another process holds it"
    assert silence.last_words(own, "execd") == ""
    journal.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(silence, "_JOURNAL_SECONDS", 0.2)
    assert silence.last_words(own, "netd") == ""


def test_the_table_of_services() -> None:
    rows = [Row("gateway", "0.1.0", 12, 61.0, "serving"), Row("execd", "", 0, -1.0, "dead")]
    assert [line.split() for line in table(rows).splitlines()[1:]] == [
        ["gateway", "0.1.0", "12", "1m", "1s", "serving"], ["execd", "-", "-", "-", "dead"],
    ]


@pytest.mark.parametrize(("words", "arguments", "handed"), [
    ("system status", ["--json"], ["status", "--instance", "lab", "--json"]),
    ("system status", [], ["status", "--instance", "lab"]),
    ("system doctor", ["--json"], ["doctor", "--instance", "lab", "--json"]),
    ("system fsck", ["--repair"], ["fsck", "--instance", "lab", "--repair"]),
    ("system config", ["show"], ["config", "--instance", "lab"]),
    ("system reload", ["netd"], ["reload", "--instance", "lab", "--service=netd"]),
    ("system up", ["--foreground"], ["up", "--instance", "lab", "--foreground"]),
    ("system clear", [], ["clear", "--instance", "lab"]),
    ("system down", [], ["down", "--instance", "lab"]),
    ("quickstart", [], ["quickstart", "--instance", "lab"]),
])
def test_the_command_becomes_the_projects_python(
    monkeypatch: pytest.MonkeyPatch, words: str, arguments: list[str], handed: list[str]
) -> None:
    seen: list[list[str]] = []

    def execv(path: str, argv: list[str]) -> None:
        seen.append(argv)
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(posix, "execv", execv)
    command = load(words)
    options, rest = parse(command.flags, arguments)
    with pytest.raises(Failure, match="has no environment: `make run` there makes it"):
        command.run(Context(instance="lab"), options, rest)
    tried = [f"{commands.project()}/{name}/bin/python" for name in ("venv", ".venv")]  # as installed, and in a clone
    assert seen == [[python, "-I", "-m", "pier_cli.system", *handed] for python in tried]
    assert handed[0] in VERBS
