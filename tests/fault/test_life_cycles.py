"""Random sequences of calls about containers, with services killed in between, against a model of Docker's states."""

from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.engine import Engine, wait_until

SERVICES = ("gateway", "execd", "netd", "imaged", "zygote")
KILLS = 2
"""In one sequence: the launcher pauses ever longer before it starts again what dies often."""
ALIVE = ("running", "paused")
RESTED = ("created", "exited")


@dataclass
class Model:
    """What Docker would say of one container. ``lives`` counts its starts."""

    id: str
    name: str
    label: str
    status: str = "created"
    code: int = 0
    lives: int = 0
    pids: int = 0


class LifeCycles(RuleBasedStateMachine):
    """A rule calls, compares the answer's status with the model's, and moves the model on."""

    containers: Bundle[Model] = Bundle("containers")

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.models: list[Model] = []
        self.made = self.kills = 0
        self.api: Any = docker.APIClient(base_url=engine.host, version="1.43", timeout=60)

    def teardown(self) -> None:
        self.api.close()
        self.engine.wait_serving()
        self.engine.remove_everything()

    def call(self, method: str, path: str, *, of: Model | None = None, document: object = None, **query: Any) -> Any:
        """The answer. Read calls right after a kill may be told to come again."""
        url = self.api._url(f"/containers/{of.id}{path}" if of else path)
        answer: requests.Response = self.api.request(method, url, params=query, json=document, timeout=60)
        return answer

    def expect(self, answer: requests.Response, status: int, model: Model) -> None:
        assert answer.status_code == status, (answer.status_code, answer.text, model)

    @rule(target=containers)
    def create(self) -> Model:
        self.made += 1
        name = f"life-{self.made}"
        answer = self.call("POST", "/containers/create", name=name, document={
            "Image": "busybox", "Cmd": ["sleep", "1000"], "Labels": {"life": name},
            "HostConfig": {"NetworkMode": "none"}})
        assert answer.status_code == 201, answer.text
        model = Model(answer.json()["Id"], name, name)
        self.models.append(model)
        return model

    @rule(model=containers)
    def start(self, model: Model) -> None:
        answer = self.call("POST", "/start", of=model)
        self.expect(answer, {"running": 304, "paused": 409}.get(model.status, 204), model)
        if model.status in RESTED:
            model.status, model.code, model.lives = "running", 0, model.lives + 1

    @rule(model=containers)
    def stop(self, model: Model) -> None:
        self.expect(self.call("POST", "/stop", of=model, t=0), 204 if model.status in ALIVE else 304, model)
        self.ended(model)

    @rule(model=containers, signal=st.sampled_from(["KILL", "9", "SIGKILL"]))
    def kill(self, model: Model, signal: str) -> None:
        self.expect(self.call("POST", "/kill", of=model, signal=signal), 204 if model.status in ALIVE else 409, model)
        self.ended(model)

    @rule(model=containers)
    def a_signal_that_does_nothing(self, model: Model) -> None:
        """To the first process of a pid namespace, which has no handler for it."""
        wanted = 204 if model.status in ALIVE else 409
        self.expect(self.call("POST", "/kill", of=model, signal="SIGUSR1"), wanted, model)

    def ended(self, model: Model) -> None:
        if model.status in ALIVE:
            model.status, model.code = "exited", 137

    @rule(model=containers)
    def pause(self, model: Model) -> None:
        self.expect(self.call("POST", "/pause", of=model), 204 if model.status == "running" else 409, model)
        if model.status == "running":
            model.status = "paused"

    @rule(model=containers)
    def unpause(self, model: Model) -> None:
        self.expect(self.call("POST", "/unpause", of=model), 204 if model.status == "paused" else 500, model)
        if model.status == "paused":
            model.status = "running"

    @rule(model=containers)
    def restart(self, model: Model) -> None:
        self.expect(self.call("POST", "/restart", of=model, t=0), 204, model)
        model.status, model.code, model.lives = "running", 0, model.lives + 1

    @rule(model=containers)
    def rename(self, model: Model) -> None:
        self.made += 1
        self.expect(self.call("POST", "/rename", of=model, name=f"other-{self.made}"), 204, model)
        model.name = f"other-{self.made}"

    @rule(model=containers, other=containers)
    def rename_to_a_name_that_is_taken(self, model: Model, other: Model) -> None:
        answer = self.call("POST", "/rename", of=model, name=other.name)
        self.expect(answer, 400 if model is other else 409, model)

    @rule(model=containers)
    def wait_for_the_end_that_was(self, model: Model) -> None:
        if model.status in RESTED:
            answer = self.call("POST", "/wait", of=model)
            self.expect(answer, 200, model)
            assert answer.json()["StatusCode"] == model.code

    @rule(model=containers)
    def exec(self, model: Model) -> None:
        answer = self.call("POST", "/exec", of=model, document={"Cmd": ["sh", "-c", "exit 5"]})
        self.expect(answer, 201 if model.status == "running" else 409, model)
        if model.status == "running":
            id_ = answer.json()["Id"]
            assert self.call("POST", f"/exec/{id_}/start", document={"Detach": True}).status_code == 200
            wait_until(lambda: self.call("GET", f"/exec/{id_}/json").json()["ExitCode"] == 5)

    @rule(model=containers, pids=st.integers(50, 100))
    def update(self, model: Model, pids: int) -> None:
        self.expect(self.call("POST", "/update", of=model, document={"PidsLimit": pids}), 200, model)
        model.pids = pids

    @rule(model=containers, content=st.binary(max_size=100))
    def copy_in_and_out(self, model: Model, content: bytes) -> None:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            file = tarfile.TarInfo("file")
            file.size = len(content)
            archive.addfile(file, io.BytesIO(content))
        assert self.api.put_archive(model.id, "/tmp", made.getvalue())
        pieces, _ = self.api.get_archive(model.id, "/tmp/file")
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
            found = archive.extractfile("file")
            assert found is not None
            assert found.read() == content

    @rule(model=consumes(containers))
    def prune(self, model: Model) -> None:
        answer = self.call("POST", "/containers/prune", filters=json.dumps({"label": [f"life={model.label}"]}))
        self.expect(answer, 200, model)
        removed = [model.id] if model.status in RESTED else []
        assert (answer.json()["ContainersDeleted"] or []) == removed
        if not removed:
            self.expect(self.call("DELETE", "", of=model, force=1), 204, model)
        self.models.remove(model)

    @rule(model=consumes(containers), force=st.booleans())
    def remove(self, model: Model, force: bool) -> None:
        answer = self.call("DELETE", "", of=model, force=int(force))
        removed = force or model.status in RESTED
        self.expect(answer, 204 if removed else 409, model)
        if removed:
            self.models.remove(model)
            self.expect(self.call("GET", "/json", of=model), 404, model)
        else:
            self.expect(self.call("DELETE", "", of=model, force=1), 204, model)
            self.models.remove(model)

    @precondition(lambda self: self.kills < KILLS and self.models)
    @rule(service=st.sampled_from(SERVICES))
    def a_service_is_killed(self, service: str) -> None:
        self.kills += 1
        wait_until(self.pid_file(service).exists, 30.0, f"{service} is there again")
        self.engine.kill(service)
        self.engine.wait_serving()

    def pid_file(self, service: str) -> Path:
        return self.engine.instance.run / f"{service}.pid"

    @invariant()
    def each_is_as_the_model_says(self) -> None:
        shown = {each["Id"]: each for each in self.call("GET", "/containers/json", all=1).json()}
        assert set(shown) == {model.id for model in self.models}
        for model in self.models:
            found = self.call("GET", "/json", of=model).json()
            assert (found["State"]["Status"], found["Name"]) == (model.status, f"/{model.name}"), model
            assert shown[model.id]["Names"] == [f"/{model.name}"]
            assert shown[model.id]["State"] == model.status
            assert bool(found["State"]["Pid"]) is (model.status in ALIVE), model
            assert found["State"]["ExitCode"] == model.code, model
            assert (found["HostConfig"]["PidsLimit"] or 0) == model.pids, model
            if model.status in ALIVE:
                assert os.path.exists(f"/proc/{found['State']['Pid']}")


def explore(engine: Engine, examples: int, steps: int) -> None:
    def machine() -> LifeCycles:
        return LifeCycles(engine)

    run_state_machine_as_test(machine, settings=settings(  # type: ignore[arg-type]  # or a factory
        max_examples=examples, stateful_step_count=steps, deadline=None, database=None, print_blob=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    ))


def test_random_life_cycles_go_as_dockers_do(engine):
    explore(engine, examples=4, steps=25)


@pytest.mark.soak
def test_many_random_life_cycles_go_as_dockers_do(engine):
    explore(engine, int(os.environ.get("PIER_LIFE_CYCLES", "200")), 50)
