"""Names while services, the resolver, or all of the engine are away."""

import time

import pytest

from tests.engine import running, sh, wait_until


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """An engine whose services may die without another test's noticing."""
    with running("e2en", tmp_path_factory.mktemp("engine")) as own:
        own.load_busybox()
        yield own


@pytest.fixture(autouse=True)
def network(engine):
    engine.ok("network", "create", "blue")
    yield
    engine.remove_everything()
    engine.ok("network", "rm", "blue")


def test_containers_find_each_other_while_services_are_dead_and_while_the_engine_is_down(engine):
    engine.ok("run", "-d", "--name", "db", "--network", "blue", *sh("sleep 1000"))
    script = "while :; do ping -c 1 -w 5 db > /dev/null && echo ok || echo lost; sleep 0.1; done"
    engine.ok("run", "-d", "--name", "web", "--network", "blue", *sh(script))

    def seen():
        return engine.ok("logs", "web").split()

    wait_until(lambda: seen().count("ok") > 3)
    engine.kill("netd", "execd", "imaged", "gateway", "zygote")
    engine.wait_supervised()
    before = len(seen())
    wait_until(lambda: len(seen()) > before + 3)
    engine.down()
    time.sleep(1)  # containers go on asking while nothing is up
    engine.up()
    before = len(seen())
    wait_until(lambda: len(seen()) > before + 5)
    assert seen()[-3:] == ["ok"] * 3
    assert seen().count("lost") == 0, "the resolver's successor is handed all of it"
    engine.kill("resolver")
    engine.wait_supervised()
    wait_until(lambda: seen()[-1] == "ok")
    wait_until(lambda: engine.pier("system", "fsck").returncode == 0)
