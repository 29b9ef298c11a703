"""Dependencies point one way, and what must start fast loads nothing but the standard library."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

PROJECT: Final = Path(__file__).parents[2]
ROOTS: Final = (PROJECT / "services", PROJECT / "cli", PROJECT / "client")

ALLOWED: Final[dict[str, frozenset[str]]] = {
    "pier": frozenset(),
    "chassis": frozenset({"pier"}),
    "imaged": frozenset({"chassis", "pier"}),
    "netd": frozenset({"chassis", "pier"}),
    "execd": frozenset({"chassis", "pier"}),
    "coordinator": frozenset({"chassis", "pier"}),
    "buildd": frozenset({"coordinator", "chassis", "pier"}),
    "gateway": frozenset({"coordinator", "chassis", "pier"}),
    "launcher": frozenset({"chassis"}),
    "pier_client": frozenset({"pier"}),
    "pier_cli": frozenset({"launcher", "chassis", "pier"}),
    "wheel_backend": frozenset(),
}
"""Package → the project's packages that it may import, besides itself."""

QUICK: Final = ("pier_cli.__main__", "chassis.kernel", "chassis.ids", "chassis.instance", "chassis.errors")
"""Modules whose load-time imports, followed to the end, are the standard library's only: the command's start, and what
the shim and the unpack workers load. Imports inside functions are not load-time imports."""


@dataclass(frozen=True)
class Import:
    """``module`` imports ``target`` (a dotted name) in ``line``; ``at_load`` unless in a function or for types only."""

    module: str
    target: str
    line: int
    at_load: bool


def imports(module: str, source: str, is_package: bool = False) -> Iterator[Import]:
    """Every import statement in ``source``, the text of ``module``."""
    package = module if is_package else module.rpartition(".")[0]

    def walk(node: ast.AST, at_load: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(module, alias.name, child.lineno, at_load)
            elif isinstance(child, ast.ImportFrom):
                parts = package.split(".")
                base = ".".join(parts[: len(parts) - child.level + 1]) if child.level else ""
                origin = ".".join(part for part in (base, child.module) if part)
                # What is imported from a package may be a module of it or a name in it: both are looked at.
                for alias in child.names:
                    yield Import(module, f"{origin}.{alias.name}", child.lineno, at_load)
            else:
                deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
                yield from walk(child, at_load and not deferred and not typing_only)

    yield from walk(ast.parse(source), True)


def sources() -> dict[str, Path]:
    """Dotted name → file of every module of the project's packages."""
    found = {}
    for root in ROOTS:
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def all_imports(modules: dict[str, Path]) -> dict[str, list[Import]]:
    return {
        name: list(imports(name, path.read_text(), is_package=path.name == "__init__.py"))
        for name, path in modules.items()
    }


def against_the_table(found: dict[str, list[Import]]) -> list[str]:
    """A sentence for each import that the table does not allow."""
    wrong = []
    for name, entries in found.items():
        package = name.partition(".")[0]
        for entry in entries:
            other = entry.target.partition(".")[0]
            if other != package and other in ALLOWED and other not in ALLOWED[package]:
                wrong.append(f"{name}:{entry.line} imports {entry.target}: {package} must not know {other}")
    return wrong


def slow_imports(start: str, found: dict[str, list[Import]]) -> list[str]:
    """A sentence for each import, reached from ``start`` at load time, of what the standard library has not."""
    wrong, seen, waiting = [], set[str](), [start]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for entry in found[name]:
            if not entry.at_load or entry.target.partition(".")[0] in sys.stdlib_module_names:
                continue
            # A package's __init__ runs before its modules do.
            reached = [part for part in _prefixes(entry.target) if part in found]
            waiting += reached
            if not reached:
                wrong.append(f"{name}:{entry.line} loads {entry.target} when {start} starts")
    return wrong


def _prefixes(dotted: str) -> list[str]:
    parts = dotted.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def test_every_package_has_a_row_in_the_table() -> None:
    found = {path.name for root in ROOTS if root.exists() for path in root.iterdir() if any(path.rglob("*.py"))}
    assert found <= set(ALLOWED)


def test_dependencies_point_one_way() -> None:
    assert against_the_table(all_imports(sources())) == []


@pytest.mark.parametrize("start", [name for name in QUICK if name in sources()])
def test_what_must_start_fast_loads_the_standard_library_only(start: str) -> None:
    assert slow_imports(start, all_imports(sources())) == []


@pytest.mark.parametrize(("module", "text"), [
    ("imaged.blobs", "import netd"),
    ("imaged.blobs", "from netd.ipam import pool"),
    ("netd.links", "def f():\n    from execd import shim"),
    ("chassis.store", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import gateway.rest"),
    ("execd.shim", "from coordinator import create"),
    ("coordinator.create", "import imaged.blobs as b"),
    ("pier_cli.run", "import gateway"),
])
def test_an_import_against_the_direction_is_found(module: str, text: str) -> None:
    assert len(against_the_table({module: list(imports(module, text))})) == 1


def test_relative_imports_stay_within_their_package() -> None:
    (entry,) = imports("netd.drivers.bridge", "from ..links import veth")
    assert entry.target == "netd.links.veth"
    (entry,) = imports("netd.drivers", "from . import bridge", is_package=True)
    assert entry.target == "netd.drivers.bridge"


def test_a_slow_import_is_found_through_other_modules_but_not_inside_functions() -> None:
    texts = {
        "pier_cli": "",
        "pier_cli.__main__": "import sys\nfrom pier_cli import run",
        "pier_cli.run": "from pier_cli.api import call\ndef progress():\n    import rich",
        "pier_cli.api": "import aiohttp",
    }
    found = {name: list(imports(name, text)) for name, text in texts.items()}
    assert slow_imports("pier_cli.__main__", found) == ["pier_cli.api:1 loads aiohttp when pier_cli.__main__ starts"]
