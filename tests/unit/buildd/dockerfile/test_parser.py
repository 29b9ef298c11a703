"""A Dockerfile's text to instructions."""

import pytest

from buildd.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Location,
    Maintainer,
    OnBuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from buildd.dockerfile.lines import INSTRUCTION_MAX, INSTRUCTIONS_MAX, LINE_MAX, SIZE_MAX, TEXT_MAX
from buildd.dockerfile.parser import parse
from chassis.errors import InvalidArgument, Unimplemented

SECOND = 10**9


def steps(*lines, directives=""):
    """The instructions of one stage."""
    text = directives + "FROM scratch\n" + "\n".join(lines)
    (stage,) = parse(text.encode()).stages
    return stage.steps


def only(*lines, directives=""):
    (step,) = steps(*lines, directives=directives)
    return step


def refused(*lines):
    """What is said of a file."""
    with pytest.raises(InvalidArgument) as caught:
        parse("\n".join(lines).encode())
    return caught.value


def test_every_instruction_has_its_value_and_its_lines():
    found = steps(
        "ARG A B=1", "RUN echo hi", 'RUN ["a", "b c"]', "COPY a b /c/", "ADD --chown=1:2 x.tar /", "ENV A=1 B=$A",
        "LABEL a.b='c d'", "CMD echo", 'ENTRYPOINT ["e"]', 'SHELL ["/bin/bash", "-c"]', "EXPOSE 80/udp 53",
        "VOLUME /a /b",
        "USER me:us", "WORKDIR /a b", "STOPSIGNAL SIGINT", "HEALTHCHECK NONE", "ONBUILD RUN x", "MAINTAINER a b <c>",
    )
    assert found == (
        Arg(Location(2, 2), "ARG A B=1", (("A", None), ("B", "1"))),
        Run(Location(3, 3), "RUN echo hi", Command(None, "echo hi")),
        Run(Location(4, 4), 'RUN ["a", "b c"]', Command(("a", "b c"))),
        Copy(Location(5, 5), "COPY a b /c/", ("a", "b"), "/c/"),
        Add(Location(6, 6), "ADD --chown=1:2 x.tar /", ("x.tar",), "/", chown="1:2"),
        Env(Location(7, 7), "ENV A=1 B=$A", (("A", "1"), ("B", "$A"))),
        Label(Location(8, 8), "LABEL a.b='c d'", (("a.b", "'c d'"),)),
        Cmd(Location(9, 9), "CMD echo", Command(None, "echo")),
        Entrypoint(Location(10, 10), 'ENTRYPOINT ["e"]', Command(("e",))),
        Shell(Location(11, 11), 'SHELL ["/bin/bash", "-c"]', ("/bin/bash", "-c")),
        Expose(Location(12, 12), "EXPOSE 80/udp 53", ("53", "80/udp")),
        Volume(Location(13, 13), "VOLUME /a /b", ("/a", "/b")),
        User(Location(14, 14), "USER me:us", "me:us"),
        Workdir(Location(15, 15), "WORKDIR /a b", "/a b"),
        StopSignal(Location(16, 16), "STOPSIGNAL SIGINT", "SIGINT"),
        Healthcheck(Location(17, 17), "HEALTHCHECK NONE", None),
        OnBuild(Location(18, 18), "ONBUILD RUN x", "RUN x"),
        Maintainer(Location(19, 19), "MAINTAINER a b <c>", "a b <c>"),
    )


def test_names_of_instructions_are_read_in_any_case_and_kept_as_they_are():
    step = only("rUn x")
    assert isinstance(step, Run)
    assert (step.original, step.keyword) == ("rUn x", "RUN")


def test_stages_have_their_arguments_names_and_platforms():
    found = parse(b"ARG V=1\nARG W\nFROM --platform=$BUILDPLATFORM a:$V As Builder\nRUN x\nFROM Builder\n")
    assert [argument.entries for argument in found.arguments] == [(("V", "1"),), (("W", None),)]
    assert [(stage.index, stage.name, stage.base.image, stage.base.platform) for stage in found.stages] == [
        (0, "builder", "a:$V", "$BUILDPLATFORM"), (1, "1", "Builder", ""),
    ]


@pytest.mark.parametrize("text", [
    b"\xef\xbb\xbfFROM a\nRUN x", b"FROM a\r\nRUN x\r\n", b"\n\n  FROM a\n\tRUN x\n\n",
    b"# hi \xff\nFROM a\n#\n  # x\nRUN x",
    b"FROM \\\n a\nRUN x", b"FROM a\nRUN x \\\n", b"FROM a\nRUN \\  \n# hi\n\n\tx",
])
def test_marks_blanks_comments_and_continuations_change_nothing(text):
    (stage,) = parse(text).stages
    assert stage.base.image == "a"
    (step,) = stage.steps
    assert isinstance(step, Run)
    assert step.command.shell == "x"


def test_blanks_before_a_continued_part_stay_in_the_command():
    step = only("RUN a && \\", "    b")
    assert step.original == "RUN a &&     b"
    assert step.location == Location(2, 3)


def test_a_doubled_escape_character_continues_nothing():
    assert only("RUN echo \\\\").command.shell == "echo \\\\"


def test_directives_are_read_at_the_beginning_only():
    found = parse(b"# Syntax = docker/dockerfile:1.7\n#escape=`\n# check=skip=all\nFROM a\nRUN x `\n y\\\n")
    assert found.directives == {"syntax": "docker/dockerfile:1.7", "escape": "`", "check": "skip=all"}
    assert found.escape == "`"
    assert found.stages[0].steps[0].original == "RUN x  y\\"
    assert parse(b"#\n# escape=`\nFROM a").escape == "\\"
    assert parse(b"# hello\n# escape=`\nFROM a").escape == "\\"
    assert parse(b"\n# escape=`\nFROM a").directives == {}


def test_comments_right_above_an_instruction_and_empty_continuations_are_kept():
    found = parse(b"# a b\n# c\nFROM x\n# gone\n\nRUN x \\\n\n y\n# gone\n#\nRUN y")
    assert found.comments == {3: ("a b", "c")}
    assert found.empty_continuations == (Location(6, 8),)


@pytest.mark.parametrize(("line", "expected"), [
    ("CMD []", Command(())), ("CMD [ ]", Command(())), ('CMD  ["a" ]', Command(("a",))),
    ("CMD ['a']", Command(None, "['a']")), ('CMD ["a",]', Command(None, '["a",]')),
    ('CMD ["a"] b', Command(None, '["a"] b')),
    ("CMD [ -f x ] && y", Command(None, "[ -f x ] && y")), ('CMD ["\\ud800"]', Command(("?",))),
    ('CMD ["\\u0041\\n"]', Command(("A\n",))), ("CMD [NaN]", Command(None, "[NaN]")),
    ('CMD "a"', Command(None, '"a"')), ("CMD " + "[" * 5000, Command(None, "[" * 5000)),
])
def test_what_is_no_json_array_is_the_shells(line, expected):
    assert only(line).command == expected


@pytest.mark.parametrize(("line", "expected"), [
    ("ENV A b c", (("A", "b c"),)), ("ENV A  'b'  c", (("A", "'b'  c"),)), ("ENV A=b c=d\\ e f='g h'", (
        ("A", "b"), ("c", "d\\ e"), ("f", "'g h'"))),
    ('ENV A="x\\" y" B=', (("A", '"x\\" y"'), ("B", ""))), ("ENV A=b=c", (("A", "b=c"),)),
    ("ENV A=\"it's\" B='\"' C=x", (("A", '"it\'s"'), ("B", "'\"'"), ("C", "x"))),
    ("ENV A='it\\' B=x", (("A", "'it\\'"), ("B", "x"))),
])
def test_pairs_are_read_in_the_new_and_in_the_old_form(line, expected):
    assert only(line).entries == expected


@pytest.mark.parametrize(("line", "expected"), [
    ("--from=a --chown=b:c --chmod=755 --link --parents --exclude=*.o --exclude=x", Copy(
        Location(2, 2), "", ("s",), "t", (), "a", "b:c", "755", True, True, ("*.o", "x"))),
    ("--link=false --from=0", Copy(Location(2, 2), "", ("s",), "t", (), "0")),
    ("--chown='a b' --", Copy(Location(2, 2), "", ("s",), "t", (), "", "a b")),
])
def test_copy_has_its_flags(line, expected):
    step = only(f"COPY {line} s t")
    assert step == Copy(step.location, step.original, *(getattr(expected, name) for name in (
        "sources", "target", "heredocs", "from_", "chown", "chmod", "link", "parents", "exclude")))


def test_add_has_its_flags():
    step = only("ADD --keep-git-dir --checksum=sha256:1 --unpack=FALSE --exclude=a s t")
    assert (step.keep_git_dir, step.checksum, step.unpack, step.exclude) == (True, "sha256:1", False, ("a",))
    assert only("ADD s t").unpack is None


def test_sources_may_be_a_json_array():
    step = only('COPY ["a b", "c", "d e/"]')
    assert (step.sources, step.target) == (("a b", "c"), "d e/")


def test_run_has_its_flags():
    step = only("RUN --network=none --security=insecure --mount=target=/a --mount=type=tmpfs,target=/b x")
    assert (step.network, step.security, step.command) == ("none", "insecure", Command(None, "x"))
    assert [(mount.type, mount.target) for mount in step.mounts] == [("bind", "/a"), ("tmpfs", "/b")]


@pytest.mark.parametrize(("line", "expected"), [
    ('HEALTHCHECK --interval=5s --timeout=1m30s --start-period=0s --start-interval=100ms --retries=3 CMD ["a"]',
     (Command(("a",)), 5 * SECOND, 90 * SECOND, 0, SECOND // 10, 3)),
    ("HEALTHCHECK cmd curl x", (Command(None, "curl x"), 0, 0, 0, 0, 0)),
])
def test_health_checks_have_their_times(line, expected):
    step = only(line)
    assert (step.command, step.interval, step.timeout, step.start_period, step.start_interval, step.retries) == expected


def test_a_trigger_is_kept_with_its_heredoc():
    step = only("ONBUILD COPY <<E /x", "a", "E")
    assert step.trigger == "COPY <<E /x\na\nE"


@pytest.mark.parametrize(("line", "message"), [
    ("FRO a", "unknown instruction: FRO (did you mean FROM?)"), ("xyzzy a", "unknown instruction: xyzzy"),
    ("copyy a b", "unknown instruction: copyy (did you mean COPY?)"),
    ("COPY --form=a b c", "unknown flag: form (did you mean from?)"), ("RUN --xyzzy a", "unknown flag: xyzzy"),
    ("COPY --from=a --from=b c d", "duplicate flag specified: from"),
    ("COPY --from a b", "missing a value on flag: from"),
    ("COPY --link=x a b", "expecting boolean value for flag link, not: x"),
    ("COPY --link= a b", "missing a value on flag: link"),
    ("ENV --x a=b", "unknown flag: x"),
    ("COPY a", "COPY requires at least two arguments, but only one was provided. Destination could not be determined"),
    ("ADD", "ADD requires at least two arguments, but only one was provided. Destination could not be determined"),
    ("RUN", "RUN requires at least one argument"), ("ENV", "ENV requires at least one argument"),
    ("ENV a", "ENV must have two arguments"), ("ENV =a", "ENV names can not be blank"),
    ("ENV a=b c", "Syntax error - can't find = in 'c'. Must be of the form: name=value"),
    ("LABEL", "LABEL requires at least one argument"), ("ARG", "ARG requires at least one argument"),
    ("ARG =x", "ARG names can not be blank"), ("WORKDIR", "WORKDIR requires exactly one argument"),
    ("USER", "USER requires exactly one argument"), ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
    ("EXPOSE", "EXPOSE requires at least one argument"), ("VOLUME []", "VOLUME requires at least one argument"),
    ('VOLUME [" "]', "VOLUME specified can not be an empty string"),
    ("CMD [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
    ("SHELL a", "SHELL requires the arguments to be in JSON form, not 'SHELL a'"),
    ("SHELL []", "SHELL requires at least one argument"),
    ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
    ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
    ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
    ("HEALTHCHECK RUN x", "Unknown type 'RUN' in HEALTHCHECK (try CMD)"),
    ("HEALTHCHECK --interval=1us CMD x", "Interval 'interval' cannot be less than 1ms"),
    ("HEALTHCHECK --interval=x CMD x", "HEALTHCHECK: --interval: 'x' is not a duration"),
    ("HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)"),
    ("HEALTHCHECK --retries=x CMD x", "HEALTHCHECK: --retries: 'x' is not a number"),
    ("HEALTHCHECK --retires=1 CMD x", "unknown flag: retires (did you mean retries?)"),
    ("ONBUILD", "ONBUILD requires at least one argument"),
    ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
    ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
    ("ONBUILD COPY a",
     "COPY requires at least two arguments, but only one was provided. Destination could not be determined"),
    ("ONBUILD RUNN x", "unknown instruction: RUNN (did you mean RUN?)"),
    ("FROM", "FROM requires either one or three arguments"),
    ("FROM a b", "FROM requires either one or three arguments"),
    ("FROM a as 1b", 'invalid name for build stage: "1b", name can\'t start with a number or contain symbols'),
    ("FROM --platfrom=x a", "unknown flag: platfrom (did you mean platform?)"),
    ("RUN --network=nne x", 'network mode "nne" is not supported (did you mean none?)'),
    ("RUN --security=x x", 'security "x" is not valid'),
    ("RUN <<E", "unterminated heredoc"), ("COPY <<E <<F x", "unterminated heredoc"),
    ("RUN a\0b", "an instruction must be UTF-8 without NUL"),
    ("RUN " + "a" * LINE_MAX, f"dockerfile line greater than max allowed size of {LINE_MAX}"),
])
def test_what_is_wrong_is_said_with_its_line_and_what_was_meant(line, message):
    error = refused("FROM scratch", "RUN x \\", " y", line)
    assert error.message == f"dockerfile parse error on line 4: {message}"
    assert (error.reason, error.field) == ("BAD_DOCKERFILE", "Dockerfile:4")


@pytest.mark.parametrize(("lines", "message"), [
    (["RUN x"], "dockerfile parse error on line 1: no build stage in current context"),
    (["# hi"], "file with no instructions"), (["ARG x"], "dockerfile contains no stages to build"),
    ([""], "the Dockerfile (Dockerfile) cannot be empty"),
    (["# escape=`", "# escape=`", "FROM a"],
     "dockerfile parse error on line 2: only one escape parser directive can be used"),
    (["# escape=x", "FROM a"], "dockerfile parse error on line 1: invalid escape token 'x' does not match ` or \\"),
])
def test_a_file_without_a_stage_or_with_a_wrong_directive_is_refused(lines, message):
    assert refused(*lines).message == message


def test_bytes_that_are_no_text_are_refused_within_an_instruction():
    with pytest.raises(InvalidArgument, match="UTF-8"):
        parse(b"FROM a\nRUN \xff")
    with pytest.raises(InvalidArgument, match="UTF-8"):
        parse(b"FROM a\nRUN <<E\n\xff\nE\n")


def test_a_file_that_is_too_large_is_refused():
    with pytest.raises(InvalidArgument, match="exceeds maximum"):
        parse(b"#" * (SIZE_MAX + 1))


@pytest.mark.parametrize(("text", "message"), [
    ("RUN a" + " \\\n a" * INSTRUCTION_MAX, f"line 2: instruction longer than {INSTRUCTION_MAX} characters"),
    ("RUN a\n" * INSTRUCTIONS_MAX, f"more than {INSTRUCTIONS_MAX} instructions"),
    (f"RUN {'a' * 60_000}\n" * (TEXT_MAX // 60_000 + 1), f"{TEXT_MAX} characters of them"),
])
def test_instructions_that_would_take_minutes_to_read_are_refused(text, message):
    with pytest.raises(InvalidArgument, match=message):
        parse(f"FROM a\n{text}".encode())


def test_another_language_than_dockerfiles_is_refused_by_its_name():
    with pytest.raises(Unimplemented, match="r2d4/mocker"):
        parse(b"# syntax=r2d4/mocker\nFROM a")


def test_an_error_names_the_file_that_it_is_in():
    with pytest.raises(InvalidArgument) as caught:
        parse(b"FROM a\nRUN", name="docker/App.Dockerfile")
    assert caught.value.field == "docker/App.Dockerfile:2"
    assert caught.value.facts == {"file": "docker/App.Dockerfile", "first_line": "2", "last_line": "2"}
