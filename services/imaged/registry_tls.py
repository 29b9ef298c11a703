"""TLS for one registry: the system's certificate authorities, and what a directory named by its host adds.

``DIRECTORY/HOST[:PORT]/`` as Docker has it: every ``*.crt`` is an authority besides the system's; each ``NAME.cert``
with a ``NAME.key`` is a client certificate.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from chassis.errors import InvalidArgument


def context(directory: str, domain: str) -> ssl.SSLContext:
    """For connections to ``domain``. InvalidArgument (BAD_CERTIFICATE) names the file that is none."""
    made = ssl.create_default_context()
    place = Path(directory, domain)
    if not directory or not place.is_dir():
        return made
    for path in sorted(place.iterdir()):
        try:
            if path.suffix == ".crt":
                made.load_verify_locations(path)
            elif path.suffix == ".cert":
                made.load_cert_chain(path, path.with_suffix(".key"))
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"{path}: {error.strerror or error}", reason="BAD_CERTIFICATE",
                                  field="registry_certificates") from error
    return made
