"""pier on a terminal: raw mode and back, size, detach and attach, signals; and streams of bytes that are no text."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.cli.conftest import Clients
from tests.engine import wait_until

WITHIN = 60.0


class Terminal:
    """``pier`` with a terminal of 24 lines and 80 columns on all its streams."""

    def __init__(self, clients: Clients, *words: str) -> None:
        self.leader, self._follower = pty.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(self.leader)
        self.seen = ""
        self.process = subprocess.Popen(
            [clients.pier, *words], stdin=self._follower, stdout=self._follower, stderr=self._follower,
            env=clients.environment,
        )

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self._follower, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.leader, text.encode())

    def expect(self, text: str) -> str:
        """What is shown up to and with ``text``, from where the last call ended."""
        deadline = time.monotonic() + WITHIN
        while text not in self.seen:
            ready, _, _ = select.select([self.leader], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"{text!r} does not come: {self.seen!r}"
            self.seen += os.read(self.leader, 65536).decode(errors="replace")
        shown, _, self.seen = self.seen.partition(text)
        return shown + text

    def end(self) -> int:
        """The exit code; the terminal must be as it was before."""
        code = self.process.wait(WITHIN)
        assert termios.tcgetattr(self.leader) == self.before
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.leader)
        os.close(self._follower)


@contextmanager
def terminal(clients: Clients, *words: str) -> Iterator[Terminal]:
    shown = Terminal(clients, *words)
    try:
        yield shown
    finally:
        shown.close()


def test_a_shell_on_the_callers_terminal_ends_with_its_exit_code(clients: Clients) -> None:
    with terminal(clients, "run", "--rm", "-it", "busybox", "sh") as shell:
        shell.expect("# ")
        shell.type("tty && stty size\n")
        shell.expect("24 80")
        shell.type("exit 7\n")
        assert shell.end() == 7


def test_the_terminals_new_size_reaches_the_process(clients: Clients) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    with terminal(clients, "run", "--rm", "-it", "busybox", "sh", "-c", script) as shell:
        shell.expect("ready")
        shell.resize(40, 132)
        shell.process.send_signal(signal.SIGWINCH)
        shell.expect("40 132")
        shell.process.send_signal(signal.SIGKILL)


def test_control_c_is_the_processs_own(clients: Clients) -> None:
    script = "trap 'echo caught; exit 5' INT; echo go; sleep 100"
    with terminal(clients, "run", "--rm", "-it", "busybox", "sh", "-c", script) as shell:
        shell.expect("go")
        shell.type("\x03")
        shell.expect("caught")
        assert shell.end() == 5


def test_detach_keys_leave_and_attach_comes_back(clients: Clients, names: list[str]) -> None:
    names.append("e2edetach")
    with terminal(clients, "run", "-it", "--name", "e2edetach", "busybox", "sh") as shell:
        shell.expect("# ")
        shell.type("echo be$((1))fore\n")
        shell.expect("be1fore")
        shell.type("\x10\x11")
        assert shell.end() == 0
    assert clients.ok("inspect", "-f", "{{.State.Running}}", "e2edetach") == "true"
    with terminal(clients, "attach", "--detach-keys", "ctrl-x,x", "e2edetach") as shell:
        shell.type("echo af$((1))ter\n")
        shell.expect("af1ter")
        shell.type("\x18x")
        shell.expect("read escape sequence")
        assert shell.end() == 1
    with terminal(clients, "attach", "e2edetach") as shell:
        shell.type("exit 9\n")
        assert shell.end() == 9


def test_it_starts_again_with_its_files(clients: Clients, names: list[str]) -> None:
    names.append("e2eagain")
    with terminal(clients, "run", "-it", "--name", "e2eagain", "busybox", "sh") as shell:
        shell.type("echo kept >/file; exit\n")
        assert shell.end() == 0
    with terminal(clients, "start", "-ai", "e2eagain") as shell:
        shell.type("cat /file; exit 3\n")
        shell.expect("kept")
        assert shell.end() == 3


def test_exec_with_a_terminal(clients: Clients, names: list[str]) -> None:
    names.append("e2eexec")
    clients.ok("run", "-d", "--name", "e2eexec", "busybox", "sleep", "1000")
    with terminal(clients, "exec", "-it", "e2eexec", "sh") as shell:
        shell.type("stty size; exit 6\n")
        shell.expect("24 80")
        assert shell.end() == 6


def test_a_failed_start_gives_the_terminal_back(clients: Clients) -> None:
    with terminal(clients, "run", "--rm", "-it", "busybox", "nocmd") as shell:
        shell.expect("executable file not found")
        assert shell.end() == 127


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_in_raw_mode_gives_the_terminal_back(clients: Clients, names: list[str], number: int) -> None:
    names.append("e2eraw")
    clients.ok("run", "-d", "--name", "e2eraw", "busybox", "sleep", "1000")
    with terminal(clients, "exec", "-it", "e2eraw", "sh") as shell:
        shell.expect("# ")
        assert termios.tcgetattr(shell.leader) != shell.before
        shell.process.send_signal(number)
        assert shell.end() == -number


def test_signals_go_to_the_process(clients: Clients, names: list[str]) -> None:
    names.append("e2esignal")
    script = "trap 'echo term; exit 11' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        [clients.pier, "run", "--name", "e2esignal", "busybox", "sh", "-c", script], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, env=clients.environment, text=True,
    )
    assert process.stdout
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == "usr1\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "term\n"
        assert process.wait(WITHIN) == 11


@pytest.mark.parametrize("words", ["run", "attach"])
def test_a_signal_ends_the_command_alone_where_it_is_not_handed_on(
    clients: Clients, names: list[str], words: str
) -> None:
    names.append("e2ealone")
    script = ("busybox", "sh", "-c", "trap 'exit 11' TERM; while :; do echo ready; sleep 0.05; done")
    if words == "run":
        command = [clients.pier, "run", "--sig-proxy=false", "--name", "e2ealone", *script]
    else:
        clients.ok("run", "-d", "--name", "e2ealone", *script)
        command = [clients.pier, "attach", "--sig-proxy=false", "e2ealone"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=clients.environment)
    assert process.stdout
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN) == -signal.SIGTERM
    assert clients.ok("inspect", "-f", "{{.State.Running}}", "e2ealone") == "true"


def test_what_is_typed_stays_here_where_the_input_is_not_attached(clients: Clients, names: list[str]) -> None:
    names.append("e2einput")
    script = "while :; do echo ready; sleep 0.05; done & read line; kill $!; echo got $line"
    clients.ok("run", "-di", "--name", "e2einput", "busybox", "sh", "-c", script)
    process = subprocess.Popen([clients.pier, "attach", "--no-stdin", "e2einput"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env=clients.environment)
    assert process.stdin
    assert process.stdout
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"mine\n")
        process.stdin.close()
        clients.run("docker", ["attach", "e2einput"], input="another's\n")
        assert process.stdout.read().splitlines()[-1] == b"got another's"
        assert process.wait(WITHIN) == 0


@pytest.mark.parametrize("words", ["run", "start", "exec"])
def test_other_keys_leave(clients: Clients, names: list[str], words: str) -> None:
    names.append("e2ekeys")
    commands: dict[str, tuple[str, ...]] = {
        "run": ("run", "--detach-keys=ctrl-x,x", "-it", "--name", "e2ekeys", "busybox", "sh"),
        "start": ("start", "--detach-keys=ctrl-x,x", "-ai", "e2ekeys"),
        "exec": ("exec", "--detach-keys=ctrl-x,x", "-it", "e2ekeys", "sh"),
    }
    if words == "start":
        clients.ok("create", "-it", "--name", "e2ekeys", "busybox", "sh")
    elif words == "exec":
        clients.ok("run", "-d", "--name", "e2ekeys", "busybox", "sleep", "1000")
    with terminal(clients, *commands[words]) as shell:
        shell.expect("# ")
        shell.type("\x10\x11echo st$((1))ays\n")  # what leaves where nothing else is said
        shell.expect("st1ays")
        shell.type("\x18x")
        assert shell.end() == (1 if words == "exec" else 0)
    assert clients.ok("inspect", "-f", "{{.State.Running}}", "e2ekeys") == "true"


@pytest.mark.parametrize("quiet", [False, True])
def test_a_copy_says_how_much_it_was_on_a_terminal_and_where_it_is_not_to_be_quiet(
    clients: Clients, names: list[str], quiet: bool, tmp_path: Path
) -> None:
    names.append("e2ecopy")
    clients.ok("create", "--name", "e2ecopy", "busybox")
    with terminal(clients, "cp", f"--quiet={quiet}", "e2ecopy:/etc/passwd", f"{tmp_path}/got") as shown:
        if not quiet:
            shown.expect("Successfully copied")
        assert shown.end() == 0
        ready, _, _ = select.select([shown.leader], [], [], 0)
        assert not (quiet and ready)
    assert (tmp_path / "got").exists()


def test_a_signal_is_handed_on_while_nobody_reads_the_output(clients: Clients, names: list[str]) -> None:
    names.append("e2estuck")
    script = "trap 'touch /got' TERM; echo ready; yes & while :; do sleep 0.05; done"
    process = subprocess.Popen(
        [clients.pier, "run", "--name", "e2estuck", "busybox", "sh", "-c", script], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, env=clients.environment, bufsize=0,
    )
    assert process.stdout
    try:
        assert process.stdout.read(6) == b"ready\n"
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: not clients.run("docker", ["exec", "e2estuck", "test", "-e", "/got"]).returncode, WITHIN)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_ten_megabytes_of_anything_come_back_bit_for_bit(clients: Clients) -> None:
    data = os.urandom(10 << 20)
    done = subprocess.run(
        [clients.pier, "run", "--rm", "-i", "busybox", "cat"], input=data, capture_output=True, env=clients.environment,
        timeout=120, check=False,
    )
    assert done.returncode == 0
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_the_output_of_what_ends_at_once_is_never_lost(clients: Clients) -> None:
    for _ in range(20):
        done = clients.run("pier", ["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"])
        assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 0)


def test_logs_are_followed_to_the_end(clients: Clients, names: list[str]) -> None:
    names.append("e2efollow")
    script = "for i in $(seq 50); do echo $i; sleep 0.01; done"
    clients.ok("run", "-d", "--name", "e2efollow", "busybox", "sh", "-c", script)
    done = clients.run("pier", ["logs", "-f", "e2efollow"])
    assert done.stdout.split() == [str(number) for number in range(1, 51)]


def test_a_log_line_cannot_drive_the_terminal(clients: Clients, names: list[str]) -> None:
    names.append("e2eescape")
    clients.ok("run", "--name", "e2eescape", "busybox", "printf", "\\033[31mred\\033[0m\\033]0;owned\\007\\n")
    with terminal(clients, "logs", "e2eescape") as shown:
        assert "\x1b[31mred\x1b[0m\\x1b]0;owned\\x07" in shown.expect("owned\\x07")
        assert shown.end() == 0
