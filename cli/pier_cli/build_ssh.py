"""ssh agents for ``pier build --ssh``: the user's own, or one of this command's that has keys from files.

What an agent is asked comes from the engine: only requests for identities and signatures reach it.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from typing import Self

from chassis import ssh_agent
from pier_cli.context import environment
from pier_cli.failure import Failure

_DEFAULT = "default"
_STARTED_WITHIN = 10.0
_PAUSE = 0.01


class Agents:
    """The agents that --ssh names, by their ids. ``close`` ends those that were started here."""

    def __init__(self, texts: list[str]) -> None:
        self._sockets: dict[str, str] = {}
        self._started: list[tuple[subprocess.Popen[bytes], str]] = []
        try:
            for text in texts:
                id_, _, paths = text.partition("=")
                if not id_ or id_ in self._sockets:
                    raise Failure(f'invalid argument "{text}" for "--ssh" flag: use default or ID=SOCKET|KEY[,KEY], '
                                  "each id once")
                self._sockets[id_] = self._socket(id_, [path for path in paths.split(",") if path])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ids(self) -> list[str]:
        return list(self._sockets)

    def ask(self, id_: str, message: bytes) -> bytes:
        """What the agent answers to a message; the protocol's failure where it may not be asked or does not answer."""
        path = self._sockets.get(id_)
        if path is None or not ssh_agent.is_handed_on(message):
            return ssh_agent.FAILURE
        with suppress(OSError), socket.socket(socket.AF_UNIX) as agent:
            agent.connect(path)
            agent.sendall(ssh_agent.framed(message))
            (length,) = ssh_agent.HEAD.unpack(_exactly(agent, ssh_agent.HEAD.size))
            if 0 < length <= ssh_agent.LONGEST:
                return _exactly(agent, length)
        return ssh_agent.FAILURE

    def close(self) -> None:
        for process, directory in self._started:
            process.terminate()
            process.wait()
            shutil.rmtree(directory, ignore_errors=True)
        self._started.clear()

    def _socket(self, id_: str, paths: list[str]) -> str:
        if not paths:
            path = environment("SSH_AUTH_SOCK")
            if not path:
                raise Failure(f"failed to use ssh agent {id_}: SSH_AUTH_SOCK is not set")
            paths = [path]
        try:
            sockets = [path for path in paths if stat.S_ISSOCK(os.stat(path).st_mode)]
        except OSError as error:
            raise Failure(f"failed to use ssh agent {id_}: {error.filename}: {error.strerror}") from None
        if sockets and len(paths) > 1:
            raise Failure(f"failed to use ssh agent {id_}: only a single socket allowed")
        return sockets[0] if sockets else self._of_keys(id_, paths)

    def _of_keys(self, id_: str, paths: list[str]) -> str:
        """The socket of an agent of OpenSSH's with these keys, that ends with this command."""
        directory = tempfile.mkdtemp(prefix="pier-ssh-")
        path = f"{directory}/agent"
        quiet = subprocess.DEVNULL
        try:
            process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdin=quiet, stdout=quiet, stderr=quiet)
        except FileNotFoundError:
            shutil.rmtree(directory)
            raise Failure(f"failed to use ssh agent {id_}: a key needs ssh-agent (OpenSSH) on this machine") from None
        self._started.append((process, directory))
        deadline = time.monotonic() + _STARTED_WITHIN
        while not os.path.exists(path) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        # A key with a passphrase is asked for by nobody: the user's own agent is for those.
        settings = {**os.environ, "SSH_AUTH_SOCK": path, "SSH_ASKPASS_REQUIRE": "force", "SSH_ASKPASS": "/bin/false"}
        done = subprocess.run(["ssh-add", "--", *paths], stdin=quiet, capture_output=True, env=settings, check=False)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise Failure(f"failed to use ssh agent {id_}: {said or 'ssh-add failed'}")
        return path


def _exactly(stream: socket.socket, size: int) -> bytes:
    """OSError where the stream ends before."""
    parts = []
    while size:
        part = stream.recv(size)
        if not part:
            raise ConnectionError("the agent has ended")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
