"""Attacks on a builder; the numbers are those of the list of attacks."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from chassis.client import Peer
from chassis.errors import PierError
from pier.build.v1 import build_pb2 as pb
from pier.build.v1 import build_pb2_grpc as rpc
from tests import tools


def refused(done):
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def test_row_41_parts_of_a_shared_cache_that_are_swapped_for_links_lead_nowhere(builder, canary):
    """CVE-2024-23651: one command swaps what another's mounts stand on."""
    cache = "--mount=type=cache,id=shared,target=/m"
    swaps = f"for i in $(seq 400); do rm -rf /m/part; ln -s {canary} /m/part; rm /m/part; mkdir -p /m/part/deep; done"
    mounts = "--mount=type=tmpfs,target=/m/part/deep", "--mount=type=cache,id=other,target=/m/part/alive"
    reads = "\n".join(f"RUN {cache} {mount} cat /m/part/alive; touch /m/part/made; true" for mount in mounts * 2)
    text = (f"FROM busybox AS swaps\nRUN {cache} {swaps}\nRUN echo swapped > /said\nFROM busybox AS reads\n{reads}\n"
            "FROM busybox\nCOPY --from=reads /etc/group /group\nCOPY --from=swaps /said /said\n")
    for _ in range(3):  # a mount whose place is gone fails its build
        done = builder.docker("--no-cache", dockerfile=text)
        assert "canary" not in (done.stdout + done.stderr).replace(str(canary), ""), done.stdout
    builder.ok("-t", "a", "--target", "swaps", dockerfile=text)
    assert builder.run("a", "cat", "/said") == "swapped"
    done = builder.docker(dockerfile="FROM busybox\nRUN --mount=type=cache,id=shared,source=part,target=/p true\n")
    assert "has no source='part'" in refused(done)


def test_row_42_stubs_of_mounts_are_made_and_removed_within_the_root_alone(builder, canary):
    """CVE-2024-23652: the target is a link that leads out."""
    text = f"FROM busybox\nRUN ln -s {canary} /out && ln -s /proc/1/root{canary} /out2\n"
    for target in ("/out", "/out/sub", "/out2/sub", f"/../../..{canary}/sub"):
        builder.docker(dockerfile=f"{text}RUN --mount=type=tmpfs,target={target} true\n")


@pytest.mark.parametrize(("line", "words"), [
    ("RUN --security=insecure true", "security.insecure is not allowed"),
    ("RUN --security=other true", 'security "other" is not valid'),
    ("RUN --network=host true", "network.host is not allowed"),
    ("RUN --network=container:x true", 'network mode "container:x" is not supported'),
])
def test_row_43_a_dockerfile_cannot_grant_itself_what_its_client_has_not(builder, line, words):
    assert words in refused(builder.docker(dockerfile=f"FROM busybox\n{line}\n"))


def test_row_43_the_hosts_network_is_the_clients_to_give(builder):
    builder.ok("--network", "host", "-t", "a", dockerfile="FROM busybox\nRUN ls /sys/class/net > /said\n")
    assert builder.engine.instance.bridge in builder.run("a", "cat", "/said").split()


@pytest.mark.parametrize("options", [
    {}, {"namespace": "../x"}, {"namespace": "docker", "tags": ["../../x"]}, {"namespace": "docker", "target": "-1"},
    {"namespace": "docker", "target": "99999999999999999999"},
    {"namespace": "docker", "dockerfile": "../../etc/passwd"},
    {"namespace": "docker", "dockerfile": "\n"}, {"namespace": "docker", "network": "no/such"},
    {"namespace": "docker", "limits": pb.Limits(memory=1)}, {"namespace": "docker", "extra_hosts": ["x"]},
    {"namespace": "docker", "limits": pb.Limits(ulimits=[pb.Ulimit(name="x", soft=2, hard=1)])},
    {"namespace": "docker", "remote": "file:///etc/passwd"}, {"namespace": "docker", "contexts": {"x": "../x"}},
    {"namespace": "docker", "build_args": {"SOURCE_DATE_EPOCH": "-1"}},
], ids=str)
def test_row_44_and_46_malformed_requests_are_refused_and_hurt_nobody(builder, options):
    text = b"FROM busybox\nCOPY --from=x / /\n" if "contexts" in options else b"FROM busybox\nRUN true\n"
    if "dockerfile" in options:
        text = b""

    async def ask():
        peer = Peer("buildd", builder.engine.instance.socket("buildd"))

        async def requests():
            yield pb.BuildRequest(options=pb.BuildOptions(dockerfile_text=text, **options))

        try:
            with pytest.raises(PierError) as caught:
                async for _ in peer.stream(rpc.BuildServiceStub(peer.channel).Build, requests(), 30):
                    pass
            return caught.value
        finally:
            await peer.close()

    error = asyncio.run(ask())
    assert error.grpc_code not in ("INTERNAL", "UNAVAILABLE"), error.message
    assert builder.engine.pid("buildd")


def test_row_48_what_a_mount_is_of_never_leaves_the_context_or_the_stage(builder, canary):
    """CVE-2024-1753 and its like: .., absolute paths and links as sources."""
    (builder.directory / "abs").symlink_to(canary)
    (builder.directory / "up").symlink_to("../" * 20 + str(canary).lstrip("/"))
    builder.write("Dockerfile", "")
    for source in ("abs", "up", "abs/alive", str(canary), "../../../.." + str(canary), "/proc/1/root" + str(canary)):
        said = builder.docker("-t", "a", dockerfile=(
            f"FROM busybox\nRUN --mount=type=bind,source={source},target=/x cat /x/alive /x; ls -R /x; true\n"))
        assert "canary" not in said.stdout.replace(str(canary), "").replace("canary,target", ""), source
    said = builder.docker("-t", "a", dockerfile=(
        f"FROM busybox AS s\nRUN ln -s {canary} /l\nFROM busybox\n"
        "RUN --mount=type=bind,from=s,source=/l,target=/x cat /x/alive; true\n"))
    assert "canary" not in (said.stdout + said.stderr).replace(str(canary), "")


def test_row_49_copies_stay_within_their_roots(builder, canary):
    builder.write("file", "1")
    (builder.directory / "link").symlink_to(canary)
    for source in ("../../../../etc/passwd", f"../../..{canary}/alive", "link/alive"):
        refused(builder.docker(dockerfile=f"FROM busybox\nCOPY {source} /x\n"))
    text = f"FROM busybox\nRUN ln -s {canary} /out\n"
    builder.ok("-t", "a", dockerfile=text + "COPY file /out/\nCOPY file ../../../../up\nWORKDIR ../../../w\n")
    assert builder.run("a", "cat", "/up") == "1"


def test_row_50_nothing_of_the_hosts_environment_is_seen(builder):
    """CVE-2021-3602."""
    builder.ok("-t", "a", dockerfile="FROM busybox\nRUN env | cut -d= -f1 | sort > /said\n")
    assert set(builder.run("a", "cat", "/said").split()) <= {"HOME", "HOSTNAME", "PATH", "PWD", "SHLVL", "TERM", "_"}
    environment = Path(f"/proc/{builder.engine.pid('buildd')}/environ").read_bytes()
    assert b"PYTEST_CURRENT_TEST" not in environment


def test_row_52_no_name_in_a_shared_directory_can_be_guessed():
    """CVE-2020-27534: what is temporary has no name at all, but for git's repositories, whose names are random."""
    found = subprocess.run(
        ["grep", "-rnE", r"/tmp|mkstemp|mktemp|NamedTemporary", str(tools.PROJECT / "services" / "buildd"),
         "--include=*.py"], capture_output=True, text=True, check=False)
    (named,) = found.stdout.splitlines()
    assert named.partition("services/")[2].startswith("buildd/git.py")
    assert Path(named.partition(":")[0]).read_text().count("_PARENT") == 3, "its definition, mkdtemp and the sweep"
