"""TLS for one registry: the system's certificate authorities, and what a directory named by its host adds.

``DIRECTORY/HOST[:PORT]/`` as Docker has it: every ``*.crt`` is an authority besides the system's; each ``NAME.cert``
with a ``NAME.key`` is a client certificate.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

from chassis.errors import InvalidArgument
from imaged.registry_hosts import Endpoint


def context(directory: str, domain: str, endpoint: Endpoint) -> ssl.SSLContext:
    """For connections to ``domain``, with what is said of its ``endpoint``. InvalidArgument (BAD_CERTIFICATE) names
    the file that is none."""
    made = ssl.create_default_context()
    for authority in endpoint.authorities:
        _load(Path(authority), partial(made.load_verify_locations, authority))
    for pair in endpoint.certificates:
        _load(Path(pair[0]), partial(made.load_cert_chain, *pair))
    if not endpoint.verifies:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    place = Path(directory, domain)
    if not directory or not place.is_dir():
        return made
    for path in sorted(place.iterdir()):
        if path.suffix == ".crt":
            _load(path, partial(made.load_verify_locations, path))
        elif path.suffix == ".cert":
            _load(path, partial(made.load_cert_chain, path, path.with_suffix(".key")))
    return made


def _load(path: Path, load: Callable[[], object]) -> None:
    try:
        load()
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(f"{path}: {error.strerror or error}", reason="BAD_CERTIFICATE",
                              field="registry_certificates") from error
