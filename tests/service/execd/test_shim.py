"""One shim and its container, driven without execd."""

from __future__ import annotations

import hashlib
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chassis import attach, kernel
from tests.engine import wait_until
from tests.service.execd.driver import TIMEOUT, Attached, Engine, Refused


def test_output_is_logged_and_the_exit_recorded_before_it_is_announced(engine: Engine) -> None:
    shim = engine.shim()
    shim.run("/bin/sh", "-c", "echo out; echo err >&2; printf last; exit 7")
    exit_ = shim.wait()
    assert json.loads(shim.exit.read_text()) == {"version": 1, **exit_}
    assert (exit_["code"], exit_["signal"], exit_["oom"]) == (7, 0, False)
    assert abs(exit_["time"] - time.time_ns()) < 60e9
    assert shim.logged() == "out\nlast"
    assert shim.logged("stderr") == "err\n"
    shim.release()


def test_a_client_attached_before_the_start_gets_everything_and_then_the_end(engine: Engine) -> None:
    shim = engine.shim()
    client = shim.attach(stdin=False)
    shim.run("/bin/sh", "-c", "echo out; echo err >&2; exit 3")
    streams = client.streams()
    assert (streams[1], streams[2]) == (b"out\n", b"err\n")
    assert json.loads(shim.exit.read_text())["code"] == 3
    shim.release()


def test_ten_megabytes_come_back_bit_for_bit_and_half_close_ends_cat(engine: Engine) -> None:
    shim = engine.shim(stdin=True, log={"driver": "none"})
    client = shim.attach()
    shim.run("/bin/cat")
    data = os.urandom(10 << 20)
    pid = os.fork()
    if pid == 0:
        try:
            client.send(data)
            client.half_close()
        finally:
            os._exit(0)
    assert client.streams()[1] == data
    os.waitpid(pid, 0)
    assert shim.wait()["code"] == 0
    shim.release()


def test_a_terminal_has_its_window_and_its_changes(engine: Engine) -> None:
    shim = engine.shim(tty=True, stdin=True)
    client = shim.attach()
    shim.control.ask("resize", target="init", rows=40, columns=100)
    shim.run("/bin/sh", "-c", "read a; stty size; read b; stty size")
    client.send(b"\n")
    client.read_until(b"40 100\r\n")
    shim.control.ask("resize", target="init", rows=41, columns=101)
    client.send(b"\n")
    assert b"41 101\r\n" in client.read_all()
    assert shim.wait()["code"] == 0
    shim.release()


def test_a_process_may_close_and_reopen_its_terminal(engine: Engine) -> None:
    shim = engine.shim(tty=True, stdin=True)
    client = shim.attach()
    shim.run("/bin/sh", "-c", "exec 0</dev/null 1>/dev/null 2>&1; sleep 0.2; echo again >/dev/console")
    assert client.read_all() == b"again\r\n"
    shim.wait()
    shim.release()


def test_the_detach_keys_end_the_attachment_and_not_the_process(engine: Engine) -> None:
    shim = engine.shim(tty=True, stdin=True)
    client = shim.attach(detach_keys="ctrl-p,ctrl-q")
    shim.run("/bin/cat")
    client.send(b"hello\n\x10")
    client.read_until(b"hello\r\nhello\r\n")
    client.send(b"\x11")
    assert b"\x10" not in client.read_all()
    assert shim.control.ask("describe")["targets"]["init"]["state"] == "running"
    shim.control.ask("signal", target="init", signal=9)
    assert shim.wait()["code"] == 137
    shim.release()


def test_a_client_that_came_later_and_falls_behind_is_told_and_stalls_nobody(engine: Engine) -> None:
    shim = engine.shim(stdin=True, log={"driver": "none"})
    shim.run("/bin/sh", "-c", "read go; dd if=/dev/zero bs=1M count=16 2>/dev/null; read end")
    slow = shim.attach(stdin=False)
    feeder = shim.attach(stdout=False, stderr=False)
    quick = shim.attach(stdin=False)
    feeder.send(b"go\n")
    total = 0
    while total < 16 << 20:
        total += len(quick.take(attach.HEADER.unpack(quick.take(8))[1]))
    streams = slow.streams()
    assert len(streams[1]) < 16 << 20
    assert b"behind" in streams[3]
    feeder.send(b"end\n")
    assert shim.wait()["code"] == 0
    shim.release()


def test_many_megabytes_reach_a_slow_reader_whole(engine: Engine) -> None:
    size = int(os.environ.get("PIER_SLOW_MEGABYTES", "64")) << 20
    shim = engine.shim(log={"driver": "none"})
    client = shim.attach(stdin=False)
    shim.run("/bin/sh", "-c", f"dd if=/dev/urandom of=/f bs=1M count={size >> 20} 2>/dev/null; md5sum /f >&2; cat /f")
    client.bite = 4096
    taken, errors, digest = 0, b"", hashlib.md5()
    while header := client.take(8):
        stream, length = attach.HEADER.unpack(header)
        data = client.take(length)
        if stream == 1:
            digest.update(data)
            taken += length
        else:
            errors += data
    assert taken == size
    assert errors.split()[0].decode() == digest.hexdigest()
    assert shim.wait()["code"] == 0
    shim.release()


def test_a_command_that_is_not_there_is_told_in_the_runtimes_words(engine: Engine) -> None:
    shim = engine.shim()
    client = shim.attach(stdin=False)
    with pytest.raises(Refused, match=r"not found|No such file") as refused:
        shim.run("/nonexistent")
    assert refused.value.reason == "RUNTIME_FAILED"
    assert client.read_all() == b""
    assert shim.control.ask("describe")["state"] == "failed"
    shim.release()


def test_a_directory_as_command_is_refused(engine: Engine) -> None:
    shim = engine.shim()
    with pytest.raises(Refused, match=r"[Pp]ermission denied|not permitted|is a directory"):
        shim.run("/etc")
    shim.release()


def test_a_mount_that_fails_names_itself(engine: Engine) -> None:
    shim = engine.shim()
    options = ["lowerdir+=/nonexistent", "lowerdir+=/also"]
    mounts = [{"type": "overlay", "source": "overlay", "target": "", "options": options}]
    with pytest.raises(Refused, match="overlay") as refused:
        shim.run("/bin/true", mounts=mounts)
    assert refused.value.reason == "MOUNT_FAILED"
    shim.release()


def test_the_hosts_mount_table_never_sees_a_container(engine: Engine) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    shim = engine.shim(stdin=True)
    client = shim.attach()
    shim.run("/bin/cat")
    assert Path("/proc/self/mountinfo").read_text() == before
    client.half_close()
    shim.wait()
    shim.release()


def test_an_attached_shim_that_was_not_started_has_no_mount_of_its_own(engine: Engine) -> None:
    shim = engine.shim()
    client = shim.attach()
    assert os.readlink(f"/proc/{shim.pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    shim.release()
    assert client.read_all() == b""


def test_an_exec_has_its_own_streams_and_its_own_exit(engine: Engine) -> None:
    shim = engine.shim(stdin=True)
    holder = shim.attach()
    shim.run("/bin/cat")
    target, client = shim.exec("/bin/sh", "-c", "cat; echo err >&2; exit 5", stdin=True)
    client.send(b"through\n")
    client.half_close()
    streams = client.streams()
    assert (streams[1], streams[2]) == (b"through\n", b"err\n")
    record = json.loads((shim.state / f"exec-{target[:16]}.json").read_text())
    assert record["code"] == 5
    assert shim.wait(target)["code"] == 5
    assert shim.control.ask("describe")["targets"].keys() == {"init"}
    holder.half_close()
    assert shim.wait()["code"] == 0
    shim.release()


def test_an_exec_on_a_terminal(engine: Engine) -> None:
    shim = engine.shim(stdin=True)
    holder = shim.attach()
    shim.run("/bin/cat")
    target, client = shim.exec("/bin/sh", "-c", "read x; stty size; echo $x", tty=True, stdin=True)
    shim.control.ask("resize", target=target, rows=12, columns=34)
    client.send(b"word\n")
    output = client.read_all()
    assert b"12 34\r\n" in output
    assert output.endswith(b"word\r\n")
    holder.half_close()
    shim.wait()
    shim.release()


def test_an_exec_that_leaves_a_child_with_its_output_does_not_hold_its_client(engine: Engine) -> None:
    shim = engine.shim(stdin=True)
    holder = shim.attach()
    shim.run("/bin/cat")
    started = time.monotonic()
    _, client = shim.exec("/bin/sh", "-c", "sleep 60 & echo done")
    assert client.streams()[1] == b"done\n"
    assert time.monotonic() - started < 60, "its child still sleeps"
    holder.half_close()
    shim.wait()
    shim.release()


def test_hundreds_of_execs_leave_no_descriptor(engine: Engine) -> None:
    count = int(os.environ.get("PIER_EXECS", "100"))
    shim = engine.shim(stdin=True)
    holder = shim.attach()
    shim.run("/bin/cat")
    shim.exec("/bin/true")[1].read_all()
    before = sorted(os.readlink(entry) for entry in Path(f"/proc/{shim.pid}/fd").iterdir())
    for number in range(count):
        target, client = shim.exec("/bin/sh", "-c", f"echo {number}", tty=number % 3 == 0)
        assert client.read_until(b"\n").strip().endswith(str(number).encode())
        assert client.read_all() == b""
        shim.wait(target)
        client.close()
    after = sorted(os.readlink(entry) for entry in Path(f"/proc/{shim.pid}/fd").iterdir())
    assert len(after) == len(before), after
    holder.half_close()
    shim.wait()
    shim.release()


def test_a_reconnecting_execd_learns_everything_and_loses_no_line(engine: Engine) -> None:
    shim = engine.shim(stdin=True)
    client = shim.attach()
    shim.run("/bin/sh", "-c", "echo before; read x; echo after; exit 9")
    pid = shim.control.ask("describe")["targets"]["init"]["pid"]
    shim.control.close()
    engine.zygote.kill()
    engine.zygote.wait()
    shim.reconnect()
    description = shim.control.ask("describe")
    assert set(description["targets"]["init"].pop("held")) == {"1", "2"}
    assert description["targets"]["init"] == {
        "state": "running", "pid": pid, "started": description["targets"]["init"]["started"], "error": "", "exit": None,
        "clients": 1,
    }
    client.send(b"go\n")
    assert shim.wait()["code"] == 9
    assert shim.logged() == "before\nafter\n"
    assert client.streams()[1] == b"before\nafter\n"
    shim.release()


def test_a_zygote_takes_the_place_of_the_one_that_is_there(engine: Engine) -> None:
    shim = engine.shim()
    shim.run("/bin/sh", "-c", "sleep 0.5")
    before = engine.zygote
    engine.start_zygote()
    assert before.wait(TIMEOUT) == 0
    assert shim.wait()["code"] == 0
    shim.release()


def test_a_stopgap_leaves_the_supervisors_zygote_in_its_place(engine: Engine) -> None:
    stopgap = subprocess.run(engine.zygote_command("--stopgap-of", str(os.getpid())), capture_output=True, check=False)
    assert stopgap.returncode == 1
    assert b"another one has" in stopgap.stderr
    assert engine.listening() == engine.zygote.pid


def test_a_stopgap_ends_with_the_execd_that_started_it(engine: Engine) -> None:
    engine.zygote.terminate()
    engine.zygote.wait(TIMEOUT)
    script = "import os, subprocess, sys, time; subprocess.Popen([*sys.argv[1:], str(os.getpid())]); time.sleep(1000)"
    execd = subprocess.Popen([sys.executable, "-c", script, *engine.zygote_command("--stopgap-of")])
    pidfd = os.pidfd_open(wait_until(engine.listening, what="the stopgap listens"))
    execd.kill()
    execd.wait()
    assert select.select([pidfd], [], [], TIMEOUT)[0]
    os.close(pidfd)
    assert not engine.socket.exists()


def test_a_killed_shim_leaves_the_container_running_and_a_fresh_one_cleans_up(engine: Engine) -> None:
    shim = engine.shim()
    pid = shim.run("/bin/sleep", "1000")["pid"]
    pidfd = os.pidfd_open(pid)
    os.kill(shim.pid, 9)
    with pytest.raises(EOFError):
        shim.control.next_line()
    while Path(f"/proc/{pid}/comm").read_text() != "sleep\n":
        time.sleep(0.001)
    shim.fork()
    with pytest.raises(Refused, match="created"):
        shim.control.ask("start")
    shim.release()
    readable, _, _ = select.select([pidfd], [], [], TIMEOUT)
    assert readable
    assert kernel.pidfd_exit_status(pidfd) in (None, 9)
    os.close(pidfd)


def test_a_second_shim_of_the_same_container_is_refused(engine: Engine) -> None:
    shim = engine.shim()
    with pytest.raises(Refused) as refused:
        shim.fork()
    assert refused.value.reason == "ALREADY_RUNNING"
    shim.reconnect()
    shim.release()


def test_a_shim_inherits_nothing_of_the_zygotes(engine: Engine) -> None:
    shim = engine.shim()
    kinds = sorted(os.readlink(entry).split(":")[0] for entry in Path(f"/proc/{shim.pid}/fd").iterdir())
    # /dev/null thrice; lock, log, stdin's /dev/null; two pipes of two ends and the wake-up pipe; two listening
    # sockets, the connection; the epoll.
    assert kinds.count("socket") == 3
    assert kinds.count("pipe") == 6
    assert kinds.count("anon_inode") == 1
    assert sum(kind.startswith("/") for kind in kinds) == 6
    own = Path(f"/proc/{shim.pid}/cgroup").read_text().splitlines()
    assert all(line.endswith(f"/{engine.cgroup}/shims") for line in own), own
    assert os.getsid(shim.pid) == shim.pid
    shim.release()


def test_a_container_has_only_its_three_descriptors(engine: Engine) -> None:
    shim = engine.shim()
    shim.run("/bin/sh", "-c", "ls /proc/self/fd | wc -l; ls -l /proc/1/fd")
    shim.wait()
    lines = shim.logged().splitlines()
    # 0, 1, 2 and the directory that ls itself reads.
    assert lines[0] == "4", shim.logged()
    shim.release()


def test_an_unknown_verb_and_another_version_are_refused_by_name(engine: Engine) -> None:
    shim = engine.shim()
    with pytest.raises(Refused) as refused:
        shim.control.ask("dance")
    assert refused.value.reason == "UNKNOWN_VERB"
    with pytest.raises(Refused) as refused:
        shim.control.ask("describe", version=99)
    assert refused.value.reason == "BAD_VERSION"
    stranger = Attached(shim.run_dir / "attach.sock", "f" * 64)
    assert stranger.reason == "NO_SUCH_TARGET"
    stranger.close()
    shim.release()


def test_created_then_started(engine: Engine) -> None:
    shim = engine.shim()
    client = shim.attach(stdin=False)
    pid = shim.run("/bin/echo", "hello", verb="create")["pid"]
    assert Path(f"/proc/{pid}").exists()
    shim.control.ask("start")
    assert client.streams()[1] == b"hello\n"
    assert shim.wait()["code"] == 0
    shim.release()


def test_created_and_released_without_a_start(engine: Engine) -> None:
    shim = engine.shim()
    pid = shim.run("/bin/echo", "hello", verb="create")["pid"]
    shim.release()
    assert not Path(f"/proc/{pid}").exists()


def test_running_out_of_memory_is_told(engine: Engine) -> None:
    shim = engine.shim()
    from tests.service.execd import bundle

    made = bundle.make_bundle(shim.state / "bundle", str(shim.run_dir / "rootfs"),
                              ["/bin/sh", "-c", "head -c 100000000 /dev/zero | tail -c 90000000; exit 4"],
                              cgroup=shim.cgroup)
    config = json.loads((made / "config.json").read_text())
    config["linux"]["resources"] = {"memory": {"limit": 16 << 20}}
    (made / "config.json").write_text(json.dumps(config))
    shim.control.ask("run", bundle=str(made), runtime=shim.runtime, cgroup=shim.cgroup, mounts=shim.mounts())
    assert shim.wait()["oom"] is True
    shim.release()
