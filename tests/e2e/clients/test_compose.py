"""Docker Compose: a project of five services from its first `up` to its last `down`."""

import json
import subprocess
import urllib.request

import pytest

from tests.engine import wait_until

PROJECT = """
name: shop
x-short: &short
  image: busybox
  stop_signal: SIGKILL
services:
  db:
    <<: *short
    command: ["sh", "-c", "usleep 300000; touch /data/ready; exec sleep 1000"]
    healthcheck: {test: ["CMD", "test", "-e", "/data/ready"], interval: 100ms, retries: 100}
    volumes: ["data:/data"]
    networks: {back: {aliases: [database]}}
  migrate:
    <<: *short
    command: ["sh", "-c", "test -e /data/ready && nslookup database && echo migrated > /data/schema"]
    volumes: ["data:/data"]
    depends_on: {db: {condition: service_healthy}}
    networks: [back]
  web:
    <<: *short
    command: ["httpd", "-f", "-p", "8080", "-h", "/www"]
    configs: [{source: page, target: /www/index.html}]
    depends_on: {migrate: {condition: service_completed_successfully}}
    environment: {GREETING: "${GREETING:-hello}"}
    networks: [front, back]
    ports: ["127.0.0.1::8080"]
  worker:
    <<: *short
    command: ["sh", "-c", "nslookup database && echo found; exec sleep 1000"]
    scale: 2
    depends_on: {db: {condition: service_healthy}}
    networks: [back]
  debug:
    <<: *short
    profiles: [debug]
    command: ["sleep", "1000"]
    networks: [front]
configs:
  page: {content: "a page"}
networks:
  front:
  back: {internal: true, labels: {kind: back}}
volumes:
  data: {labels: {kind: data}}
"""
LONG = 120


@pytest.fixture
def project(engine, compose, tmp_path):
    """``run(*words)`` in the project's directory; the project is taken down afterwards."""
    (tmp_path / "compose.yaml").write_text(PROJECT)

    def run(*words, **options):
        return engine.run([compose, "--ansi", "never", "--progress", "plain", *words], cwd=tmp_path, timeout=LONG,
                          **options)

    yield lambda *words: ok(run(*words))
    done = run("--profile", "*", "down", "-v", "-t", "0", "--remove-orphans")
    assert done.returncode == 0, done.stderr


def ok(done):
    assert done.returncode == 0, f"{' '.join(done.args[5:])}: {done.stdout}{done.stderr}"
    return done.stdout


def test_a_project_goes_up_in_order_is_used_and_goes_down(engine, project):
    project("up", "-d", "--wait-timeout", "60")
    rows = [json.loads(line) for line in project("ps", "-a", "--format", "json").splitlines()]
    states = {row["Name"]: row["State"] for row in rows}
    assert states == {"shop-db-1": "running", "shop-migrate-1": "exited", "shop-web-1": "running",
                      "shop-worker-1": "running", "shop-worker-2": "running"}
    assert next(row["Health"] for row in rows if row["Service"] == "db") == "healthy"
    address = project("port", "web", "8080").strip()
    with urllib.request.urlopen(f"http://{address}", timeout=10) as answer:
        assert answer.read() == b"a page"
    assert project("exec", "-T", "db", "cat", "/data/schema") == "migrated\n"
    assert project("exec", "-T", "web", "sh", "-c", "echo $GREETING; nslookup database >&2").startswith("hello\n")
    wait_until(lambda: project("logs", "--no-log-prefix", "worker").count("found") == 2, what="both have found it")
    assert project("top", "worker").count("sleep 1000") == 2
    project("up", "-d", "--scale", "worker=3", "--no-recreate")
    assert len(project("ps", "-q", "worker").split()) == 3
    before = project("ps", "-q", "web")
    project("up", "-d")
    assert project("ps", "-q", "web") == before, "nothing has changed"
    assert len(project("ps", "-q", "worker").split()) == 2, "as many as the file says again"
    project("--profile", "debug", "up", "-d", "debug")
    assert "shop-debug-1" in engine.ok("ps", "--format", "{{.Names}}")
    networks = engine.ok("network", "ls", "--format", "{{.Name}}").split()
    assert {"shop_front", "shop_back"} <= set(networks)
    assert engine.inspect("shop_back")["Internal"] is True
    project("--profile", "debug", "down", "-t", "0")
    assert engine.ok("ps", "-aq") == ""
    assert engine.ok("volume", "ls", "-q") == "shop_data"
    project("down", "-v")
    assert engine.ok("volume", "ls", "-q") == ""
    assert engine.ok("network", "ls", "-q", "-f", "type=custom") == ""


def test_a_service_whose_settings_change_is_made_anew_and_keeps_its_volume(engine, project, tmp_path):
    project("up", "-d", "db")
    project("exec", "-T", "db", "sh", "-c", "echo kept > /data/kept")
    before = project("ps", "-q", "db")
    (tmp_path / "compose.yaml").write_text(PROJECT.replace("usleep 300000; ", ""))
    project("up", "-d", "db")
    after = project("ps", "-q", "db")
    assert after
    assert after != before
    assert engine.ok("ps", "--format", "{{.Names}}") == "shop-db-1"
    assert project("exec", "-T", "db", "cat", "/data/kept") == "kept\n"
    for verb in ("pause", "unpause"):
        project(verb, "db")
    project("restart", "-t", "0", "db")
    project("stop", "-t", "0", "db")
    project("start", "db")
    project("kill", "db")
    project("rm", "-f", "db")
    assert engine.ok("ps", "-aq") == ""


def test_one_command_is_run_with_its_code_and_files_are_copied(project, engine, compose, tmp_path):
    done = engine.run([compose, "run", "--rm", "-T", "--no-deps", "worker", "sh", "-c", "echo out; exit 4"],
                      cwd=tmp_path, timeout=LONG)
    assert (done.returncode, done.stdout) == (4, "out\n")
    project("up", "-d", "db")
    (tmp_path / "in").write_text("copied")
    project("cp", "in", "db:/in")
    project("cp", "db:/in", "out")
    assert (tmp_path / "out").read_text() == "copied"


def test_an_attached_project_shows_its_logs_and_ends_with_its_container(engine, compose, project, tmp_path):
    (tmp_path / "compose.yaml").write_text("""
name: shop
services:
  one: {image: busybox, command: ["sh", "-c", "echo first; usleep 200000; exit 3"]}
  two: {image: busybox, command: ["sh", "-c", "echo second; exec sleep 1000"], stop_signal: SIGKILL}
""")
    done = engine.run([compose, "--ansi", "never", "up", "--exit-code-from", "one"], cwd=tmp_path, timeout=LONG)
    assert done.returncode == 3, done.stderr
    assert {line.split("|")[1].strip() for line in done.stdout.splitlines() if "|" in line} >= {"first", "second"}


def test_logs_are_followed_to_the_end(engine, compose, project, tmp_path):
    project("up", "-d", "--scale", "worker=1", "worker")
    follow = engine.start([compose, "logs", "-f", "--no-log-prefix", "worker"], cwd=tmp_path, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert any("found" in line for line in iter(follow.stdout.readline, ""))
        project("kill", "worker")
        follow.stdout.read()
        assert follow.wait(30) == 0
    finally:
        follow.kill()
        follow.wait()
        follow.stdout.close()


def test_an_image_is_built_by_the_classic_builder(engine, compose, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM busybox\nARG WORD\nRUN echo $WORD > /word\n")
    (tmp_path / "compose.yaml").write_text("""
name: made
services:
  one: {build: {context: ., args: {WORD: built}}, image: made:1, command: ["cat", "/word"]}
""")
    run = lambda *words: ok(engine.run(["env", "DOCKER_BUILDKIT=0", compose, *words], cwd=tmp_path, timeout=LONG))  # noqa: E731
    run("build")
    assert run("run", "--rm", "-T", "one") == "built\n"
    run("down", "--rmi", "all")
    engine.ok("builder", "prune", "-af")
