"""Build checks, by BuildKit's names and in its words."""

import pytest

from buildd.dockerfile import checks, rules
from buildd.dockerfile.graph import needed
from buildd.dockerfile.instructions import Finding, Location
from buildd.dockerfile.parser import parse
from buildd.dockerfile.stage_checks import Base
from chassis.errors import InvalidArgument

PLATFORMS = {"BUILDPLATFORM": "linux/amd64", "TARGETPLATFORM": "linux/amd64"}
ALL = "experimental=all"


def findings(*lines, options=ALL, given=None, bases=None, is_ignored=None, target=""):
    dockerfile = parse("\n".join(lines).encode())
    graph = needed(dockerfile, target, given, PLATFORMS)
    return checks.check(dockerfile, graph, rules.options(options), given, bases, is_ignored)


def found(*lines, **options):
    return [(finding.rule, finding.location.first, finding.message) for finding in findings(*lines, **options)]


MULTIPLE = "Multiple {} instructions should not be used in the same stage because only the last one will be used"
JSON = "JSON arguments recommended for {} to prevent unintended behavior related to OS signals"
REDUNDANT = (
    "Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior"
)
PUBLISHED = (
    "EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'"
)
SECRET = "Do not use ARG or ENV instructions for sensitive data ({})"


def test_every_check_of_the_reference_has_its_message():
    """docs.docker.com/reference/build-checks, each by its name."""
    assert sorted(rules.MESSAGES) == [
        "ConsistentInstructionCasing", "CopyIgnoredFile", "DuplicateStageName", "ExposeInvalidFormat",
        "ExposeProtoCasing", "FromAsCasing", "FromPlatformFlagConstDisallowed", "InvalidBaseImagePlatform",
        "InvalidDefaultArgInFrom", "InvalidDefinitionDescription", "JSONArgsRecommended", "LegacyKeyValueFormat",
        "MaintainerDeprecated", "MultipleInstructionsDisallowed", "NoEmptyContinuation", "RedundantTargetPlatform",
        "ReservedStageName", "SecretsUsedInArgOrEnv", "StageNameCasing", "UndefinedArgInFrom", "UndefinedVar",
        "WorkdirRelativePath",
    ]


@pytest.mark.parametrize(("lines", "expected"), [
    (["FROM scratch AS Bad"], [("StageNameCasing", 1, "Stage name 'Bad' should be lowercase")]),
    (["FROM scratch as x"], [("FromAsCasing", 1, "'as' and 'FROM' keywords' casing do not match")]),
    (["from scratch AS x"], [("FromAsCasing", 1, "'AS' and 'from' keywords' casing do not match")]),
    (["FROM scratch", "COPY a \\", "", " b"], [("NoEmptyContinuation", 4, "Empty continuation line")]),
    (["FROM scratch", "copy a b", "COPY c d"],
     [("ConsistentInstructionCasing", 2, "Command 'copy' should match the case of the command majority (uppercase)")]),
    (["FROM scratch", "copy a b"],
     [("ConsistentInstructionCasing", 2, "Command 'copy' should match the case of the command majority (uppercase)")]),
    (["frOM scratch AS x", "from x"],
     [("ConsistentInstructionCasing", 1, "Command 'frOM' should match the case of the command majority (lowercase)")]),
    (["FROM scratch AS b", "FROM scratch AS b"],
     [("DuplicateStageName", 2, 'Duplicate stage name "b", stage names should be unique')]),
    (["FROM a AS scratch", "FROM a AS context"], [
        ("ReservedStageName", 1, 'Stage name should not use the same name as reserved stage "scratch"'),
        ("ReservedStageName", 2, 'Stage name should not use the same name as reserved stage "context"')]),
    (["FROM scratch", "CMD x", "ENTRYPOINT y"], [
        ("JSONArgsRecommended", line, JSON.format(name)) for line, name in ((2, "CMD"), (3, "ENTRYPOINT"))]),
    (["FROM scratch AS x", 'SHELL ["y"]', "FROM x", "CMD z"], []),
    (["FROM scratch", "MAINTAINER x"],
     [("MaintainerDeprecated", 2, "Maintainer instruction is deprecated in favor of using label")]),
    (["ARG tag=1", "FROM a:${tag}${version}"],
     [("UndefinedArgInFrom", 2, "FROM argument 'version' is not declared")]),
    (["ARG VERSION", "FROM a:x${VERSION}${VERSIN}"],
     [("UndefinedArgInFrom", 2, "FROM argument 'VERSIN' is not declared (did you mean VERSION?)")]),
    (["ARG DEBUG", "FROM scra${DEBUG:-tch}"], []), (["FROM --platform=$BUILDPLATFORM scratch"], []),
    (["FROM scratch", "ARG foo", "COPY a${foo} b$PATH"], []),
    (["FROM scratch", "COPY $foo .", "ARG foo=1"], [("UndefinedVar", 2, "Usage of undefined variable '$foo'")]),
    (["FROM scratch", "ENV PATH=$PAHT:/x"],
     [("UndefinedVar", 2, "Usage of undefined variable '$PAHT' (did you mean $PATH?)")]),
    (["FROM a", "COPY $foo ."], []),
    (["FROM scratch AS x", "ARG foo=1", "FROM x", "COPY $foo ."], []),
    (["FROM scratch", "WORKDIR app/"],
     [("WorkdirRelativePath", 2, 'Relative workdir "app/" can have unexpected results if the base image changes')]),
    (["FROM scratch AS a", "WORKDIR /app", "FROM a", "WORKDIR sub"], []),
    (["FROM scratch", 'ENTRYPOINT ["a"]', "COPY a b", 'ENTRYPOINT ["b"]', 'CMD ["a"]', 'CMD ["b"]',
      "HEALTHCHECK NONE", "HEALTHCHECK NONE"], [
          ("MultipleInstructionsDisallowed", line, MULTIPLE.format(name))
          for line, name in ((2, "ENTRYPOINT"), (5, "CMD"), (7, "HEALTHCHECK"))]),
    (["FROM scratch AS a", 'CMD ["a"]', "FROM a", 'CMD ["a"]'], []),
    (["FROM scratch", "ENV a b", "LABEL a b", "ENV c=d"], [
        ("LegacyKeyValueFormat", 2, '"ENV key=value" should be used instead of legacy "ENV key value" format'),
        ("LegacyKeyValueFormat", 3, '"LABEL key=value" should be used instead of legacy "LABEL key value" format')]),
    (["FROM --platform=${TARGETPLATFORM} scratch"], [("RedundantTargetPlatform", 1, REDUNDANT)]),
    (["FROM scratch", "ARG SECRET_PASSPHRASE", "ENV SUPER_Secret=x", "ENV PUBLIC_KEY= keyboard=x", "ARG a_token=1"], [
        ("SecretsUsedInArgOrEnv", 2, SECRET.format('ARG "SECRET_PASSPHRASE"')),
        ("SecretsUsedInArgOrEnv", 3, SECRET.format('ENV "SUPER_Secret"')),
        ("SecretsUsedInArgOrEnv", 5, SECRET.format('ARG "a_token"'))]),
    (["FROM --platform=linux/amd64 scratch"],
     [("FromPlatformFlagConstDisallowed", 1, 'FROM --platform flag should not use constant value "linux/amd64"')]),
    (["FROM --platform=linux/amd64 scratch AS my_amd64"], []),
    (["FROM scratch", "EXPOSE 80/TCP 81/udp"],
     [("ExposeProtoCasing", 2, "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase")]),
    (["FROM scratch", "EXPOSE 127.0.0.1:80:80 81"], [("ExposeInvalidFormat", 2, PUBLISHED)]),
    (["# bar this is", "ARG foo=1", "# Base is", "FROM scratch AS base", "# no", "ARG a b"], [
        ("InvalidDefinitionDescription", 2, "Comment for ARG should follow the format: `# foo <description>`"),
        ("InvalidDefinitionDescription", 4, "Comment for FROM should follow the format: `# base <description>`"),
        ("InvalidDefinitionDescription", 6, "Comment for ARG should follow the format: `# <arg_key> <description>`")]),
    (["# foo is", "ARG foo", "# none", "", "FROM scratch AS base", "# none", "#", "ARG bit", "# x", "COPY a b"], []),
])
def test_each_check_finds_what_it_is_for(lines, expected):
    assert found(*lines) == expected


def test_a_default_that_names_no_image_is_found_where_a_build_argument_hides_it():
    lines = ("ARG VERSION", "FROM a:$VERSION")
    assert found(*lines, given={"VERSION": "1"}) == [(
        "InvalidDefaultArgInFrom", 2, "Default value for ARG a:$VERSION results in empty or invalid base image name")]
    assert found("ARG VERSION=1", *lines[1:], given={"VERSION": "2"}) == []


@pytest.mark.parametrize("image", [
    "busybox", "busybox:1.36", "host:5000/a/b_c.d-e:T_1", "localhost/x@sha256:" + "0" * 64, "[::1]:5000/x", "a/b",
])
def test_an_image_that_can_be_pulled_is_not_found(image):
    assert found(f"FROM {image}") == []


def test_what_is_known_of_the_base_image_counts():
    lines = ("FROM a", "COPY $HOME $HOEM", "CMD x")
    bases = {"a": Base({"HOME": "/"}, has_shell=True)}
    assert found(*lines, bases=bases) == [
        ("UndefinedVar", 2, "Usage of undefined variable '$HOEM' (did you mean $HOME?)")]


def test_sources_that_are_ignored_are_found():
    lines = ("FROM scratch AS x", "COPY Dockerfile .", "ADD ./Dockerfile http://x/Dockerfile /", "FROM x",
             "COPY --from=x Dockerfile .", "COPY . .")
    assert found(*lines, is_ignored=lambda path: path == "Dockerfile") == [
        ("CopyIgnoredFile", 2, 'Attempting to Copy file "Dockerfile" that is excluded by .dockerignore'),
        ("CopyIgnoredFile", 3, 'Attempting to Add file "Dockerfile" that is excluded by .dockerignore')]


def test_instructions_of_stages_that_are_not_needed_are_not_checked():
    lines = ("FROM scratch AS a", "CMD x", "FROM scratch AS b")
    assert found(*lines) == []
    assert [rule for rule, _, _ in found(*lines, target="a")] == ["JSONArgsRecommended"]


def test_an_expansion_that_fails_is_left_to_the_build():
    assert found("FROM scratch", "ENV A=${B:?no}", "CMD x") == []


LOWER = ("FROM scratch as base", "copy a b")


@pytest.mark.parametrize(("options", "expected"), [
    ("", ["FromAsCasing", "ConsistentInstructionCasing"]), ("skip=all", []),
    ("skip=ConsistentInstructionCasing, FromAsCasing", []),
    ("skip=ConsistentInstructionCasing;error=true", ["FromAsCasing"]),
    ("error=1;experimental=all;skip=FromAsCasing", ["ConsistentInstructionCasing"]),
])
def test_checks_are_left_out_by_name(options, expected):
    assert [finding.rule for finding in findings(*LOWER, options=options)] == expected


def test_experimental_checks_count_where_they_are_asked_for_only():
    lines = ("# no", "FROM scratch AS base")
    for options, count in (("", 0), ("experimental=InvalidDefinitionDescription;skip=all", 1), ("experimental=all", 1)):
        assert len(findings(*lines, options=options)) == count


def test_findings_are_errors_where_the_file_says_so():
    finding = Finding("FromAsCasing", "x", Location(1, 1))
    rules.refuse([finding], rules.options("error=false"))
    rules.refuse([], rules.options("error=true"))
    with pytest.raises(InvalidArgument, match="lint violation found for rules: FromAsCasing"):
        rules.refuse([finding, finding], rules.options("skip=x;error=True"))


@pytest.mark.parametrize("text", ["x", "skip", "error=maybe", "skpi=all", ";"])
def test_an_option_that_is_none_is_refused(text):
    with pytest.raises(InvalidArgument, match="invalid check option"):
        rules.options(text)


def test_a_file_gets_so_many_findings_and_no_more():
    assert len(findings("FROM scratch", *["copy a b", "COPY a b"] * 3000)) == 1000
    assert len(findings("FROM scratch", *["COPY $a b"] * 3000)) == 1000


def test_variables_that_double_are_followed_only_so_far():
    findings("FROM scratch", "ENV A=" + "x" * 1000, *["ENV A=$A$A"] * 200)
