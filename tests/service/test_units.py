"""The systemd units give what the services' helpers need: tried by a process that has no more than a unit allows."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests import tools

UNITS = tools.PROJECT / "deploy" / "systemd"
NUMBERS = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2, "CAP_FOWNER": 3, "CAP_FSETID": 4,
           "CAP_KILL": 5, "CAP_SETPCAP": 8, "CAP_SYS_CHROOT": 18, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21,
           "CAP_MKNOD": 27, "CAP_SETFCAP": 31}
CONFINED = """
import os, re, sys
from chassis import jail, kernel
kernel.keep_capabilities(map(int, sys.argv[1:]))
jail.confine(jail.OF_FILES, memory=1 << 30)
kept = int(re.search("CapEff:\\t(.*)", open("/proc/self/status").read())[1], 16)
print(sorted(n for n in range(64) if kept >> n & 1) == sorted(jail.OF_FILES))
"""


@pytest.mark.parametrize("service", ["imaged", "execd"])
def test_a_helper_can_lock_itself_into_a_file_tree_with_what_the_unit_allows(service: str) -> None:
    unit = (UNITS / f"pier-{service}.service").read_text()
    (allowed,) = re.findall(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)
    numbers = [str(NUMBERS[name]) for name in allowed.split()]
    done = subprocess.run([sys.executable, "-c", CONFINED, *numbers], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("service", ["gateway", "imaged", "netd", "execd", "buildd"])
def test_a_unit_lets_its_service_listen_on_tcp_for_metrics_and_agents(service: str) -> None:
    unit = (UNITS / f"pier-{service}.service").read_text()
    (allowed,) = re.findall(r"^RestrictAddressFamilies=(.*)$", unit, re.MULTILINE)
    assert {"AF_UNIX", "AF_INET", "AF_INET6"} <= set(allowed.split())
