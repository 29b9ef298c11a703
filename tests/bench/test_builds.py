"""Builds beside those of docker.io's builder, in turns in one run, by the same docker command.

The limits are ratios; seconds are printed for people. dockerd has its own root, with overlay2 as on any host.
"""

import itertools
import os
import statistics
import time

import pytest

pytestmark = pytest.mark.bench

ROUNDS = int(os.environ.get("PIER_BENCH_ROUNDS", "3"))
LARGE = 500 << 20
SMALL_FILES = 30_000
SLEEP = 2.0
STAGES = 4
STEPS = """FROM busybox
ARG ROUND
RUN echo $ROUND > /1
COPY one /one
RUN cat /one > /2
WORKDIR /w
RUN echo 3 > 3
CMD sh
"""


def build(engine, context, *arguments):
    began = time.perf_counter()
    done = engine.docker("build", "-t", "measured", *arguments, str(context), timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - began


def in_turns(engines, measure):
    """{name: median seconds} of ``measure`` (an engine and a round's number), and the ratio."""
    samples: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(ROUNDS):
        for name, engine in engines.items():
            samples[name].append(measure(engine, number))
    return {name: statistics.median(times) for name, times in samples.items()}


def report(title, found):
    print(f"\n{title}: " + ", ".join(f"{name} {seconds:.3f} s" for name, seconds in found.items())
          + f", x {found['docker'] / found['pier']:.2f}")


def test_six_steps_cold_and_cached(engines, tmp_path):
    (tmp_path / "one").write_text("1")
    (tmp_path / "Dockerfile").write_text(STEPS)
    rounds = itertools.count()
    report("6 steps, cold", cold := in_turns(
        engines, lambda engine, _: build(engine, tmp_path, "--build-arg", f"ROUND={next(rounds)}")))
    for engine in engines.values():
        build(engine, tmp_path, "--build-arg", "ROUND=same")
    report("6 steps, cached", in_turns(
        engines, lambda engine, _: build(engine, tmp_path, "--build-arg", "ROUND=same")))
    assert cold["docker"] / cold["pier"] >= 2


def test_a_large_context_of_which_little_is_copied(engines, tmp_path):
    with open(tmp_path / "large", "wb") as file:
        block = os.urandom(1 << 20)
        file.writelines(block for _ in range(LARGE >> 20))
    (tmp_path / "small").write_text("1")
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY small /small\n")
    report("500 MB of context", in_turns(engines, lambda engine, _: build(engine, tmp_path, "--no-cache")))


def test_many_small_files(engines, tmp_path):
    for number in range(SMALL_FILES):
        path = tmp_path / f"tree/{number // 300}/{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number) * 40)
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY tree /tree\n")
    report("30,000 small files, cold", in_turns(engines, lambda engine, _: build(engine, tmp_path, "--no-cache")))
    report("30,000 small files, cached", in_turns(engines, lambda engine, _: build(engine, tmp_path)))


def test_independent_stages_take_as_long_as_the_longest(engines, tmp_path):
    stages = "".join(f"FROM busybox AS s{number}\nRUN sleep {SLEEP} && echo {number} > /s{number}\n"
                     for number in range(STAGES))
    copies = "".join(f"COPY --from=s{number} /s{number} /\n" for number in range(STAGES))
    (tmp_path / "Dockerfile").write_text(f"{stages}FROM busybox\n{copies}")
    report("four stages of 2 s", found := in_turns(
        engines, lambda engine, _: build(engine, tmp_path, "--no-cache")))
    assert found["pier"] < 2 * SLEEP
