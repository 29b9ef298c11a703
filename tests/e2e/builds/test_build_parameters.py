"""Every parameter of `POST /build`, every flag of `pier build`: what is seen of it, or that it is refused by name."""

import re
from pathlib import Path

import pytest

from pier_cli.commands.build import COMMAND
from tests.engine import wait_until
from tests.unit.gateway import schema

LIMITS = {
    "memory": ("96m", "memory/memory.limit_in_bytes", str(96 << 20)),
    "memory-swap": ("128m", "memory/memory.memsw.limit_in_bytes", str(128 << 20)),
    "cpu-shares": ("512", "cpu/cpu.shares", "512"),
    "cpu-period": ("50000", "cpu/cpu.cfs_period_us", "50000"),
    "cpu-quota": ("25000", "cpu/cpu.cfs_quota_us", "25000"),
    "cpuset-cpus": ("0", "cpuset/cpuset.cpus", "0"),
    "cpuset-mems": ("0", "cpuset/cpuset.mems", "0"),
}
REFUSED = "test_what_the_endpoint_does_not_have_is_refused_by_name"
LIMITED = "test_limits_are_those_of_each_command"
SEEN = {
    "dockerfile": "test_a_dockerfile_from_the_standard_input_and_one_by_another_name",
    "t": "test_a_dockerfile_of_each_common_instruction_becomes_an_image",
    "extrahosts": "test_networks_of_commands", "remote": "test_contexts_that_the_engine_fetches_itself",
    "q": "test_quiet_says_the_id_alone_and_the_iidfile_holds_it",
    "nocache": "test_no_cache_carries_all_out_and_what_it_makes_is_found_afterwards",
    "cachefrom": "test_an_image_offers_its_layers_to_the_same_steps",
    "pull": "test_a_base_that_is_not_here_is_pulled_and_again_where_the_client_asks_for_it",
    "rm": "test_no_container_is_kept_whatever_rm_says", "forcerm": "test_no_container_is_kept_whatever_rm_says",
    **dict.fromkeys(("memory", "memswap", "cpushares", "cpusetcpus", "cpuperiod", "cpuquota"), LIMITED),
    "buildargs": "test_arguments_have_their_scopes",
    "shmsize": "test_limits_hold_for_the_commands", "squash": REFUSED, "outputs": REFUSED, "version": REFUSED,
    "labels": "test_nothing_but_labels_makes_an_image_of_nothing", "networkmode": "test_networks_of_commands",
    "platform": "test_the_platform_is_the_images_and_its_arguments",
    "target": "test_a_target_is_built_and_nothing_behind_it",
}
FLAGS = {
    **dict.fromkeys(("add-host", "network", "shm-size", "ulimit", "target"),
                    "test_a_flag_of_pier_build_does_what_it_says"),
    **dict.fromkeys(("label", "pull", "quiet", "cache-from", "no-cache-filter", "file", "iidfile"),
                    "test_flags_of_pier_build_that_are_about_images"),
    "cgroup-parent": "test_a_cgroups_parent_is_that_of_each_command",
    "platform": "test_the_platform_is_the_images_and_its_arguments",
    **dict.fromkeys(LIMITS, LIMITED),
    "build-arg": "test_explain_says_why_each_step_was_carried_out",
    "build-context": "test_a_directory_is_copied_from_and_changes_are_seen",
    "check": "test_checks_are_told_and_nothing_is_built",
    "explain": "test_explain_says_why_each_step_was_carried_out",
    "no-cache": "test_the_same_source_date_gives_the_same_digest_twice",
    "output": "test_files_come_out_as_a_directory_and_as_a_tar",
    "progress": "test_json_progress_is_an_object_a_line",
    "secret": "test_a_secret_is_seen_by_its_command_and_stands_nowhere_else",
    "ssh": "test_a_command_asks_the_clients_agent_and_nothing_of_it_is_kept",
    "tag": "test_both_commands_make_the_same_image_of_the_same_context",
}


def test_every_parameter_and_every_flag_is_seen_by_a_test():
    files = Path(__file__).parent.glob("test_*.py")
    tests = {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)}
    assert set(SEEN) == set(schema.BUILD)
    assert set(FLAGS) == {flag.long for flag in COMMAND.flags}
    assert {*SEEN.values(), *FLAGS.values()} - tests == set()


def built(builder, client, *arguments, dockerfile):
    builder.write("Dockerfile", dockerfile)
    done = builder.engine.run([*builder.engine.argv(client), "build", "-t", "a", *arguments, str(builder.directory)])
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("client", ["docker", "pier"])
def test_limits_are_those_of_each_command(builder, client):
    flags = [f"--{name}={value}" for name, (value, _, _) in LIMITS.items()]
    there = [name for name, (_, file, _) in LIMITS.items() if Path("/sys/fs/cgroup", file).exists()]
    files = " ".join(f"/sys/fs/cgroup/{LIMITS[name][1]}" for name in there)
    built(builder, client, *flags, dockerfile=f"FROM busybox\nRUN cat {files} > /said\n")
    assert builder.run("a", "cat", "/said").split() == [LIMITS[name][2] for name in there]


@pytest.fixture
def night(builder):
    """A parent, which the engine leaves that was asked to make it."""
    yield "night"
    for path in Path("/sys/fs/cgroup").glob(f"*/{builder.engine.instance.cgroup_parent}/night"):
        wait_until(lambda path=path: not list(path.glob("*/")), 20, "its containers are gone")
        path.rmdir()


@pytest.mark.parametrize("client", ["docker", "pier"])
def test_a_cgroups_parent_is_that_of_each_command(builder, client, night):
    built(builder, client, "--cgroup-parent", night, dockerfile=(
        "FROM busybox\nRUN grep -o -m1 /night/ /proc/self/cgroup > /said\n"))
    assert builder.run("a", "cat", "/said") == "/night/"


@pytest.mark.parametrize("flag", ["--rm=false", "--rm", "--force-rm"])
def test_no_container_is_kept_whatever_rm_says(builder, flag):
    text = "FROM busybox\nRUN exit 3\n"
    assert builder.docker(flag, dockerfile=text).returncode == 3
    assert builder.engine.ok("ps", "-aq") == ""


@pytest.mark.parametrize("client", ["docker", "pier"])
def test_the_platform_is_the_images_and_its_arguments(builder, client):
    text = "FROM scratch\nARG TARGETPLATFORM\nLABEL on=$TARGETPLATFORM\n"
    built(builder, client, "--platform", "linux/arm/v6", dockerfile=text)
    found = builder.inspect("a")
    assert (found["Os"], found["Architecture"], found.get("Variant")) == ("linux", "arm", "v6")
    assert found["Config"]["Labels"]["on"] == "linux/arm/v6"


@pytest.mark.parametrize(("flags", "text", "shown"), [
    (["--add-host", "there:10.9.8.7"], "FROM busybox\nRUN grep -o 10.9.8.7 /etc/hosts > /said\n", "10.9.8.7"),
    (["--network", "none"], "FROM busybox\nRUN ls /sys/class/net > /said\n", "lo"),
    (["--shm-size", "8m"], "FROM busybox\nRUN df -k /dev/shm | awk 'END {print $2}' > /said\n", "8192"),
    (["--ulimit", "nofile=77:78"], "FROM busybox\nRUN ulimit -n > /said\n", "77"),
    (["--target", "one"], "FROM busybox AS one\nRUN echo 1 > /said\nFROM one\nRUN echo 2 > /said\n", "1"),
])
def test_a_flag_of_pier_build_does_what_it_says(builder, flags, text, shown):
    built(builder, "pier", *flags, dockerfile=text)
    assert builder.run("a", "cat", "/said") == shown


def test_flags_of_pier_build_that_are_about_images(builder, registry, tmp_path):
    name = f"{registry.host}/other:1"
    builder.ok("-t", name, dockerfile="FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /u\n")
    builder.engine.ok("push", name)
    builder.engine.ok("builder", "prune", "-af")
    text = "FROM busybox AS base\nRUN cat /proc/sys/kernel/random/uuid > /u\n"
    said = built(builder, "pier", "--cache-from", name, "--label", "by=flag", "--iidfile", str(tmp_path / "iid"), "-q",
                 dockerfile=text).stdout
    found = builder.inspect("a")
    assert said.strip() == (tmp_path / "iid").read_text() == found["Id"]
    assert found["Config"]["Labels"] == {"by": "flag"}
    kept = builder.run("a", "cat", "/u")
    assert kept == builder.run(name, "cat", "/u")
    other = builder.write("Otherfile", text)
    assert built(builder, "pier", "-f", str(other), dockerfile="FROM scratch\n").stderr.count("CACHED") == 2
    built(builder, "pier", "--no-cache-filter", "base", dockerfile=text)
    assert builder.run("a", "cat", "/u") != kept
    # What is at the registry is taken in the place of what is here.
    builder.engine.ok("tag", "busybox", name)
    built(builder, "pier", "--pull", dockerfile=f"FROM {name}\n")
    assert builder.run("a", "cat", "/u") == kept
