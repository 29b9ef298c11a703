"""The settings that may change while a service runs are those that the operator's page names."""

from __future__ import annotations

import re

import pytest

from buildd.settings import BuilddSettings
from chassis.config import Settings, live
from execd.settings import ExecdSettings
from gateway.settings import GatewaySettings
from imaged.settings import ImagedSettings
from netd.settings import NetdSettings
from tests.tools import PROJECT

ALL: dict[str, type[Settings]] = {
    "all": Settings, "gateway": GatewaySettings, "imaged": ImagedSettings, "netd": NetdSettings, "execd": ExecdSettings,
    "buildd": BuilddSettings,
}


@pytest.mark.parametrize("service", ALL)
def test_the_page_lists_what_a_reload_changes(service: str) -> None:
    page = (PROJECT / "docs" / "operating.md").read_text()
    (row,) = re.findall(rf"^\| {service} \| (`.+) \|$", page, re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", row.partition(";")[0]))
    assert named == (live(ALL[service]) - live(Settings) if service != "all" else live(Settings))


@pytest.mark.parametrize("service", [name for name in ALL if name != "all"])
def test_a_unit_reloads_by_a_command_that_fails_where_the_file_has_a_mistake(service: str) -> None:
    unit = (PROJECT / "deploy" / "systemd" / f"pier-{service}.service").read_text()
    assert f"\nExecReload=/usr/bin/pier system reload {service}\n" in unit
