"""Certificates for tests: each its own authority, or of one authority for all."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class Pair(NamedTuple):
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path


def make(directory: Path, name: str, address: str) -> Pair:
    """For the IP address ``address``; files ``name.pem`` and ``name-key.pem``."""
    pair = Pair(directory / f"{name}.pem", directory / f"{name}-key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{address}", "-keyout", pair.key, "-out",
         pair.certificate], check=True, capture_output=True, timeout=30)
    return pair


def issue(directory: Path, authority: Pair, name: str, address: str, unit: str = "") -> Pair:
    """The same, of the authority's making; ``unit`` is an organizational unit."""
    pair = Pair(directory / f"{name}.pem", directory / f"{name}-key.pem")
    request, extensions = directory / f"{name}.csr", directory / f"{name}.ext"
    extensions.write_text(f"subjectAltName=IP:{address},DNS:{name}.example\nbasicConstraints=CA:FALSE\n")
    subject = f"/OU={unit}/CN={name}" if unit else f"/CN={name}"
    commands: tuple[list[str | Path], ...] = (
        ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject, "-keyout", pair.key,
         "-out", request],
        ["x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.key, "-CAcreateserial",
         "-days", "2", "-extfile", extensions, "-out", pair.certificate],
    )
    for command in commands:
        subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=30)
    return pair
