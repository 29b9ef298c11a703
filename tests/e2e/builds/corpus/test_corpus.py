"""Each instruction and flag, as Debian's builder carries it out; where Pier differs, the Dockerfile says why."""

import fnmatch
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.e2e.builds.corpus import context
from tests.e2e.builds.corpus.cases import cases
from tests.e2e.builds.corpus.facts import images
from tests.e2e.builds.corpus.recorded import BASE, Facts, facts, reference

CASES = [case for case in cases() if not case.name.endswith("_older")]
TIME = 4


@dataclass(frozen=True)
class Built:
    """What Pier has made; ``failures`` say by a case's name why it was not built."""

    images: dict[str, Facts]
    failures: dict[str, str]


@pytest.fixture(scope="module")
def built(engine, tmp_path_factory):
    directory = tmp_path_factory.mktemp("context")
    context.make(directory)

    def build(case):
        done = engine.docker("build", "-q", "-t", case.tag, "-f", str(case.dockerfile), *case.options, str(directory))
        return case, "" if done.returncode == 0 else done.stdout + done.stderr

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(build, CASES))
    tags = [case.tag for case, failure in results if not failure]
    found = images(engine.docker("save", BASE, *tags, text=False).stdout)
    made = {case.name: facts(found[case.tag], found[BASE]) for case, failure in results if not failure}
    return Built(made, {case.name: failure for case, failure in results if failure})


@pytest.fixture(scope="module")
def expected():
    return reference()


def image(built, case):
    assert case.name not in built.failures, built.failures[case.name]
    return built.images[case.name]


def differing(case, made, wanted):
    """Paths that differ and of which that is not known. What is known to differ must do so."""
    paths = {path for path in made.keys() | wanted.keys() if made.get(path) != wanted.get(path)}
    for known in case.differs:
        assert known == "history" or fnmatch.filter(paths, known), f"{known} does not differ any more"
    return {path: (made.get(path), wanted.get(path)) for path in sorted(paths) if not case.is_known(path)}


@pytest.mark.parametrize("case", [case for case in CASES if not case.older], ids=lambda case: case.name)
def test_config_history_and_files_are_those_of_debians_builder(built, expected, case):
    made, wanted = image(built, case), expected[case.name]
    assert (made.config, made.author) == (wanted.config, wanted.author)
    assert differing(case, made.files, wanted.files) == {}
    assert made.removed == wanted.removed
    if not case.is_known("history"):
        assert made.history == wanted.history
    else:
        assert made.history != wanted.history, "it does not differ any more"


@pytest.mark.parametrize("case", [case for case in CASES if case.older], ids=lambda case: case.name)
def test_newer_syntax_gives_the_files_of_the_same_in_older(built, expected, case):
    made, wanted = image(built, case), expected[case.older]
    assert differing(case, without_times(made.files), without_times(wanted.files)) == {}
    assert made.removed == wanted.removed


def without_times(files):
    """A file that RUN makes is new where the same from the context is old."""
    return {path: file[:TIME] for path, file in files.items()}
