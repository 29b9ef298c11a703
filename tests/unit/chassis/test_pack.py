"""Trees as archives, while they change."""

import io
import os
import tarfile

from chassis.tar.pack import Packer


def test_what_is_swapped_while_it_is_packed_is_passed_over(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    out = io.BytesIO()
    real = os.fstat
    parent = os.open(tmp_path.parent, os.O_PATH)
    (tmp_path / "d").write_text("d")

    def swapped(fd):
        """When ``a`` is open, b has become a link, c has gone, d has become a pipe."""
        if (tmp_path / "c").exists() and os.readlink(f"/proc/self/fd/{fd}").endswith("/a"):
            for name in ("b", "c", "d"):
                (tmp_path / name).unlink()
            (tmp_path / "b").symlink_to("/etc/passwd")
            os.mkfifo(tmp_path / "d")
        return real(fd)

    monkeypatch.setattr(os, "fstat", swapped)
    # What was looked at before: all four as files.
    entries = [("", os.lstat(tmp_path)), *((name, os.lstat(tmp_path / name)) for name in "abcd")]
    monkeypatch.setattr("chassis.trees.walk", lambda *_: ((name.encode(), status) for name, status in entries))
    Packer(out.write).pack(parent, os.fsencode(tmp_path.name), b"x")
    os.close(parent)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        assert archive.getnames() == ["x", "x/a"]
