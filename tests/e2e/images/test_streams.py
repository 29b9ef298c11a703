"""Pulls while they run: what comes is told as it comes, and an end in the middle leaves nothing half done."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
from typing import Any

import pytest

from deploy.busybox_image import Entry, Image, digest, layer
from tests import images
from tests.engine import wait_until

PULL = 'pier_rpc_in_flight{method="pier.image.v1.ImageService/Pull"}'


class Slow(http.server.ThreadingHTTPServer):
    """A registry with one image, ``app:1``, whose layer stops half way until ``go`` is set. It knows no ranges."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.go, self.waiting = threading.Event(), threading.Event()
        self.host = f"127.0.0.1:{self.server_port}"
        data = os.urandom(4 << 20)  # another one each time: what an earlier pull left here is not gone on with
        self.packed = images.pack(Image([layer([Entry("data", data=data)])], config={"Cmd": ["true"]}))


class Answer(http.server.BaseHTTPRequestHandler):
    server: Slow

    def log_message(self, *arguments):
        """Say nothing."""

    def do_GET(self):
        if "/manifests/" in self.path:
            blob = self.server.packed.top
        else:
            blob = next(blob for blob in self.server.packed.blobs if self.path.endswith(digest(blob.data)))
        self.send_response(200)
        self.send_header("Content-Type", blob.media_type)
        self.send_header("Content-Length", str(len(blob.data)))
        self.end_headers()
        half = len(blob.data) // 2 if len(blob.data) > 1 << 20 else len(blob.data)
        self.wfile.write(blob.data[:half])
        if half < len(blob.data):
            self.wfile.flush()
            self.server.waiting.set()
            self.server.go.wait(60)
        try:
            self.wfile.write(blob.data[half:])
        except OSError:
            return  # the client broke off, as it was meant to


@pytest.fixture
def slow():
    server = Slow()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.go.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def pulling(api, slow):
    """An answer that has begun, its layer half here."""
    connection = api.open()
    connection.request("POST", f"/v1.45/images/create?fromImage={slow.host}/app&tag=1")
    answer = connection.getresponse()
    assert slow.waiting.wait(30)
    yield connection, answer
    answer.close()
    connection.close()


def read_until(answer, status):
    """Messages up to the first with ``status``."""
    messages: list[dict[str, Any]] = []
    while not messages or messages[-1].get("status") != status:
        line = answer.readline()
        assert line, f"the stream ended without {status}: {messages}"
        messages.append(json.loads(line))
    return messages


def test_progress_is_told_while_the_layer_is_still_on_its_way(engine, slow, pulling):
    _, answer = pulling
    messages = read_until(answer, "Downloading")
    assert answer.status == 200
    assert [message["status"] for message in messages[:2]] == ["Pulling from app", "Pulling fs layer"]
    detail = messages[-1]["progressDetail"]
    assert 0 < detail["current"] < detail["total"]
    assert "[=" in messages[-1]["progress"]
    slow.go.set()
    rest = [json.loads(line) for line in answer.read().splitlines() if line]
    assert rest[-1]["status"].startswith("Status: Downloaded newer image")


def test_a_client_that_goes_ends_its_pull_and_the_next_goes_on(engine, slow, pulling):
    connection, answer = pulling
    read_until(answer, "Downloading")
    assert engine.metric("imaged", PULL) == 1
    answer.close()
    connection.close()
    wait_until(lambda: engine.metric("imaged", PULL) == 0, what="the pull's end")
    assert engine.ok("images", "-q", f"{slow.host}/app") == ""
    slow.go.set()
    engine.ok("pull", f"{slow.host}/app:1")  # goes on with the half that is here


def test_imaged_killed_in_the_middle_is_told_and_the_same_pull_succeeds(engine, slow, pulling):
    _, answer = pulling
    read_until(answer, "Downloading")
    engine.kill("imaged")
    rest = [json.loads(line) for line in answer.read().splitlines() if line]
    assert rest[-1]["error"]
    assert rest[-1]["errorDetail"]["message"] == rest[-1]["error"]
    slow.go.set()
    engine.wait_serving()
    engine.ok("pull", f"{slow.host}/app:1")


def test_a_registry_that_never_answers_lets_its_client_go(engine, api):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        connection = api.open()
        connection.request("POST", f"/v1.45/images/create?fromImage=127.0.0.1:{silent.getsockname()[1]}/app&tag=1")
        accepted, _ = silent.accept()
        connection.close()
        wait_until(lambda: engine.metric("imaged", PULL) == 0, what="the pull's end")
        accepted.close()
