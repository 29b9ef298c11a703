"""The build backend of pier-client (PEP 517): a wheel of ``pier_client`` and the contracts' generated code.

Source of the wheel's form: the binary distribution format (PEP 427) and core metadata 2.1.
"""

from __future__ import annotations

import base64
import hashlib
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

_HERE: Final = Path(__file__).parent
_PACKAGES: Final = (_HERE / "pier_client", _HERE.parent / "services" / "pier")
_KINDS: Final = (".py", ".pyi", ".typed")
_TAG: Final = "py3-none-any"


def build_wheel(
    wheel_directory: str, config_settings: Mapping[str, Any] | None = None, metadata_directory: str | None = None  # noqa: ARG001 - the hook's
) -> str:
    """Write the wheel into ``wheel_directory``; its name. The same sources give the same bytes. There is nothing to be
    configured."""
    if config_settings:
        raise ValueError(f"pier-client's wheel has no settings: {', '.join(config_settings)}")
    project = tomllib.loads((_HERE / "pyproject.toml").read_text())["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    name, record = f"{stem}-{_TAG}.whl", []
    with zipfile.ZipFile(Path(wheel_directory) / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in _members(project, f"{stem}.dist-info"):
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(data)}\n")
            _add(wheel, path, data)
        path = f"{stem}.dist-info/RECORD"
        _add(wheel, path, "".join([*record, f"{path},,\n"]).encode())
    return name


def build_sdist(sdist_directory: str, config_settings: Mapping[str, Any] | None = None) -> str:
    """There is none: the generated code lies in the engine's sources."""
    del sdist_directory, config_settings
    raise NotImplementedError("pier-client is built from the repository: pip install ./client")


def _members(project: Mapping[str, Any], information: str) -> Iterator[tuple[str, bytes]]:
    for package in _PACKAGES:
        for path in sorted(package.rglob("*")):
            if path.suffix in _KINDS and path.is_file():
                yield path.relative_to(package.parent).as_posix(), path.read_bytes()
    lines = [
        "Metadata-Version: 2.1", f"Name: {project['name']}", f"Version: {project['version']}",
        f"Summary: {project['description']}", f"License: {project['license']['text']}",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {each}" for each in project["dependencies"]),
        "Description-Content-Type: text/markdown", "", (_HERE / project["readme"]).read_text(),
    ]
    yield f"{information}/METADATA", "\n".join(lines).encode()
    yield f"{information}/WHEEL", (
        f"Wheel-Version: 1.0\nGenerator: pier\nRoot-Is-Purelib: true\nTag: {_TAG}\n".encode())


def _add(wheel: zipfile.ZipFile, path: str, data: bytes) -> None:
    member = zipfile.ZipInfo(path)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    wheel.writestr(member, data)
