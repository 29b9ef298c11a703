"""Settings of a container, seen from inside and from the kernel, not from the specification that we wrote."""

import json
import socket
import urllib.request
from pathlib import Path

import pytest

from tests.engine import sh, wait_until
from tests.world import FAR


def inside(client, *arguments):
    """Output of a shell script in a fresh container; the last argument is the script."""
    *options, script = arguments
    return client.ok("run", "--rm", *options, *sh(script))


def test_environment_directory_user_and_hostname(client):
    assert inside(client, "-e", "A=1", "-e", "B=x y", 'echo "$A $B"') == "1 x y"
    assert inside(client, "-w", "/made/here", "pwd") == "/made/here"
    assert inside(client, "-u", "1000:1001", "id -u; id -g") == "1000\n1001"
    assert inside(client, "--hostname", "box", "hostname; cat /etc/hostname") == "box\nbox"
    assert inside(client, 'echo "$PATH $HOME"') == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /root"


def test_an_init_reaps_forwards_and_cannot_be_changed(client):
    orphan = 'sh -c "sleep 0.1 &"; sleep 0.5; cat /proc/1/comm; ps -o stat,comm | grep -c "^Z"; : > /sbin/docker-init'
    told = client.run("run", "--rm", "--init", *sh(orphan))
    assert told.stdout.split() == ["docker-init", "0"]
    assert "ead-only file system" in told.stderr
    assert client.run("run", "--rm", "--init", *sh("exit 7")).returncode == 7
    client.ok("run", "-d", "--name", "forwarded", "--init", *sh("trap 'exit 9' TERM; touch /ready; sleep 1000 & wait"))
    wait_until(lambda: client.run("exec", "forwarded", "test", "-e", "/ready").returncode == 0)
    client.ok("stop", "forwarded")
    assert client.ok("inspect", "-f", "{{.State.ExitCode}} {{.HostConfig.Init}} {{.Path}}", "forwarded") == "9 true sh"


def test_binds_are_writable_or_not(client, tmp_path):
    (tmp_path / "file").write_text("host\n")
    assert inside(client, "-v", f"{tmp_path}:/data", "cat /data/file; echo back >/data/new") == "host"
    assert (tmp_path / "new").read_text() == "back\n"
    done = client.run("run", "--rm", "-v", f"{tmp_path}:/data:ro", "busybox", "touch", "/data/no")
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_a_read_only_root_refuses_writes(client):
    done = client.run("run", "--rm", "--read-only", "busybox", "touch", "/x")
    assert "Read-only file system" in done.stderr


def effective(client, *options):
    return int(inside(client, *options, "grep CapEff /proc/self/status | cut -f2"), 16)


def test_capabilities_are_dockers_and_change_as_asked(client):
    assert effective(client) == 0xA80425FB
    assert effective(client, "--cap-drop", "ALL") == 0
    assert effective(client, "--cap-drop", "all", "--cap-add", "NET_ADMIN") == 1 << 12
    status = Path("/proc/self/status").read_text()
    assert effective(client, "--privileged") == int(status.partition("CapBnd:")[2].split()[0], 16)


def test_seccomp_filters_and_privileged_does_not(client):
    assert inside(client, "grep Seccomp: /proc/self/status").split() == ["Seccomp:", "2"]
    assert inside(client, "--privileged", "grep Seccomp: /proc/self/status").split() == ["Seccomp:", "0"]


def test_a_domain_name_is_the_kernels_and_in_the_hosts_file(client):
    shown = inside(client, "--hostname", "box", "--domainname", "example.org",
                   "cat /proc/sys/kernel/domainname; grep box /etc/hosts; hostname -f")
    assert shown.splitlines()[0] == "example.org"
    assert "box.example.org box" in shown
    assert shown.splitlines()[-1] == "box.example.org"


def test_a_seccomp_profile_of_ones_own_filters_as_it_says(client, tmp_path):
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }))
    option = ("--security-opt", f"seccomp={profile}")
    name = f"own-profile-{client.name}"
    client.ok("run", "-d", "--name", name, *option, "busybox", "sleep", "600")
    for command in (("run", "--rm", *option, "busybox"), ("exec", name)):
        done = client.run(*command, "sh", "-c", "touch /ok && echo made; mkdir /no; grep Seccomp: /proc/self/status")
        assert "made" in done.stdout
        assert "No space left on device" in done.stderr
        assert "Seccomp:\t2" in done.stdout
    for text, words in (("{}", "seccomp profile"), ('{"defaultAction": "SCMP_ACT_NOTIFY"}', "not supported"),
                        ("[]", "seccomp profile")):
        profile.write_text(text)
        done = client.run("create", *option, "busybox")
        assert done.returncode == 1
        assert words in done.stderr
    client.engine.ok("rm", "-f", name)


def limit(engine, id_, *files):
    """A limit as the kernel has it: cgroup v1's or v2's file."""
    for file in files:
        for path in Path("/sys/fs/cgroup").glob(f"**/{id_}*/{file}"):
            return path.read_text().strip()
    raise AssertionError(f"none of {files} for {id_}")


def test_limits_are_in_the_kernel(client):
    id_ = client.ok("run", "-d", "--memory", "64m", "--cpus", "0.5", "--pids-limit", "33", "busybox", "sleep", "600")
    assert limit(client.engine, id_, "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert limit(client.engine, id_, "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert limit(client.engine, id_, "pids.max") == "33"


def test_memory_beyond_its_limit_is_killed_and_told(client):
    client.run("run", "--name", "greedy", "--memory", "16m", *sh("dd if=/dev/zero of=/dev/null bs=64M"))
    state = client.engine.inspect("greedy")["State"]
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 137)


def test_the_default_network_has_address_route_names_and_a_way_out(client):
    text = inside(client, f"ip addr show eth0; ip route; cat /etc/hosts; cat /etc/resolv.conf; ping -c1 -w20 {FAR}")
    assert "default via" in text
    assert "127.0.0.1\tlocalhost" in text
    assert "nameserver" in text
    assert "1 packets received" in text


def test_no_network_and_the_hosts_network(client):
    assert inside(client, "--network", "none", "ls /sys/class/net") == "lo"
    assert "eth0" in inside(client, "--network", "host", "ls /sys/class/net").split()


@pytest.mark.parametrize("host", ["127.0.0.1", "198.51.100.2"])
def test_a_published_port_leads_into_the_container(client, host):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    client.ok("run", "-d", "--name", "web", "-p", f"{port}:80", *sh("echo hello >/index.html; exec httpd -f -h /"))

    def answered():
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/", timeout=5) as answer:
                return answer.read()
        except OSError:
            return None

    assert wait_until(answered, what="an answer on the published port") == b"hello\n"
    ports = client.engine.inspect("web")["NetworkSettings"]["Ports"]["80/tcp"]
    assert {entry["HostPort"] for entry in ports} == {str(port)}
    assert f":{port}->80/tcp" in client.ok("ps")


def test_containers_reach_one_another_by_address(client):
    client.ok("run", "-d", "--name", "server", *sh("echo hi >/index.html; exec httpd -f -h /"))
    address = client.engine.inspect("server")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert inside(client, f"for i in $(seq 100); do wget -qO- http://{address}/ && break; sleep 0.2; done") == "hi"


def test_limits_sysctls_and_devices_are_what_the_kernel_says(client, tmp_path):
    told = client.ok(
        "run", "--rm", "--ulimit", "nofile=123:456", "--ulimit", "core=0",
        "--sysctl", "net.ipv4.ip_unprivileged_port_start=7", "--sysctl", "kernel.shm_rmid_forced=1",
        "--device", "/dev/loop-control:/dev/mine:r",
        *sh("ulimit -n; ulimit -H -n; ulimit -c; cat /proc/sys/net/ipv4/ip_unprivileged_port_start "
            "/proc/sys/kernel/shm_rmid_forced; stat -c %F-%t-%T /dev/mine; true < /dev/mine && echo reads; "
            "true 2>/dev/null > /dev/mine || echo writes not"),
    ).splitlines()
    assert told == ["123", "456", "0", "7", "1", "character special file-a-ed", "reads", "writes not"]


@pytest.mark.parametrize("options, code, words", [
    (["--sysctl", "kernel.shm_rmid_forced=1", "--ipc", "host"], 125, "host's ipc namespace"),
    (["--sysctl", "net.ipv4.ip_forward=1", "--network", "host"], 125, "host's network namespace"),
    (["--device", "/dev/nope"], 127, "no such file or directory"),  # docker's command goes by these words
    (["--device", "/etc/passwd"], 125, "not a device node"),
])
def test_what_may_not_be_is_refused_and_leaves_nothing(client, engine, options, code, words):
    done = client.run("run", "--rm", *options, "busybox", "true")
    assert done.returncode == code
    assert words in done.stderr.lower()


def test_masked_paths_can_be_left_open(client):
    look = sh("test -r /proc/timer_list && head -c 5 /proc/timer_list | wc -c; mkdir /sys/firmware/x 2>&1 | head -1")
    assert client.ok("run", "--rm", *look).splitlines()[0] == "0"
    assert client.ok("run", "--rm", "--security-opt", "systempaths=unconfined", *look).splitlines()[0] == "5"
