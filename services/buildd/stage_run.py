"""A stage carried out, instruction by instruction."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from buildd import configure, copying, history, keys, mounts, offers, records, running, snapshots, steps
from buildd.build import Build, Image
from buildd.config import PATH, Config
from buildd.configure import bad
from buildd.dockerfile import instructions as df
from buildd.progress import StepProgress
from buildd.records import Inputs, Record
from buildd.running import Command
from buildd.scope import Scope
from buildd.steps import Done, Worked
from pier.build.v1 import build_pb2 as pb


def _with_path(config: Config) -> Config:
    """An image whose base says nothing of where programs are says it itself, as Docker's do."""
    return config if "PATH" in config.variables else replace(config, env=[*(config.env or ()), f"PATH={PATH}"])


def _is_program(step: df.Run) -> bool:
    """Its heredoc names what interprets it."""
    return step.heredoc_only and step.heredocs[0].text.startswith("#!")


class StageRun:
    """One stage while it is carried out. ``find`` is what a name after ``from`` means."""

    def __init__(self, build: Build, name: str, base: Image, scope: Scope, find: copying.Find) -> None:
        self._build, self._name, self._scope, self._find = build, name, scope, find
        self._ground = base.ground
        self._config = _with_path(base.config)
        self._command_given = False
        self._document = base.document
        self._history = base.history
        self._created_ns = base.created_ns
        self._base_id = base.base_id
        self._number = 0

    @property
    def image(self) -> Image:
        """What it has come to."""
        document = replace(self._document, config=self._config, history=self._history)
        return Image(self._ground, document, self._base_id, self._created_ns)

    async def carry_out(self, step: df.Instruction, progress: StepProgress) -> None:
        """The next instruction."""
        self._number += 1
        await progress.begin()
        step = self._scope.read(step, self._config.variables)
        if isinstance(step, df.Run):
            end = await self._run(step, progress)
        elif isinstance(step, df.Copy):
            end = await self._copy(step)
        elif isinstance(step, df.Workdir):
            end = await self._workdir(step)
        else:
            end = await self._configure(step)
        self._base_id = ""
        await progress.end(end)

    async def _configure(self, step: df.Instruction) -> pb.StepEnd:
        text = configure.text(self._config, step)
        self._config = configure.apply(self._config, step, self._scope.file, command_given=self._command_given)
        self._command_given |= isinstance(step, df.Cmd)
        if isinstance(step, df.Arg):
            self._scope.declare(step)
        elif isinstance(step, df.Maintainer):
            self._document = replace(self._document, author=step.author)
        return await self._note(text)

    async def _note(self, text: str) -> pb.StepEnd:
        """An instruction that changed no file: it is remembered, so that it has the same time in a rebuild."""
        inputs = Inputs(ground=self._ground.key, instruction=text, settings={"number": str(self._number)})
        key = keys.key_of(inputs)
        build = self._build
        found = build.configured.get(key) or await build.state.store.read(
            lambda connection: records.find(connection, key))
        cached = found is not None and not build.rules_of(self._name).no_cache
        if found is None or not cached:
            found = Record(
                key=key, type=records.CONFIG, parent=self._ground.key, place=self._place(), snapshot="", inputs=inputs,
                created_ns=time.time_ns(),
            )
            build.configured[key] = found
        else:
            build.hold([key])
        self._record(found.created_ns, history.setting(self._config.command_shell, text), layer=False)
        return pb.StepEnd(cached=cached, cache_key=key, chain_id=self._ground.chain_id)

    async def _workdir(self, step: df.Workdir) -> pb.StepEnd:
        self._config = configure.apply(self._config, step, self._scope.file)
        path = self._config.working_dir or "/"
        if path == "/":
            return await self._note("WORKDIR /")
        ground, user = self._ground, self._config.user or ""

        @asynccontextmanager
        async def work(key: str) -> AsyncIterator[Worked]:
            async with snapshots.writable(self._build.state, self._build.namespace, ground, key):
                await snapshots.make_directory(self._build.state, key, path, user)
                yield Worked()

        inputs = Inputs(ground=ground.key, instruction=f"WORKDIR {path}", settings={"user": user})
        text = history.no_command(self._config.command_shell, f"WORKDIR {path}")
        return self._layer(await self._carry_out(step, inputs, work, text), text)

    async def _copy(self, step: df.Copy) -> pb.StepEnd:
        build, ground = self._build, self._ground
        found = await copying.prepare(build, ground, self._config, step, self._find)
        kind = "file" if len(found.parts) == 1 else "multi"
        owner = f"--chown={step.chown} " if step.chown else ""
        text = f"{copying.verb(step)} {owner}{kind}:{found.digest} in {step.target} "
        text = history.no_command(self._config.command_shell, text)
        done = await self._carry_out(
            step, found.inputs, lambda key: copying.carry_out(build, key, ground, found), text)
        return self._layer(done, text)

    async def _run(self, step: df.Run, progress: StepProgress) -> pb.StepEnd:
        build, config, scope = self._build, self._config, self._scope
        network = self._network(step)
        wanted = await mounts.prepare(build, config, step, self._find)
        words, shown = self._words(step)
        if _is_program(step):
            wanted.append(mounts.program(step.heredocs[0]))
        arguments = {name: value for name, value in scope.arguments.items() if name not in config.variables}
        inputs = Inputs(
            ground=self._ground.key, instruction=f"RUN {shown}", arguments=arguments, files=mounts.files(wanted),
            settings={
                "words": json.dumps(words), "environment": json.dumps(config.env or []), "user": config.user or "",
                "directory": config.working_dir or "/", "network": network, **mounts.settings(wanted),
            },
        )
        ground = self._ground

        @asynccontextmanager
        async def work(key: str) -> AsyncIterator[Worked]:
            async with build.turns, mounts.made(build, wanted) as made:
                command = Command(
                    words, shown, config, arguments, {**scope.proxies, **made.variables}, network, made.specs,
                    made.points, made.secret_env)
                async with running.run(build.state, key, ground, command, build.around, progress) as worked:
                    yield worked

        text = history.command(words, arguments)
        return self._layer(await self._carry_out(step, inputs, work, text), text)

    def _words(self, step: df.Run) -> tuple[list[str], str]:
        """What is started, and how an error names it."""
        if not step.heredocs:
            words = configure.command(self._config, step.command)
            return words, " ".join(words)
        first = step.heredocs[0]
        if not step.heredoc_only:
            behind = "".join(f"{each.raw}{each.name}\n" for each in step.heredocs)
            words = [*self._config.command_shell, f"{step.command.shell}\n{behind}"]
        elif _is_program(step):
            words = [mounts.program(first).target]
        else:
            words = [*self._config.command_shell, first.text]
        return words, " ".join([*self._config.command_shell, step.command.shell])

    def _network(self, step: df.Run) -> str:
        """Of this command. What the Dockerfile asks for never exceeds what the client has granted (CVE-2024-23653)."""
        granted = self._build.options.network or "default"
        if step.security != "sandbox":
            raise bad(step, "security.insecure is not allowed")
        if step.network == "host" and granted != "host":
            raise bad(step, "network.host is not allowed")
        return granted if step.network == "default" else step.network

    async def _carry_out(self, step: df.Instruction, inputs: Inputs, work: steps.Work, created_by: str) -> Done:
        build = self._build
        found = None
        if build.cache_images and offers.is_whole(step) and not build.rules_of(self._name).no_cache:
            found = offers.offer(build.cache_images, self._ground, self._history, created_by)
        if found is not None:
            work = offers.taken(build, found)
        done = await steps.carry_out(build.state, self._place(), inputs, build.rules_of(self._name), work)
        build.hold([done.record.key])
        return Done(done.record, cached=True) if found is not None else done

    def _layer(self, done: Done, created_by: str) -> pb.StepEnd:
        self._ground = done.ground
        self._record(done.record.created_ns, created_by, layer=bool(done.record.layer))
        return pb.StepEnd(
            cached=done.cached, miss=done.miss, cache_key=done.record.key, chain_id=done.record.chain_id)

    def _record(self, created_ns: int, created_by: str, *, layer: bool) -> None:
        when = self._build.clamped(created_ns)
        self._created_ns = max(self._created_ns, when)
        author = self._document.author or ""
        self._history.append(history.entry(when, created_by, layer=layer, author=author))

    def _place(self) -> str:
        return self._build.place(self._name, self._number)
