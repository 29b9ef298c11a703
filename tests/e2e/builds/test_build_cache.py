"""Records of builds: what they are reused for, when they are not, and what is left when something dies meanwhile."""

import os
import signal
import subprocess
import sys

import pytest

from tests.engine import wait_until

SLOW = "FROM busybox\nRUN echo one > /one\nRUN sleep 1000\nRUN echo three > /three\n"


def containers(engine):
    """Processes of the sleeping command."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                command = file.read()
        except OSError:
            continue
        if command.startswith(b"sleep\0") and b"1000" in command:
            found.append(int(name))
    return found


def fsck(engine):
    """What the services say of themselves, as `pier system fsck` prints it."""
    done = subprocess.run(
        [sys.executable, "-m", "pier_cli.system", "fsck", "--instance", engine.instance.name], check=False,
        capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def start(builder, text):
    builder.write("Dockerfile", text)
    return builder.engine.start([*builder.engine.argv("docker"), "build", "-t", "a", str(builder.directory)],
                                stdout=-1, stderr=-1)


def test_independent_stages_are_built_at_the_same_time(builder):
    """Each of the two waits for the other by a cache mount that both have: one after the other they never end."""
    text = """\
FROM busybox AS one
RUN --mount=type=cache,id=meet,target=/m touch /m/one && while ! [ -e /m/two ]; do sleep 0.02; done; echo 1 > /1
FROM busybox AS two
RUN --mount=type=cache,id=meet,target=/m touch /m/two && while ! [ -e /m/one ]; do sleep 0.02; done; echo 2 > /2
FROM busybox
COPY --from=one /1 /
COPY --from=two /2 /
"""
    builder.ok("-t", "a", dockerfile=text, timeout=30)
    assert builder.run("a", "cat", "/1", "/2").split() == ["1", "2"]


def test_a_locked_cache_is_used_by_one_command_after_the_other(builder):
    """Row 41 of the attacks: two commands race on one cache."""
    step = ("RUN --mount=type=cache,id=lock,target=/m,sharing=locked "
            "mkdir /m/taken && sleep 0.2 && rmdir /m/taken && touch /{}\n")
    text = "FROM busybox AS one\n" + step.format(1) + "FROM busybox AS two\n" + step.format(2)
    text += "FROM busybox\nCOPY --from=one /1 /\nCOPY --from=two /2 /\n"
    builder.ok("-t", "a", dockerfile=text)


def test_a_cancelled_client_takes_its_containers_with_it(builder):
    client = start(builder, SLOW)
    wait_until(lambda: containers(builder.engine), 20, "the command runs")
    client.send_signal(signal.SIGKILL)
    wait_until(lambda: not containers(builder.engine), 10, "its container is gone")
    client.communicate()
    again = builder.docker("-t", "a", dockerfile=SLOW.replace("sleep 1000", "true"))
    assert again.stdout.count("Using cache") == 1, again.stdout + again.stderr


@pytest.mark.parametrize("killed", [["buildd"], ["imaged"], ["execd"], ["gateway"], ["buildd", "imaged", "execd"]],
                         ids="+".join)
def test_what_was_finished_before_a_kill_is_reused_after_it(builder, killed):
    client = start(builder, SLOW)
    wait_until(lambda: containers(builder.engine), 20, "the command runs")
    builder.engine.kill(*killed)
    if killed in (["imaged"], ["execd"]):
        client.kill()  # nothing of it is being asked while the command runs
    client.communicate()
    builder.engine.wait_supervised()
    wait_until(lambda: not containers(builder.engine), 10, "its container is gone")
    said = builder.ok("-t", "a", dockerfile=SLOW.replace("sleep 1000", "true"))
    assert said.count("Using cache") == 1
    assert builder.run("a", "cat", "/one", "/three").split() == ["one", "three"]
    assert fsck(builder.engine) == "nothing found\n"


def test_no_cache_carries_all_out_and_what_it_makes_is_found_afterwards(builder):
    text = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /u\n"
    builder.ok("-t", "a", dockerfile=text)
    first = builder.run("a", "cat", "/u")
    assert "Using cache" not in builder.ok("-t", "a", "--no-cache")
    second = builder.run("a", "cat", "/u")
    assert second != first
    assert "Using cache" in builder.ok("-t", "a")
    assert builder.run("a", "cat", "/u") == second


def test_a_change_of_what_is_no_input_of_a_command_does_not_repeat_it(builder):
    builder.ok(dockerfile="FROM busybox\nLABEL a=1\nRUN echo x > /x\n")
    assert "Running in" not in builder.ok(dockerfile="FROM busybox\nLABEL a=2\nRUN echo x > /x\n")
    assert "Running in" in builder.ok(dockerfile="FROM busybox\nENV a=2\nRUN echo x > /x\n")


def test_row_45_the_cache_key_covers_the_whole_configuration_of_the_base(builder):
    """CVE-2024-24557: an image whose layers are the same and whose HEALTHCHECK or ONBUILD is not, is another base."""
    builder.ok("-t", "base", dockerfile="FROM busybox\nHEALTHCHECK CMD true\n")
    builder.ok("-t", "a", dockerfile="FROM base\nRUN echo x > /x\n")
    builder.ok("-t", "base", dockerfile="FROM busybox\nHEALTHCHECK CMD false\n")
    assert "Running in" in builder.ok("-t", "a", dockerfile="FROM base\nRUN echo x > /x\n")
    assert builder.inspect("a")["Config"]["Healthcheck"]["Test"] == ["CMD-SHELL", "false"]


def test_records_are_listed_and_pruned_and_images_go_on_without_them(builder):
    rows = ("system", "df", "-v", "--format", "{{range .BuildCache}}{{.Description}}\n{{end}}")
    builder.ok("-t", "a", dockerfile="FROM busybox\nRUN echo x > /x\n")
    assert "RUN /bin/sh -c echo x > /x" in builder.engine.ok(*rows)
    assert builder.engine.pier("builder", "prune", "-f").stdout.startswith("Deleted build cache objects:\n")
    assert builder.engine.ok(*rows) == ""
    assert builder.run("a", "cat", "/x") == "x"
    assert "Running in" in builder.ok("-t", "b")
    builder.ok("-t", "c", dockerfile="FROM a\nRUN cat /x\n")


def test_a_cache_has_the_mode_it_asks_for_and_begins_with_what_it_is_from(builder):
    step = "RUN --mount=type=cache,id=c,from=seed,source=/s,target=/m,mode=0701,uid=7"
    text = f"""FROM busybox AS seed
RUN mkdir /s && echo first > /s/one && chown 5:6 /s/one
FROM busybox
{step} stat -c '%a %u' /m > /said && stat -c '%u:%g' /m/one >> /said && echo second >> /m/one
{step} cat /m/one >> /said
RUN --mount=type=cache,id=c,target=/m,uid=7 ls -A /m >> /said
"""
    builder.ok("-t", "a", dockerfile=text)
    assert builder.run("a", "cat", "/said").split() == ["701", "7", "5:6", "first", "second"]


def test_a_bind_keeps_the_owners_of_what_it_shows(builder):
    builder.ok("-t", "a", dockerfile="""FROM busybox AS made
RUN mkdir -p /d/e && echo x > /d/e/f && chown -R 5:6 /d/e && chmod 600 /d/e/f
FROM busybox
RUN --mount=type=bind,from=made,source=/d,target=/d stat -c '%u:%g %a' /d/e /d/e/f > /said
""")
    assert builder.run("a", "cat", "/said").split() == ["5:6", "755", "5:6", "600"]
