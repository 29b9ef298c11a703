"""Whoever knows docker knows pier: the same lines print the same, but for what changes from run to run."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cli.conftest import Clients
from tests.e2e.cli.transcript import same

STRANGER = "PIER_E2E_HOST" in os.environ

LIVES = {
    "created, started, waited for, shown and removed": [
        "create --name NAME busybox sh -c 'echo out; echo more; exit 3'", "ps -a -f name=NAME", "start NAME",
        "wait NAME",
        "logs NAME", "logs -t NAME", "logs --tail 1 NAME", "logs --since 2020-01-01 --until 1m NAME",
        "inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.Name}}' NAME", "start -a NAME", "rm NAME", "rm NAME",
    ],
    "detached, entered, stopped, started again and forced away": [
        "run -d --name NAME --label k=v -e A=1 -w /tmp busybox sleep 1000", "ps -f name=NAME", "exec NAME pwd",
        "exec -e B=2 -w / NAME sh -c 'echo $A$B; pwd'", "exec NAME sh -c 'exit 4'", "exec -d NAME true",
        "exec NAME sh -c 'echo err >&2'", "top NAME", "port NAME", "rm NAME", "stop -t 0 NAME", "stop NAME",
        "start NAME",
        "restart -t 0 NAME", "kill NAME", "kill NAME", "rm -f NAME", "rm -f NAME",
    ],
    "its input comes back": ["run --rm --name NAME -i busybox cat", "run --rm --name NAME -i busybox sh -c 'cat >&2'"],
    "exit codes": [
        "run --name NAME busybox sh -c 'exit 7'", "run --rm busybox sh -c 'kill -9 $$'", "run --rm busybox false",
        "run --rm --entrypoint true busybox", "wait NAME",
    ],
    "a taken name": ["run --name NAME busybox true", "run --name NAME busybox true", "create --name NAME busybox true"],
    "another name": ["create --name NAME busybox true", "rename NAME NAME2", "rename NAME NAME2", "rename NAME2 NAME2"],
    "formats of the list": [
        "create --name NAME --label a.b=c busybox sh -c 'echo a very long command line'",
        "ps -a -f name=NAME --format '{{.Names}} {{.Image}} {{.Command}} {{.Status}}'",
        "ps -a -f name=NAME --format 'table {{.Names}}\\t{{.Label \"a.b\"}}\\t{{.Ports}}'",
        "ps -a -f name=NAME --no-trunc",
        "ps -a -f name=NAME --format '{{lower .Names}} {{len .Image}}'", "ps -a -f name=NAME --format '{{.Nope}}'",
        "ps -a -f name=NAME --format '{{.ID'", "ps -aq -f name=NAME", "ps -a -f name=NAME --format '{{json .Names}}'",
    ],
    "formats of inspect": [
        "create --name NAME -e A=1 --label x=y busybox true", "inspect -f '{{json .Config.Env}}' NAME",
        "inspect -f '{{range .Config.Env}}{{println .}}{{end}}' NAME",
        "inspect -f '{{index .Config.Labels \"x\"}}' NAME",
        "inspect -f '{{.Nope}}' NAME", "inspect -f '{{.Config.Nope}}' NAME", "inspect -f '{{nope}}' NAME",
        "inspect -f '{{.Name}}' NAME nope",
        "inspect --type image NAME", "container inspect nope", "container inspect -f '{{.Name}}' NAME",
    ],
    "files that it changed": [
        "run --name NAME busybox sh -c 'echo a > /new; mkdir -p /etc/sub; chmod 700 /home; rm /etc/group'", "diff NAME",
        "diff nope", "diff", "update nope --cpu-shares 512", "update --cpu-shares 512 NAME",
        "inspect -f '{{.HostConfig.CpuShares}}' NAME",
    ],
    "pause": [
        "run -d --name NAME busybox sleep 1000", "pause NAME", "pause NAME", "exec NAME true", "ps -f name=NAME",
        "attach NAME",
        "unpause NAME", "unpause NAME",
    ],
    "published ports": [
        "run -d --name NAME -p 127.0.0.1::80 -p 127.0.0.1:0:81/udp busybox sleep 1000",
        "inspect -f '{{len .NetworkSettings.Ports}}' NAME", "port NAME 82", "port NAME x",
    ],
    "a failed start with --rm leaves its name free": [
        "run --rm --name NAME busybox nocmd", "run --rm --name NAME busybox echo again", "inspect NAME",
    ],
    "images": [
        "images --format '{{.Repository}}:{{.Tag}} {{.ID}}' busybox", "tag busybox NAME:v1", "tag busybox X",
        "tag nope NAME:v2",
        "images -q NAME", "image inspect -f '{{.RepoTags}}' NAME:v1", "rmi NAME:v1", "rmi NAME:v1",
        "image inspect NAME:v1",
    ],
    "an attached stream of one that has ended": ["run --name NAME busybox true", "attach NAME", "exec NAME true"],
}
FLAGS = (
    "--cgroupns host", "--cpu-shares 512", "--cpuset-mems 0", "--dns 192.0.2.1", "--dns-option ndots:1",
    "--dns-search a.test", "--group-add 5", "--health-cmd true", "--health-start-period 9s", "--oom-score-adj 100",
    "--memory 64m", "--memory-reservation 32m", "--runtime crun", "--shm-size 1m", "--stop-timeout 3",
    "--tmpfs /x:size=1m", "--ulimit nofile=10:20", "--cap-add NET_ADMIN", "--cap-drop CHOWN",
    "--security-opt no-new-privileges",
)
LIVES |= {
    "networks": [
        "network create --driver bridge --label a=b --internal NAME", "network create NAME",
        "network inspect -f '{{.Name}} {{.Driver}} {{.Internal}} {{.Labels}}' NAME", "network ls -f name=NAME",
        "network ls -q -f name=NAME", "network ls --no-trunc -f name=NAME",
        "network ls -f label=a=b --format '{{.Name}}'",
        "create --name NAME --network NAME busybox true", "network connect --alias x NAME NAME",
        "network disconnect NAME NAME", "network disconnect NAME NAME", "network rm nope", "network inspect nope",
        "rm NAME", "network rm NAME", "network rm NAME", "network connect nope nope", "network ls -f nope=x",
        "network create --subnet nope NAME", "network create --driver nope NAME",
        "network create --subnet 10.9.0.0/24 --gateway 10.8.0.1 NAME",
    ],
    "volumes": [
        "volume create --label a=b NAME", "volume create NAME", "volume ls -f name=NAME", "volume ls -q -f name=NAME",
        "volume ls -f name=NAME --format '{{.Name}} {{.Driver}} {{.Scope}}'",
        "volume inspect -f '{{.Name}} {{.Labels}} {{.Scope}}' NAME", "volume inspect nope",
        "run --name NAME -v NAME:/data busybox sh -c 'echo kept >/data/f'",
        "run --rm -v NAME:/data:ro busybox cat /data/f",
        "run --rm -v NAME:/data:ro busybox touch /data/g", "volume rm NAME", "rm NAME", "volume rm NAME",
        "volume rm NAME", "volume rm -f NAME", "volume create --driver nope NAME", "volume create 'a b'",
        "volume ls -f nope=x",
    ],
    "flags of a container, as inspect has them": [
        f"create --name NAME {' '.join(FLAGS)} busybox true",
        "inspect -f '{{.HostConfig.CgroupnsMode}} {{.HostConfig.CpuShares}} {{.HostConfig.CpusetMems}}' NAME",
        "inspect -f '{{json .HostConfig.Dns}} {{json .HostConfig.DnsOptions}} {{json .HostConfig.DnsSearch}}' NAME",
        "inspect -f '{{.HostConfig.GroupAdd}} {{json .Config.Healthcheck}} {{.HostConfig.OomScoreAdj}}' NAME",
        "inspect -f '{{.HostConfig.Memory}} {{.HostConfig.MemoryReservation}} {{.HostConfig.Runtime}}' NAME",
        "inspect -f '{{.HostConfig.ShmSize}} {{.Config.StopTimeout}} {{json .HostConfig.Tmpfs}}' NAME",
        "inspect -f '{{range .HostConfig.Ulimits}}{{.Name}} {{.Soft}} {{end}}' NAME",
        "inspect -f '{{.HostConfig.CapAdd}} {{.HostConfig.CapDrop}}' NAME",
        "inspect -f '{{.HostConfig.SecurityOpt}}' NAME", "start -a NAME", "rm NAME",
    ],
    "copied in and out": [
        "create --name NAME busybox true", "cp /etc/hostname NAME:/tmp/h", "cp NAME:/nope /tmp",
        "cp NAME:/tmp nope/nope/x",
        "cp nope:/x /tmp", "cp /nope NAME:/x", "cp NAME:/a NAME:/b", "cp x", "rm NAME",
    ],
    "committed, exported and tagged": [
        "run --name NAME busybox sh -c 'echo a >/new'", "commit -m said -a me -c 'ENV A=1' NAME NAME:v1",
        "image inspect -f '{{.Comment}} {{.Author}} {{.Config.Env}}' NAME:v1", "run --rm NAME:v1 cat /new",
        "history --format '{{.Comment}}' NAME:v1", "images NAME --format '{{.Repository}} {{.Tag}}'", "rmi NAME:v1",
        "commit nope", "export nope", "rm NAME",
    ],
    "what is asked of the system": [
        "system df --format '{{.Type}}'", "info --format '{{.Driver}} {{.OSType}}'",
        "version --format '{{.Server.Os}}'",
        "system prune -f --filter label=nope", "container prune -f --filter label=nope",
        "image prune -f --filter label=nope",
        "network prune -f --filter label=nope", "volume prune -f --filter label=nope", "builder prune -f --filter x=y",
        "container ls -aq -f name=NAME", "image ls -q nope",
    ],
}
REFUSED = [
    "run nope.invalid/x:1", "run X", "run --pull never nope true", "run busybox nocmd", "run busybox /tmp",
    "run -v /x:y busybox",
    "run -m 1k busybox", "run --cap-add FOO busybox true", "run --network nope busybox true", "run -p x busybox",
    "run -p 80-81:90-93 busybox", "run --mount type=bind,src=/nope,dst=/x busybox true", "run --add-host foo busybox",
    "run --ulimit x busybox", "run --device x busybox", "run --env-file /nope busybox", "run --cpus x busybox",
    "run --shm-size x b",
    "run --restart always --rm busybox", "run --stop-timeout x b", "run -it busybox", "run -d -a stdin busybox",
    "run --foo", "run",
    "ps x", "rm", "ps -f foo", "ps -f nope=x", "ps -n x", "logs nope", "logs --since x nope", "start nope",
    "stop nope", "kill nope",
    "restart nope", "wait nope", "exec nope ls", "attach nope", "top nope", "port nope", "inspect nope",
    "rename nope x", "rm nope",
    "rmi nope", "load -i /nope", "import /nope", "logs", "exec a", "kill -s FOO nope",
]


@pytest.mark.parametrize("life", sorted(LIVES))
def test_a_life_looks_the_same(clients: Clients, life: str) -> None:
    same(clients, LIVES[life], f"e2e{sorted(LIVES).index(life)}", feed="some input\nwithout end")


@pytest.mark.parametrize("line", REFUSED)
def test_a_refusal_reads_the_same(clients: Clients, line: str) -> None:
    before = clients.ok("ps", "-aq", "--no-trunc")
    (said,) = same(clients, [line], "bad")
    assert said.code != 0
    for identity in set(clients.ok("ps", "-aq", "--no-trunc").split()) - set(before.split()):
        clients.ok("rm", identity)  # a failed start leaves a created container: that is docker's way


@pytest.mark.parametrize("line", [
    "inspect e2esame", "inspect -s e2esame", "container inspect e2esame", "inspect busybox", "image inspect busybox",
    "network inspect bridge none", "ps -a -f name=e2esame --no-trunc", "ps -as -f name=e2esame", "images --digests",
    "images --no-trunc", "images --format json", "network ls --no-trunc", "network ls --format json", "volume ls",
    "logs e2esame",
    "ps -a -f name=e2esame --format '{{.ID}} {{.Names}} {{.Ports}} {{.Networks}} {{.CreatedAt}}'",
    "inspect -f '{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}' e2esame", "history busybox",
    "history --no-trunc busybox",
    "inspect -f '{{.HostConfig.Binds}} {{.HostConfig.Init}} {{.HostConfig.Tmpfs}} {{.ExecIDs}}' e2esame",
    "inspect -f '{{.Config.StopSignal}}|{{.Config.StopTimeout}}' e2esame",
    "inspect -f '{{if .State.Health}}h{{else}}none{{end}} {{.Config.Healthcheck}} {{.Config.Labels.none}}' e2esame",
    "inspect -f '{{len .HostConfig.CapAdd}} {{json .HostConfig.CapAdd}} {{join .Config.Entrypoint \"-\"}}' e2esame",
    "inspect -f '{{.HostConfig.NetworkMode}} {{.HostConfig.RestartPolicy.Name}} {{.State.Health}}' busybox e2esame",
])
def test_one_thing_looks_the_same_to_both(clients: Clients, names: list[str], line: str) -> None:
    names.append("e2esame")
    if "--format json" in line and not clients.modern:
        pytest.skip("this docker does not know --format json")
    if line.endswith("inspect busybox") and not clients.modern:
        pytest.skip("this docker prints the fields of its own time in its own order")
    labels = ["--label", "k=<v>", "--label", "a=b"]
    clients.ok("create", "--name", "e2esame", *labels, "-e", "E=é", "busybox", "sh", "-c", "echo 'a b'")
    words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]
    docker, pier = clients.run("docker", words), clients.run("pier", words)
    assert (masked(pier.stdout), pier.returncode) == (masked(docker.stdout), docker.returncode)


def masked(text: str) -> str:
    """Without ages, and what is answered by API 1.41 alone, which a docker of that time speaks."""
    text = re.sub(r',\n *"KernelMemory(TCP)?": 0', "", text)
    text = re.sub(r"Less than a second ago|\d+ (second|minute)s? ago|About a minute ago", "<AGO>", text)
    return re.sub(r" {2,}", "  ", text)


def test_an_archive_goes_out_and_comes_back(clients: Clients, tmp_path: Path) -> None:
    archive = tmp_path / "busybox.tar"
    assert clients.run("pier", ["save", "-o", str(archive), "busybox"]).returncode == 0
    loads = [clients.run(program, ["load", "-i", str(archive)]).stdout for program in ("docker", "pier")]
    assert loads == ["Loaded image: busybox:latest\n"] * 2
    done: subprocess.CompletedProcess[Any] = clients.run("pier", ["load"], input=archive.read_bytes(), text=False)
    assert done.stdout == b"Loaded image: busybox:latest\n"


def test_a_container_id_file_is_written_and_never_over_another(
    clients: Clients, names: list[str], tmp_path: Path
) -> None:
    names.append("e2ecid")
    path = tmp_path / "id"
    done = clients.run("pier", ["create", "--cidfile", str(path), "--name", "e2ecid", "busybox"])
    assert done.stdout == path.read_text() + "\n"
    done = clients.run("pier", ["run", "--rm", "--cidfile", str(path), "busybox", "true"])
    assert "container ID file found" in done.stderr
    assert done.returncode == 125
    done = clients.run("pier", ["create", "--cidfile", str(tmp_path / "other"), "--name", "e2ecid", "busybox"])
    assert done.returncode == 1
    assert not (tmp_path / "other").exists()


def test_events_of_a_life_read_the_same(clients: Clients) -> None:
    script = [
        "run --name NAME --label l=1 busybox true", "rm NAME",
        "events --since 1m --until SOON -f container=NAME --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}'",
    ]
    *_, events = same(clients, script, "events")
    assert "container start NAME" in events.stdout


def test_a_pull_reads_the_same(clients: Clients, pullable: str) -> None:
    image = pullable
    repository = image.rpartition(":")[0]
    script = [
        f"pull {image}", f"pull {image}", f"rmi {image}", f"pull -q {image}", f"pull {repository}:none", "pull X",
        f"run --rm {image} true", f"rmi {image}", f"run --rm {image} true", f"rmi {image}",
    ]
    clients.run("docker", ["rmi", "-f", image])
    same(clients, script, "pull")
