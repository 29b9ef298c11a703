"""Docker's spellings live in the REST face and nowhere else."""

import re
from pathlib import Path

import pytest

from tests.unit.gateway import schema

SERVICES = Path(__file__).parents[3] / "services"
# Words that mean something on their own elsewhere (the OCI's configuration has User, Env, Cmd, …) prove nothing.
TELLING = sorted(name for name in schema.HOST_CONFIG if len(re.findall("[A-Z]", name)) > 1)
WORDS = re.compile(rf"""["'](HostConfig|NetworkSettings|NetworkingConfig|EndpointsConfig|{'|'.join(TELLING)})["']""")


@pytest.mark.parametrize("path", [
    path for path in sorted(SERVICES.rglob("*.py"))
    if not path.is_relative_to(SERVICES / "gateway" / "rest") and not path.is_relative_to(SERVICES / "pier")
], ids=lambda path: str(path.relative_to(SERVICES)))
def test_no_field_of_dockers_json_is_spelt_outside_of_the_face(path):
    assert WORDS.findall(path.read_text()) == []
