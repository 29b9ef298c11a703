"""What is judged of a request is what is acted upon, however long its body is and however it is framed."""

import json

import pytest

from tests.e2e.wire import Wire

MEBIBYTE = 1 << 20


@pytest.fixture
def wire(engine):
    return Wire(engine.instance.api_socket)


def padded(size):
    """A create's body of ``size`` bytes whose last setting is refused: who reads less of it would let it pass."""
    start = b'{"Image":"busybox","Labels":{"pad":"'
    end = b'"},"HostConfig":{"RestartPolicy":{"Name":"always"},"AutoRemove":true}}'
    return start + b"x" * (size - len(start) - len(end)) + end


def framed(body, chunk):
    """Header and body; in chunks of ``chunk`` bytes where that is not 0."""
    if not chunk:
        return {"Content-Length": str(len(body))}, body
    pieces = [body[at : at + chunk] for at in range(0, len(body), chunk)]
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    return {"Transfer-Encoding": "chunked"}, b"".join(chunks) + b"0\r\n\r\n"


@pytest.mark.parametrize("chunk", [0, 1000, MEBIBYTE])
def test_54_a_refused_setting_is_refused_at_the_end_of_any_body(wire, chunk):
    for size in (MEBIBYTE - 1, MEBIBYTE, MEBIBYTE + 1, 4 * MEBIBYTE + 1):
        refused(wire, *framed(padded(size), chunk))
    assert wire.get("/containers/json?all=1") == []


def refused(wire, headers, body):
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with wire.connected() as connection:
        connection.send(f"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n{head}\r\n"
                        .encode() + body)
        answer = connection.head()
        message = json.loads(connection.exactly(int(answer.headers["content-length"])))["message"]
    assert (answer.status, "AutoRemove" in message or "request body" in message) == (400, True), message


@pytest.mark.parametrize("headers", [{"Content-Length": "0"}, {"Transfer-Encoding": "chunked"}])
def test_54_a_body_that_is_empty_is_told_so(wire, headers):
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    body = b"0\r\n\r\n" if "Transfer-Encoding" in headers else b""
    with wire.connected() as connection:
        connection.send(f"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n{head}\r\n"
                        .encode() + body)
        assert connection.head().status == 400


def test_54_two_lengths_are_no_request(wire):
    for lines in ("Content-Length: 0\r\nContent-Length: 50", "Content-Length: 0\r\nTransfer-Encoding: chunked"):
        with wire.connected() as connection:
            connection.send(f"POST /containers/create HTTP/1.1\r\nHost: d\r\n{lines}\r\n\r\n".encode() + b"{}")
            assert connection.head().status == 400
