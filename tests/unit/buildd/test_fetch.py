"""What fetches by a proxy."""

import http.server
import threading
from contextlib import AsyncExitStack

import pytest

from buildd import fetch
from chassis.errors import Unavailable
from tests.unit.buildd.fakes import closed, opened

ASKED: list[str] = []


class Proxy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ASKED.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


@pytest.fixture
def proxy(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "here.invalid")
    yield ASKED
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_url_is_asked_for_at_the_proxy_of_the_environment_unless_it_is_left_out(tmp_path, proxy):
    state = await opened(tmp_path, None)
    try:
        async with AsyncExitStack() as stack:
            found = await fetch.fetch(state, stack, "http://there.invalid/file")
            assert found.file.seek(0) == 0
            assert found.file.read() == b"ok"
            assert proxy == ["http://there.invalid/file"]
            with pytest.raises(Unavailable):
                await fetch.fetch(state, stack, "http://here.invalid/file")
    finally:
        await closed(state)
