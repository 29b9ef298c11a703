"""``ssh://[USER@]HOST[:PORT][/SOCKET]``: the engine of another machine, through the system's ssh and its configuration.

ssh runs ``pier system dial-stdio`` there (or docker's, where there is no pier), which copies its standard streams to
the engine's socket. Each connection is a program of its own; a control master in ~/.ssh/config makes them cheap.
"""

from __future__ import annotations

import _socket
import posix

from pier_cli.engine import quote
from pier_cli.failure import Failure

_WORDS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:@%+=,")


def command(host: str) -> list[str]:
    """The words that dial ``host``. Failure where the address is none."""
    user, host, port, path = parse(host)
    words = ["ssh", "-o", "ConnectTimeout=30", "-T"]
    words += ["-l", user] if user else []
    words += ["-p", port] if port else []
    address = f" --host unix://{quote(path)}" if path else ""
    dial = f"{address} system dial-stdio"
    script = f"if command -v pier >/dev/null; then exec pier{dial}; fi; exec docker{dial}"
    return [*words, "--", host, f"exec sh -c '{script}'"]


def parse(address: str) -> tuple[str, str, str, str]:
    """User, host, port and socket path, "" for what is not given."""
    rest = address.removeprefix("ssh://")
    place, slash, path = rest.partition("/")
    user, _, host = place.rpartition("@")
    if host.startswith("["):
        host, _, port = host[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = host.partition(":")
    path = slash + path if path else ""
    wrong = (
        "no host specified" if not host else "a host begins with no '-'" if host.startswith("-") or user.startswith("-")
        else "plain-text password is not supported" if ":" in user
        else "the port is no number" if port and not (port.isascii() and port.isdigit())
        else "characters that no address has" if not _plain(user + host + path) else ""
    )
    if wrong:
        raise Failure(f"unable to parse docker host `{address}`: ssh: {wrong}")
    return user, host, port, path


def _plain(text: str) -> bool:
    return all(byte in _WORDS for byte in text.encode("utf-8", "surrogateescape"))


def dial(host: str) -> _socket.socket:
    """One end of a pair whose other end is ssh's standard input and output. What it complains of goes to ours."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        actions = [
            (posix.POSIX_SPAWN_DUP2, theirs.fileno(), 0), (posix.POSIX_SPAWN_DUP2, theirs.fileno(), 1),
        ]
        posix.posix_spawnp("ssh", command(host), posix.environ, file_actions=actions)
    except FileNotFoundError:
        ours.close()
        raise Failure(f"cannot connect to the engine at {host}: there is no ssh") from None
    finally:
        theirs.close()
    return ours
