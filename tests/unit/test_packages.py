"""What the packages install: scripts that a shell can read, units whose programs are there, nothing that is not
listed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from chassis.instance import SERVICES, instance
from launcher.programs import programs
from tests.tools import PROJECT

DEBIAN = PROJECT / "deploy" / "debian"
UNITS = sorted((PROJECT / "deploy" / "systemd").glob("pier*.*"))
TREE = "/usr/lib/pier/"


@pytest.mark.parametrize("script", ["build", "tree", "try", "postinst", "prerm", "postrm"])
def test_a_script_is_one(script: str) -> None:
    path = DEBIAN / script
    shell = path.read_text().partition("\n")[0].rpartition(" ")[2].rpartition("/")[2].removeprefix("#!")
    subprocess.run([shell, "-n", str(path)], check=True)
    assert path.stat().st_mode & 0o111


@pytest.mark.parametrize("unit", [unit.name for unit in UNITS if unit.suffix == ".service"])
def test_a_unit_runs_what_the_package_holds(unit: str) -> None:
    (line,) = re.findall(r"^ExecStart=(.+)$", (PROJECT / "deploy" / "systemd" / unit).read_text(), re.MULTILINE)
    program, *words = line.split()
    assert program == f"{TREE}venv/bin/python"
    if words[0] == "-m":
        assert (PROJECT / "services" / words[1] / "__main__.py").exists()
    for word in words:
        if word.startswith(TREE):
            assert (PROJECT / word.removeprefix(TREE)).exists(), word


def test_there_is_a_unit_for_each_program_of_the_launchers() -> None:
    expected = {f"pier-{program.name}.service" for program in programs(instance(), None)}
    assert {unit.name for unit in UNITS if unit.suffix == ".service"} == expected
    assert set(SERVICES) <= {name.removeprefix("pier-").removesuffix(".service") for name in expected}


@pytest.mark.parametrize("script", ["postinst", "prerm"])
def test_a_maintainers_script_knows_every_unit(script: str) -> None:
    text = (DEBIAN / script).read_text()
    for unit in UNITS:
        if unit.suffix in (".service", ".socket"):
            name = unit.stem if unit.suffix == ".service" else unit.name
            assert re.search(rf"\b{re.escape(name)}\b", text), name


def test_what_the_engine_runs_on_is_what_the_package_depends_on() -> None:
    listed = {line.split()[0] for line in (PROJECT / "deploy" / "packages" / "run.txt").read_text().splitlines()
              if line and not line.startswith("#")} - {"python3-venv"}
    control = (DEBIAN / "control").read_text()
    fields = re.findall(r"^(?:Depends|Recommends): (.+)$", control, re.MULTILINE)
    assert listed <= set(re.findall(r"[a-z0-9][a-z0-9+.-]+", " ".join(fields)))


def test_the_run_directory_is_no_units_own() -> None:
    """RuntimeDirectory= would give it to root alone, and group pier could not pass to the socket."""
    assert not [unit.name for unit in UNITS if "\nRuntimeDirectory" in Path(unit).read_text()]
    assert "d /run/pier 0710 root pier" in (PROJECT / "deploy" / "systemd" / "pier.tmpfiles").read_text()
