"""A command on a terminal of its own, as a person sees it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

WITHIN = 60.0


class Terminal:
    """``command`` on a new pty of ``rows`` × ``columns``. Use as a context manager."""

    def __init__(self, engine, command, rows=24, columns=80):
        self.master, slave = pty.openpty()
        self.resize(rows, columns, signal_it=False)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = engine.start(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                    preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.seen = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.slave)
        os.close(self.master)

    def type(self, data):
        os.write(self.master, data)

    def resize(self, rows, columns, signal_it=True):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if signal_it:
            self.process.send_signal(signal.SIGWINCH)

    def expect(self, pattern):
        """Read until ``pattern`` (bytes) is on the screen; what it matched. What was before it is forgotten."""
        deadline = time.monotonic() + WITHIN
        while not (match := re.search(pattern, self.seen)):
            assert time.monotonic() < deadline, f"{pattern!r} is not in {self.seen[-2000:]!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError as error:
                    raise AssertionError(f"{pattern!r} is not in {self.seen[-2000:]!r}") from error
        self.seen = self.seen[match.end():]
        return match

    def wait(self):
        """The command's exit code; its terminal is as it was before."""
        deadline = time.monotonic() + WITHIN
        while (code := self.process.poll()) is None:
            assert time.monotonic() < deadline, f"it does not end: {self.seen[-2000:]!r}"
            if select.select([self.master], [], [], 0.02)[0]:
                self.seen += os.read(self.master, 65536)
        assert termios.tcgetattr(self.slave)[:4] == self.before[:4], "the terminal's mode is not restored"
        return code
