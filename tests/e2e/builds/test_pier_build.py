"""`pier build`: what it has beyond Docker's endpoint, and that it is the same build."""

import json
import re
import tarfile


def pier(builder, *arguments, dockerfile=None, **options):
    """`pier build` of the builder's directory."""
    if dockerfile is not None:
        builder.write("Dockerfile", dockerfile)
    return builder.engine.pier("build", *arguments, str(builder.directory), **options)


def pier_ok(builder, *arguments, dockerfile=None, **options):
    done = pier(builder, *arguments, dockerfile=dockerfile, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_both_commands_make_the_same_image_of_the_same_context(builder):
    builder.write("kept", "1")
    builder.write("left", "1")
    builder.write(".dockerignore", "left\n")
    text = "FROM busybox\nCOPY . /c\nRUN ls -A /c > /list\n"
    pier_ok(builder, "-t", "a", dockerfile=text)
    builder.ok("-t", "a")
    assert len(builder.engine.ok("images", "-aq").split()) == 2
    assert builder.run("a", "cat", "/list").split() == [".dockerignore", "Dockerfile", "kept"]


def test_a_plain_progress_tells_each_step_and_what_it_says(builder):
    text = "FROM busybox\nRUN echo out; echo err >&2\n"
    said = pier_ok(builder, "--progress", "plain", dockerfile=text).stderr
    assert re.search(r"#2 \[2/2\] RUN echo out; echo err >&2\n#2 \d\.\d{3} out\n#2 \d\.\d{3} err\n#2 DONE", said)
    assert "#2 CACHED" in pier_ok(builder, "--progress", "plain").stderr


def test_json_progress_is_an_object_a_line(builder):
    said = pier_ok(builder, "--progress", "json", dockerfile="FROM busybox\nENV A=1\n").stdout
    events = [json.loads(line) for line in said.splitlines()]
    assert [step["instruction"] for step in events[0]["plan"]] == ["FROM busybox", "ENV A=1"]
    assert events[-1]["result"].startswith("sha256:")


def test_a_stage_is_built_anew_where_its_cache_is_not_wanted_and_the_image_is_told_in_a_file(builder, tmp_path):
    text = "FROM busybox AS one\nRUN echo a > /a\nFROM busybox\nCOPY --from=one /a /\nRUN echo b > /b\n"
    pier_ok(builder, dockerfile=text)
    said = pier_ok(builder, "--explain", "--no-cache-filter", "one", "--iidfile", str(tmp_path / "id")).stdout
    assert "RUN echo a > /a\n    cached" not in said
    assert "RUN echo b > /b\n    cached" in said
    image = (tmp_path / "id").read_text()
    assert builder.engine.ok("run", "--rm", image, "cat", "/a", "/b").split() == ["a", "b"]


def test_explain_says_why_each_step_was_carried_out(builder):
    builder.write("file", "1")
    text = "FROM busybox\nARG WORD=one\nRUN echo $WORD\nCOPY file /\n"
    said = pier_ok(builder, "-t", "a", "--explain", dockerfile=text).stdout
    assert "RUN echo $WORD\n    first build\n" in said
    builder.write("file", "2")
    said = pier_ok(builder, "-t", "a", "--explain").stdout
    assert "RUN echo $WORD\n    cached\n" in said
    assert "COPY file /\n    files of file changed\n" in said
    said = pier_ok(builder, "-t", "a", "--explain", "--build-arg", "WORD=two").stdout
    assert "RUN echo $WORD\n    argument WORD changed\n" in said
    assert "COPY file /\n    what it stands on changed\n" in said


def test_a_cache_mount_is_kept_between_builds_and_is_in_no_image(builder):
    text = "FROM busybox\nARG N\nRUN --mount=type=cache,target=/cache echo $N >> /cache/seen && cp /cache/seen /seen\n"
    pier_ok(builder, "-t", "a", "--build-arg", "N=1", dockerfile=text)
    pier_ok(builder, "-t", "a", "--build-arg", "N=2")
    assert builder.run("a", "sh", "-c", "cat /seen; ls -A /cache 2>/dev/null || true").split() == ["1", "2"]
    rows = builder.engine.ok("system", "df", "-v", "--format", "{{range .BuildCache}}{{.CacheType}} {{end}}")
    assert "exec.cachemount" in rows


def test_binds_and_tmpfs_are_there_for_their_command_alone(builder):
    builder.write("dir/file", "content")
    text = """\
FROM busybox AS other
RUN echo of-other > /of
FROM busybox
RUN --mount=target=/src --mount=from=other,source=/of,target=/of --mount=type=tmpfs,target=/t \\
    cat /src/dir/file /of > /made && mount | grep -q ' /t type tmpfs' && ! touch /src/x 2>/dev/null
"""
    pier_ok(builder, "-t", "a", dockerfile=text)
    assert builder.run("a", "cat", "/made") == "contentof-other"
    assert builder.run("a", "sh", "-c", "ls -d /src /of /t 2>/dev/null || true") == ""


def test_files_come_out_as_a_directory_and_as_a_tar(builder, tmp_path):
    text = "FROM busybox AS b\nRUN mkdir /o && echo hi > /o/f\nFROM scratch\nCOPY --from=b /o/ /\n"
    pier_ok(builder, "-o", str(tmp_path / "out"), dockerfile=text)
    assert (tmp_path / "out" / "f").read_text() == "hi\n"
    pier_ok(builder, "--output", f"type=tar,dest={tmp_path / 'out.tar'}")
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert "f" in [name.removeprefix("./") for name in archive.getnames()]
    pier_ok(builder, "-t", "named", "--output", f"type=oci,dest={tmp_path / 'oci.tar'}")
    with tarfile.open(tmp_path / "oci.tar") as archive:
        assert {"oci-layout", "index.json", "manifest.json"} <= set(archive.getnames())


def test_the_same_source_date_gives_the_same_digest_twice(builder):
    text = "FROM busybox\nRUN date +%N > /dev/null; echo x > /x; mkdir /d\nCOPY Dockerfile /\n"
    ids = set()
    for _ in range(2):
        pier_ok(builder, "-t", "a", "--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1600000000", dockerfile=text)
        ids.add(builder.inspect("a")["Id"])
    assert len(ids) == 1
    assert builder.inspect("a")["Created"].startswith("2020-09-13T12:26:40")
    # Steps that another build has made, with the times of that one, are not taken.
    pier_ok(builder, "-t", "undated", dockerfile="FROM busybox\nRUN echo y > /y\n")
    pier_ok(builder, "-t", "dated", "--build-arg", "SOURCE_DATE_EPOCH=1600000000")
    assert builder.run("undated", "date", "-r", "/y", "+%Y") != "2020"
    assert builder.run("dated", "date", "-r", "/y", "+%Y") == "2020"


def test_a_context_comes_over_the_standard_input(builder, tmp_path):
    (tmp_path / "file").write_text("1")
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        archive.add(builder.write("Dockerfile", "FROM busybox\nCOPY file /\n"), "Dockerfile")
        archive.add(tmp_path / "file", "file")
    with (tmp_path / "c.tar.gz").open("rb") as stream:
        done = builder.engine.pier("build", "-t", "a", "-", stdin=stream)
    assert done.returncode == 0, done.stderr
    assert builder.run("a", "cat", "/file") == "1"
    done = builder.engine.pier("build", "-t", "b", "-", input="FROM busybox\nENV A=b\n")
    assert done.returncode == 0, done.stderr


def test_a_failed_command_is_the_exit_code(builder):
    done = pier(builder, dockerfile="FROM busybox\nRUN exit 7\n")
    assert done.returncode == 7
    assert "ERROR: The command '/bin/sh -c exit 7' returned a non-zero code: 7" in done.stderr


CHECKED = "FROM scratch as x\nCOPY $FIEL /\nARG FILE=a\n"


def test_checks_are_told_and_nothing_is_built(builder):
    said = pier_ok(builder, "--check", "--progress", "plain", dockerfile=CHECKED)
    assert said.stdout == "Check complete, 2 warnings have been found!\n"
    assert "WARN: FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)" in said.stderr
    assert "WARN: UndefinedVar: Usage of undefined variable '$FIEL' (line 2)" in said.stderr
    assert pier_ok(builder, "--check", dockerfile="FROM busybox\n").stdout == "Check complete, no warnings found.\n"


def test_a_variable_is_undefined_where_neither_the_file_nor_the_base_image_sets_it(builder):
    builder.ok("-t", "base", dockerfile="FROM busybox\nENV KNOWN=1\n")
    text = "FROM base\nENV A=$KNOWN B=$KNWON\n"
    said = pier_ok(builder, "--check", dockerfile=text).stderr
    assert "UndefinedVar: Usage of undefined variable '$KNWON' (did you mean $KNOWN?) (line 2)" in said
    assert said.count("UndefinedVar") == 1


def test_checks_fail_a_build_where_the_dockerfile_or_the_client_says_so(builder):
    text = "# check=error=true\nFROM busybox as x\n"
    failed = builder.docker(dockerfile=text)
    assert failed.returncode == 1
    assert "lint violation found for rules: FromAsCasing" in failed.stderr
    said = builder.ok("--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=false")
    assert " ---> [Warning] FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 2)" in said
