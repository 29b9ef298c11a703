"""Programs with musl, the C library of many images, whose resolver is not glibc's: it asks every resolver at once and
for both kinds of addresses, and takes one refusal for the whole answer."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests import tools

RESOLVE = Path(__file__).parent / "service" / "netd" / "data" / "resolve.c"
"""A program that asks for names."""
_ROOT = tools.PROJECT / "build" / "debian" / "usr"


def compiled(source: Path, into: Path) -> Path:
    """The program made of a C file, linked with musl and nothing else. FileNotFoundError says how to get what lacks."""
    compiler = Path(tools.program("tcc"))
    library = next(_ROOT.glob("lib/*-linux-musl"), None)
    if library is None:
        raise FileNotFoundError("musl: not on this machine, `make test` brings it (deploy/packages)")
    runtime = next(compiler.parents[1].glob("lib/*/tcc"))
    first, last = ([str(library / name) for name in names] for names in (("crt1.o", "crti.o"), ("libc.a", "crtn.o")))
    program = into / source.stem
    subprocess.run(
        [str(compiler), f"-B{runtime}", "-static", "-nostdinc", "-nostdlib", f"-I{_ROOT}/include/{library.name}",
         "-o", str(program), *first, str(source), *last], check=True)
    return program
