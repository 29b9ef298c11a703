"""Addresses, and sockets that were passed to a process."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import listening
from chassis.errors import InvalidArgument
from chassis.listening import Address, Listener

TELL = """
from chassis import listening
for each in listening.passed():
    print(each.name, each.address, each.socket.fileno())
import os
print(sorted(key for key in os.environ if key.startswith("LISTEN_")))
"""


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[list[socket.socket]]:
    made = [listening.bind(Address(str(tmp_path / "a.sock"))), listening.bind(Address("127.0.0.1", 0))]
    yield made
    for each in made:
        each.close()


def passing(sockets: list[socket.socket], names: str, count: str = "", pid: str = "") -> str:
    """What a process says that is started with the sockets from descriptor 3 on."""
    script = (
        "import os, sys\n"
        "os.environ['LISTEN_PID'] = os.environ['LISTEN_PID'] or str(os.getpid())\n"
        f"os.execv(sys.executable, [sys.executable, '-c', {TELL!r}])\n"
    )
    high = [os.dup(each.fileno()) for each in sockets]
    actions = [(os.POSIX_SPAWN_DUP2, fd, 100 + place) for place, fd in enumerate(high)]
    actions += [(os.POSIX_SPAWN_DUP2, 100 + place, 3 + place) for place in range(len(high))]
    reading, writing = os.pipe()
    actions += [(os.POSIX_SPAWN_DUP2, writing, 1)]
    environment = {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "LISTEN_FDS": count or str(len(sockets)),
        "LISTEN_FDNAMES": names, "LISTEN_PID": pid, "PATH": os.environ["PATH"]}
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", script], environment, file_actions=actions)
    os.close(writing)
    with open(reading) as output:
        text = output.read()
    os.waitpid(child, 0)
    for fd in high:
        os.close(fd)
    return text


def test_several_sockets_are_taken_with_their_names_once(sockets: list[socket.socket], tmp_path: Path) -> None:
    port = sockets[1].getsockname()[1]
    lines = passing(sockets, "engine:rest").splitlines()
    assert lines == [f"engine unix://{_bound(tmp_path)} 3", f"rest tcp://127.0.0.1:{port} 4", "[]"]


def _bound(directory: Path) -> Path:
    """The name under which the socket was bound, before it was renamed."""
    return directory / f".a.sock.{os.getpid()}"


def test_sockets_without_names_and_for_another_process_are_told_apart(sockets: list[socket.socket]) -> None:
    assert passing(sockets, "").splitlines()[1].startswith(" tcp://127.0.0.1:")
    assert passing(sockets, "", pid="1") == "[]\n"


def test_a_descriptor_that_does_not_listen_is_refused(sockets: list[socket.socket]) -> None:
    with socket.socket(socket.AF_UNIX) as deaf, pytest.raises(InvalidArgument, match="no listening stream socket"):
        listening._adopt(deaf, "x")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf, pytest.raises(InvalidArgument):
        listening._adopt(deaf, "x")


def test_what_was_passed_is_used_and_what_was_not_is_opened(sockets: list[socket.socket], tmp_path: Path) -> None:
    host, port = sockets[1].getsockname()
    path = Address(str(tmp_path / "a.sock"))
    given = [
        Listener(sockets[0], listening.address_of(sockets[0]), listening.label("grpc", path), passed=True),
        Listener(sockets[1], Address(host, port), passed=True),
    ]
    opened = listening.opened([f"unix://{tmp_path}/a.sock", f"unix://{tmp_path}/b.sock", "fd://"], given)
    assert [each.socket in sockets for each in opened] == [True, False, True]
    assert stat.S_IMODE((tmp_path / "b.sock").stat().st_mode) == 0o660
    listening.close(opened)
    assert not (tmp_path / "b.sock").exists()
    assert (tmp_path / "a.sock").exists()


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(InvalidArgument, match="a file that is no socket"):
        listening.bind(Address(str(tmp_path / "precious")))
    assert (tmp_path / "precious").read_text() == "x"


def test_one_address_that_fails_closes_those_before_it(tmp_path: Path, sockets: list[socket.socket]) -> None:
    taken = f"tcp://127.0.0.1:{sockets[1].getsockname()[1]}"
    with pytest.raises(InvalidArgument, match="Address already in use"):
        listening.opened([f"unix://{tmp_path}/c.sock", taken], [])
    assert not (tmp_path / "c.sock").exists()


@given(st.one_of(st.text(), st.from_regex(r"(tcp|unix)://[\[\]0-9a-f:./x]*", fullmatch=True)))
def test_an_address_is_one_or_is_refused_by_its_field(text: str) -> None:
    try:
        address = listening.parse(text, "engine_listen")
    except InvalidArgument as error:
        refused: InvalidArgument | None = error
    else:
        refused = None
        assert listening.parse(str(address)) == address
        assert ":" not in listening.label("rest", address)
    assert refused is None or refused.field == "engine_listen"


def test_a_client_of_a_flag_may_name_several_addresses() -> None:
    code = (
        "from chassis import config; import sys\n"
        "print(config.load('gateway', config.Settings, sys.argv[1:]).settings.listen)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "-H", "fd://", "-H", "tcp://127.0.0.1:1", "--listen", "unix:///x"],
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}, capture_output=True, text=True,
        check=True)
    assert done.stdout == "('fd://', 'tcp://127.0.0.1:1', 'unix:///x')\n"
