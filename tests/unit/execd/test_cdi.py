"""Vendors' device specifications: what is a name, what is found, and that no file of theirs crashes a start."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.errors import Conflict, InvalidArgument
from execd.oci import cdi


def document() -> dict[str, Any]:
    return {"process": {"env": ["A=1"], "user": {"additionalGids": []}}, "mounts": [],
            "linux": {"devices": [], "resources": {"devices": []}}}


def specify(directory: Path, kind: str, **edits: Any) -> None:
    directory.mkdir(exist_ok=True)
    body = {"cdiVersion": "0.6.0", "kind": kind, "devices": [{"name": "a", "containerEdits": edits}]}
    (directory / f"{kind.replace('/', '-')}-{len(list(directory.iterdir()))}.json").write_text(json.dumps(body))


@pytest.mark.parametrize("name", ["", "a", "a=b=c", "/gpu=0", "v.com/=0", "v.com/gpu=", "v.com/g/h=0", "../x/gpu=0",
                                  "v.com/gpu=-a", "v.com/gpu=a\n", "v" * 300 + "/gpu=0"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        cdi.check(name, "spec.cdi_devices")


def test_a_later_directory_takes_the_place_of_one_before(tmp_path: Path) -> None:
    specify(tmp_path / "1", "v.com/gpu", env=["A=first"])
    specify(tmp_path / "2", "v.com/gpu", env=["A=second"])
    made = document()
    cdi.inject(made, ["v.com/gpu=a"], [tmp_path / "1", tmp_path / "2"])
    assert made["process"]["env"] == ["A=second"]


def test_a_device_twice_in_one_directory_is_nobodys(tmp_path: Path) -> None:
    specify(tmp_path / "1", "v.com/gpu", env=["A=first"])
    specify(tmp_path / "1", "v.com/gpu", env=["A=second"])
    with pytest.raises(Conflict, match="two specifications have it"):
        cdi.inject(document(), ["v.com/gpu=a"], [tmp_path / "1"])


def test_what_is_not_built_is_refused_by_name(tmp_path: Path) -> None:
    specify(tmp_path / "1", "v.com/gpu", intelRdt={"closID": "x"})
    with pytest.raises(Conflict, match="intelRdt is not supported"):
        cdi.inject(document(), ["v.com/gpu=a"], [tmp_path / "1"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["path", "hostPath", "type", "major", "minor", "env", "mounts", "hooks", "hookName", "options",
                         "deviceNodes", "additionalGids", "containerPath", "uid"]), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a loaded machine is no fault of the strategy
@given(st.dictionaries(st.sampled_from(["env", "mounts", "hooks", "deviceNodes", "additionalGids"]), JSON))
def test_any_edits_are_carried_out_or_refused(tmp_path_factory: pytest.TempPathFactory, edits: dict[str, Any]) -> None:
    directory = tmp_path_factory.mktemp("cdi")
    specify(directory, "v.com/gpu", **edits)
    with contextlib.suppress(Conflict):
        cdi.inject(document(), ["v.com/gpu=a"], [directory])
