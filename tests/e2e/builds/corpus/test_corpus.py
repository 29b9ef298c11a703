"""Each instruction and flag, as Debian's builders carry it out; where Pier differs, the Dockerfile says why."""

import fnmatch
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.e2e.builds.conftest import forget
from tests.e2e.builds.corpus import context
from tests.e2e.builds.corpus.buildah import Buildah
from tests.e2e.builds.corpus.cases import REFUSED, cases
from tests.e2e.builds.corpus.facts import images
from tests.e2e.builds.corpus.recorded import BASE, BUILDAH, DOCKER, Facts, facts, recorded_of_buildah, reference

CASES = [case for case in cases() if not case.name.endswith("_older")]
TIME = 4


@dataclass(frozen=True)
class Built:
    """What Pier has made; ``failures`` say by a case's name why it was not built."""

    images: dict[str, Facts]
    failures: dict[str, str]


@pytest.fixture(scope="module")
def built(engine, tmp_path_factory):
    above = tmp_path_factory.mktemp("contexts")
    places = {case.name: context.of(case, above) for case in CASES}

    def build(case):
        dockerfile, files = places[case.name]
        done = engine.docker("build", "-q", "-t", case.tag, "-f", str(dockerfile), *case.options, str(files))
        return case, "" if done.returncode == 0 else done.stdout + done.stderr

    with context.served(above / "served"), ThreadPoolExecutor(3) as pool:
        results = list(pool.map(build, CASES))
    tags = [case.tag for case, failure in results if not failure]
    found = images(engine.docker("save", BASE, *tags, text=False).stdout)
    made = {case.name: facts(found[case.tag], found[BASE]) for case, failure in results if not failure}
    forget(engine)
    return Built(made, {case.name: failure for case, failure in results if failure})


def image(built, case):
    assert case.name not in built.failures, built.failures[case.name]
    return built.images[case.name].flat()


def differing(known, made, wanted):
    """What differs and of which that is not known. What is known to differ must do so."""
    names = {name for name in made.keys() | wanted.keys() if made.get(name) != wanted.get(name)}
    for pattern in known:
        assert fnmatch.filter(names, pattern), f"{pattern} does not differ any more"
    return {name: (made.get(name), wanted.get(name)) for name in sorted(names)
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in known)}


def files(found, *, times=True):
    """A file that RUN makes is new where the same from the context is old."""
    return {name: value if times else value[:TIME] for name, value in found.items() if name.startswith("/")}


@pytest.mark.parametrize("case", [case for case in CASES if not case.older], ids=lambda case: case.name)
def test_config_history_and_files_are_those_of_debians_builder(built, case):
    wanted = reference(DOCKER)[case.name].flat()
    assert differing(case.differs, image(built, case), wanted) == {}


@pytest.mark.parametrize("case", [case for case in CASES if case.older], ids=lambda case: case.name)
def test_newer_syntax_gives_the_files_of_the_same_in_older(built, case):
    wanted = reference(DOCKER)[case.older].flat()
    made = image(built, case)
    assert differing(case.differs, files(made, times=False), files(wanted, times=False)) == {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_config_and_files_are_those_of_buildah(built, case):
    """Its history has words of its own, and WORKDIR no layer."""
    found = reference(BUILDAH).get(case.name)
    assert (found is None) == (REFUSED in case.buildah)
    if found is not None:
        wanted, made = found.flat(), image(built, case)
        assert differing(case.buildah, {**made, "history": ""}, {**wanted, "history": ""}) == {}


def test_what_was_recorded_of_buildah_is_what_it_makes_here(tmp_path):
    """What the versions of both Debians know; Debian 12's runs no command in a world."""
    few = [case for case in cases() if case.name in ("copy_files", "chmod_forms", "ignore_patterns")]
    made, failures = recorded_of_buildah(Buildah(tmp_path), few)
    wanted = reference(BUILDAH)
    assert failures == {}
    for case in few:
        assert (made[case.name].config, made[case.name].files) == (wanted[case.name].config, wanted[case.name].files)


@pytest.mark.parametrize(("line", "code", "words"), [
    ("RNU x", 1, "unknown instruction: RNU"), ("EXPOSE x", 1, "invalid containerPort: x"),
    ("COPY a.txt b.txt /x", 1, "When using COPY with more than one source file, the destination must be a directory"),
    ("COPY none /x", 1, "COPY failed: file not found in build context or excluded by .dockerignore"),
    ("ADD *.none /x/", 1, "no source files were specified"), ("STOPSIGNAL SIGNONE", 1, "Invalid signal: SIGNONE"),
    ("COPY --chown=nobodyhere a.txt /", 1, "can't find uid for user nobodyhere: no such user: nobodyhere"),
    ("RUN exit 3", 3, "The command '/bin/sh -c exit 3' returned a non-zero code: 3"),
    ("USER nobodyhere\nRUN true", 1, "unable to find user nobodyhere: no matching entries in passwd file"),
    ("ENV A=${B:?needed}", 1, "B: needed"),
    # No error of docker.io's, or less of one.
    ("COPY A.TXT /x", 1, "Dockerfile:2: COPY failed: file not found in build context or excluded by .dockerignore: l"),
    ("COPY A.TXT /x", 1, "lstat /A.TXT: no such file or directory (did you mean a.txt?)"),
    ("COPY b.tx /x", 1, "(did you mean b.txt?)"), ("COPY DIR/fil /x", 1, "(did you mean dir?)"),
    ("WORKDIR /etc/passwd", 1, "Dockerfile:2: mkdir /etc/passwd: not a directory"),
    ("COPY --from=buidl / /", 1, "Dockerfile:2: buidl: no stage has this name (did you mean build?), nor an image"),
    ("COPY http://localhost/x /x", 1, "source can't be a URL for COPY"),
    ("COPY http://localhost/x.git /x", 1, "source can't be a git ref for COPY"),
    ("ADD --checksum=sha256:0 a.txt /x", 1, "checksum requires HTTP(S) or Git sources"),
    ("ADD --checksum=sha256:0 a.txt b.txt /x/", 1, "checksum can't be specified for multiple sources"),
    ("COPY --chmod=u=q a.txt /x", 1, "invalid chmod parameter: 'u=q'"),
    ("FROM --platform=amd64 busybox\nENV A=${B:?there}", 1, "line 3: B: there"),
])
def test_what_debians_builder_refuses_is_refused_in_its_words(builder, line, code, words):
    builder.write("a.txt", "a")
    builder.write("b.txt", "b")
    builder.write("dir/file", "")
    done = builder.docker(dockerfile=f"FROM busybox AS build\n{line}\n")
    assert done.returncode == code
    assert words.lower() in done.stderr.lower()
