"""Certificates for tests, each its own authority."""

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
