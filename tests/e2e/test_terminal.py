"""`run -i -t IMAGE sh` as a person goes through it, resize, detach and attach."""

import pytest

from tests.e2e.conftest import TODAYS_TOO
from tests.e2e.terminal import Terminal
from tests.engine import sh, wait_until

PROMPT = rb"# (\x1b\[6n)?"


@pytest.fixture
def terminal(client):
    def open_terminal(*arguments, **size):
        return Terminal(client.engine, [*client.argv, *arguments], **size)

    return open_terminal


@TODAYS_TOO
def test_a_shell_is_run_left_started_again_with_its_files_and_removed(client, terminal):
    with terminal("run", "-i", "-t", "--name", "six", "busybox", "sh") as shell:
        shell.expect(PROMPT)
        shell.type(b"echo kept >/file; cat /etc/hostname; ip route; tty\n")
        shell.expect(rb"default via \d+\.\d+\.\d+\.1 dev eth0")
        shell.expect(rb"/dev/(console|pts/0)")
        shell.type(b"exit 3\n")
        assert shell.wait() == 3
    assert client.engine.inspect("six")["State"]["Status"] == "exited"
    with terminal("start", "-a", "-i", "six") as shell:
        shell.type(b"cat /file\n")
        shell.expect(rb"kept\r\n")
        shell.type(b"exit\n")
        assert shell.wait() == 0
    assert client.ok("rm", "six") == "six"
    assert client.engine.ok("ps", "-aq") == ""


def test_the_windows_size_and_its_change_are_seen_inside(terminal):
    with terminal("run", "--rm", "-it", "busybox", "sh", rows=33, columns=111) as shell:
        shell.expect(PROMPT)

        def size():
            shell.type(b"stty size; echo done\n")
            return shell.expect(rb"(\d+ \d+)\r\ndone\r\n")[1]

        wait_until(lambda: size() == b"33 111", what="the first size")

        def changed():
            """Tells the client each time: docker loses a SIGWINCH that comes before its first resize is answered."""
            shell.resize(20, 60)
            return size() == b"20 60"

        wait_until(changed, what="the changed size")
        shell.type(b"exit\n")
        assert shell.wait() == 0


@TODAYS_TOO
def test_detach_keys_leave_the_container_running_and_attach_comes_back(client, terminal):
    with terminal("run", "-it", "--name", "away", "busybox", "sh") as shell:
        shell.expect(PROMPT)
        shell.type(b"\x10\x11")  # ctrl-p ctrl-q
        assert shell.wait() == 0
    assert client.engine.inspect("away")["State"]["Running"]
    with terminal("attach", "away") as shell:
        shell.type(b"\necho back\n")
        shell.expect(rb"back\r\n")
        shell.type(b"exit 5\n")
        assert shell.wait() == 5


@TODAYS_TOO
def test_exec_on_a_terminal_has_a_terminal(client, terminal):
    client.ok("run", "-d", "--name", "base", "busybox", "sleep", "600")
    with terminal("exec", "-it", "base", "sh", rows=30, columns=100) as shell:
        shell.expect(PROMPT)
        shell.type(b"test -t 0 && echo terminal; exit 4\n")
        shell.expect(rb"terminal\r\n")
        assert shell.wait() == 4


def test_ctrl_c_ends_a_foreground_container_on_a_terminal(terminal):
    with terminal("run", "--rm", "-it", *sh("trap 'exit 9' INT; echo ready; while :; do sleep 1; done")) as run:
        run.expect(rb"ready")
        run.type(b"\x03")
        assert run.wait() == 9
