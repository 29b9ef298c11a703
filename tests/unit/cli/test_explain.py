"""``pier explain``: a tree that adds up."""

from __future__ import annotations

import os
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pier_cli import waterfall
from pier_cli.context import Context
from pier_cli.failure import Failure
from pier_cli.flags import parse
from pier_cli.main import load
from pier_cli.spans import covered, overview, publishes, tree
from tests.unit.cli.server import json_answer, serving


def span(name: str, start: int, duration: int, *children: dict[str, object], **facts: object) -> dict[str, object]:
    """Milliseconds after an hour that is the same for all."""
    return {
        "name": name, "service": facts.pop("service", "execd"), "start": f"2026-11-25T02:00:00.{start:03}000000Z",
        "durationNs": duration * 10**6, "facts": facts, "error": "", "children": list(children),
    }


def test_steps_side_by_side_count_once() -> None:
    assert covered(span("start", 0, 100, span("a", 10, 40), span("b", 20, 50), span("c", 90, 10))) == 70 * 10**6


def test_what_lies_outside_the_operation_does_not_count() -> None:
    assert covered(span("start", 10, 10, span("a", 5, 10), span("b", 19, 50))) == 6 * 10**6


def test_the_tree_shows_durations_shares_facts_errors_and_the_sum() -> None:
    bad = span("start.start", 90, 5)
    bad["error"] = "no such file"
    good = span("start.create", 10, 80, span("start.mount", 10, 20, kind="overlay"))
    root = span("start", 0, 100, good, bad, service="gateway")
    assert tree(root).splitlines() == [
        "2026-11-25T02:00:00.000000000Z",
        "start                                        gateway     100.0 ms  100.0 %",
        "├─ start.create                              execd        80.0 ms   80.0 %",
        "│  └─ start.mount                            execd        20.0 ms   20.0 %  kind=overlay",
        "└─ start.start                               execd         5.0 ms    5.0 %  ✗ no such file",
        "sum of stages 85.0 ms of 100.0 ms wall (85.0 %)",
    ]


@pytest.mark.parametrize(("words", "shown"), [([], 1), (["--all"], 2)])
def test_the_newest_is_shown_unless_all_are_asked_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], shown: int
) -> None:
    from pier_cli import out
    from pier_cli.codec import dumps

    command = load("explain")
    options, rest = parse(command.flags, [*words, "web"])
    with serving(tmp_path / "s", json_answer(dumps([span("start", 0, 10), span("create", 0, 5)]))) as server:
        context = Context(server.host)
        context.engine._version = "1.51"
        assert command.run(context, options, rest) == 0
    out.flush()
    assert capfd.readouterr().out.count("sum of stages") == shown
    assert server.requests[0].startswith(b"GET /v1.51/containers/web/traces ")


def test_a_container_that_did_nothing_yet_is_said_to(tmp_path: Path) -> None:
    command = load("explain")
    options, rest = parse(command.flags, ["web"])
    with serving(tmp_path / "s", json_answer("[]")) as server:
        context = Context(server.host)
        context.engine._version = "1.51"
        with pytest.raises(Failure, match="nothing is recorded"):
            command.run(context, options, rest)


def test_the_slowest_are_told_with_the_step_that_took_most() -> None:
    deep = span("start.run", 10, 70, span("start.mount", 10, 20))
    root = span("POST /containers/{name}/start", 0, 100, span("start", 5, 90, deep), container="web", service="gateway")
    header, row = overview([root]).splitlines()
    assert header.split() == ["STARTED", "TOOK", "OPERATION", "SUBJECT", "LONGEST", "STEP"]
    assert row.split() == [
        "2026-11-25T02:00:00Z", "100.0", "ms", "POST", "/containers/{name}/start", "web", "execd", "start.run", "70.0",
        "ms",
    ]


def test_operations_that_published_a_port_are_found_by_it() -> None:
    root = span("start", 0, 10, span("attach.publish", 1, 5, ports="80/tcp 53/udp"))
    assert [publishes(root, port) for port in ("80", "80/tcp", "53/udp", "53", "8080")] == [
        True, True, True, False, False]


class Page(HTMLParser):
    """What a browser would make of the page: elements that are well nested, their attributes, the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_picture_needs_nothing_from_elsewhere_and_is_no_way_in() -> None:
    evil = "<script>alert(1)</script>\"\x1b'&"
    root = span(evil, 0, 100, span("start.run", 25, 50, fact=evil), service=evil)
    page = Page()
    page.feed(waterfall.page(evil, [root, span("stop", 0, 0)]))
    page.close()
    assert page.open == []
    assert {tag for tag, _ in page.seen} == {
        "html", "head", "meta", "title", "style", "body", "h1", "p", "span", "details", "summary", "table", "tr", "td",
        "div",
    }
    assert not [value for _, attributes in page.seen for name, value in attributes.items() if name in ("src", "href")]
    assert "default-src 'none'" in str(page.seen)
    bars = [attributes["style"] for tag, attributes in page.seen if tag == "div"]
    assert bars[:2] == ["margin-left:0.000%;width:100.000%", "margin-left:25.000%;width:50.000%"]
    assert "sum of stages 50.0 ms of 100.0 ms wall (50.0 %)" in page.text
    assert "\x1b" not in page.text


@pytest.mark.parametrize("words", [[], ["web", "--slowest", "3"], ["--slowest", "0"], ["web", "--html", "--json"]])
def test_what_cannot_be_meant_is_refused(words: list[str]) -> None:
    command = load("explain")
    options, rest = parse(command.flags, words)
    with pytest.raises(Failure):
        command.run(Context("unix:///nowhere"), options, rest)


@pytest.mark.soak
def test_a_browser_shows_the_picture(tmp_path: Path) -> None:
    """Debian's headless Chromium, where it is installed: a hundred megabytes that the suite does not bring."""
    browsers = ("chromium-headless-shell", "chromium")
    browser = next((path for name in browsers if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip("apt-get install chromium-headless-shell")
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    root = span("start", 0, 100, span("start.run", 25, 50), span("start.tell", 80, 20))
    page.write_text(waterfall.page("web", [root]))
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    dom = subprocess.run([*words, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True, timeout=120,
                         env=environment).stdout
    assert dom.count("<tr") == 3
    subprocess.run([*words, "--window-size=800,300", f"--screenshot={picture}", page.as_uri()], capture_output=True,
                   check=True, timeout=120, env=environment)
    assert picture.read_bytes().startswith(b"\x89PNG")
