"""Which machine this is, also where nothing says it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chassis import host


def test_a_machine_has_its_own_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "MACHINE_ID", tmp_path / "machine-id")
    host.MACHINE_ID.write_text("0123456789abcdef" * 2 + "\n")
    assert host.node_id(tmp_path) == "0123456789abcdef" * 2
    assert not (tmp_path / "node-id").exists()


@pytest.mark.parametrize("text", [None, "", "uninitialized\n"])
def test_all_services_find_the_same_id_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    monkeypatch.setattr(host, "MACHINE_ID", tmp_path / "machine-id")
    if text is not None:
        host.MACHINE_ID.write_text(text)
    root = tmp_path / "root"
    root.mkdir()
    with ThreadPoolExecutor(8) as pool:
        (found,) = set(pool.map(lambda _: host.node_id(root), range(50)))
    assert len(found) == 32
    assert [path.name for path in root.iterdir()] == ["node-id"]
