"""`docker build`, the real command: what comes out of it, and what it says."""

import re


def test_a_dockerfile_of_each_common_instruction_becomes_an_image(builder):
    builder.write("greeting", "hello\n")
    said = builder.ok("-t", "app:1", dockerfile="""\
FROM busybox
ENV NAME=world
WORKDIR /app
COPY greeting ./
RUN cat greeting > made && echo $NAME >> made
LABEL kind=test
EXPOSE 80
CMD ["cat", "/app/made"]
""")
    assert builder.run("app:1") == "hello\nworld"
    found = builder.inspect("app:1")
    assert found["Config"]["WorkingDir"] == "/app"
    assert found["Config"]["Labels"] == {"kind": "test"}
    assert found["Config"]["ExposedPorts"] == {"80/tcp": {}}
    assert "NAME=world" in found["Config"]["Env"]
    assert re.search(r"Successfully built [0-9a-f]{12}\nSuccessfully tagged app:1\n", said)
    assert "Step 5/8 : RUN cat greeting > made && echo $NAME >> made\n ---> Running in " in said


def test_a_second_build_is_all_cached_and_gives_the_same_image(builder):
    builder.write("file", "content")
    text = "FROM busybox\nCOPY file /\nRUN cat /file\nCMD [\"true\"]\n"
    builder.ok("-t", "a", dockerfile=text)
    first = builder.inspect("a")["Id"]
    (builder.directory / "file").touch()
    said = builder.ok("-t", "a")
    assert builder.inspect("a")["Id"] == first
    assert said.count("Using cache") == 3
    builder.write("file", "other")
    said = builder.ok("-t", "a")
    assert "Running in" in said
    assert builder.inspect("a")["Id"] != first


def test_a_failing_command_is_the_clients_exit_code_and_the_stream_says_which(builder):
    done = builder.docker(dockerfile="FROM busybox\nRUN echo before && echo complaint >&2 && exit 23\n")
    assert done.returncode == 23
    command = "/bin/sh -c echo before && echo complaint >&2 && exit 23"
    assert f"The command '{command}' returned a non-zero code: 23" in done.stderr
    assert "before" in done.stdout
    assert "complaint" in done.stdout + done.stderr


def test_a_command_that_is_not_there_is_told_as_one_that_failed(builder):
    done = builder.docker(dockerfile='FROM busybox\nRUN ["/none"]\n')
    assert done.returncode == 127
    assert "returned a non-zero code: 127" in done.stderr


def test_stages_take_files_from_one_another_and_only_the_needed_ones_are_built(builder):
    said = builder.ok("-t", "a", dockerfile="""\
FROM busybox AS first
RUN mkdir /out && echo built > /out/file
FROM busybox AS unneeded
RUN false
FROM scratch
COPY --from=first /out/ /
COPY --from=busybox /bin/busybox /bin/
CMD ["/bin/busybox", "cat", "/file"]
""")
    assert builder.run("a") == "built"
    assert "RUN false" not in said


def test_a_target_is_built_and_nothing_behind_it(builder):
    text = "FROM busybox AS one\nENV WHICH=one\nFROM busybox AS two\nENV WHICH=two\n"
    builder.ok("-t", "a", "--target", "one", dockerfile=text)
    assert builder.run("a", "sh", "-c", "echo $WHICH") == "one"
    done = builder.docker("--target", "on")
    assert done.returncode != 0
    assert 'target stage "on" could not be found (did you mean one?)' in done.stderr


def test_dockerignore_leaves_out_of_copy_what_the_client_has_sent(builder):
    builder.write("kept", "1")
    builder.write("left", "1")
    builder.write("sub/left.o", "1")
    builder.write("sub/kept.c", "1")
    builder.write(".dockerignore", "left\n**/*.o\nDockerfile\n.dockerignore\n")
    builder.ok("-t", "a", dockerfile="FROM busybox\nCOPY . /c/\nRUN find /c | sort > /list\n")
    assert builder.run("a", "cat", "/list").splitlines() == ["/c", "/c/kept", "/c/sub", "/c/sub/kept.c"]
    done = builder.docker(dockerfile="FROM busybox\nCOPY left /\n")
    assert done.returncode != 0
    assert "COPY failed" in done.stderr


def test_arguments_have_their_scopes(builder):
    text = """\
ARG BASE=busybox
ARG OUTER=outer
FROM $BASE
ARG OUTER
ARG INNER=inner
ARG TARGETARCH
RUN echo $OUTER $INNER $TARGETARCH $UNDECLARED > /said
"""
    builder.ok("-t", "a", dockerfile=text)
    assert builder.run("a", "cat", "/said").split() == ["outer", "inner", "amd64"]
    told = builder.ok("-t", "a", "--build-arg", "INNER=other", "--build-arg", "UNDECLARED=x")
    assert "[Warning] One or more build-args [UNDECLARED] were not consumed" in told
    assert builder.run("a", "cat", "/said").split() == ["outer", "other", "amd64"]
    assert "|3 INNER=other OUTER=outer TARGETARCH=amd64 /bin/sh -c" in builder.engine.ok(
        "history", "--no-trunc", "--format", "{{.CreatedBy}}", "a")


def test_proxies_are_seen_by_commands_and_stand_nowhere(builder):
    text = 'FROM busybox\nRUN echo "$http_proxy" > /said\n'
    builder.ok("-t", "a", "--build-arg", "http_proxy=http://user:word@proxy", dockerfile=text)
    assert builder.run("a", "cat", "/said") == "http://user:word@proxy"
    assert "Using cache" in builder.ok("-t", "b", "--build-arg", "http_proxy=http://other")
    assert "proxy" not in builder.engine.ok("history", "--no-trunc", "b").replace("$http_proxy", "")


def test_heredocs_are_commands_and_files(builder):
    builder.ok("-t", "a", dockerfile="""\
FROM busybox
ENV WHO=me
RUN <<EOF
echo one > /made
echo two >> /made
EOF
COPY <<one <<"two" /files/
I am $WHO
one
I am $WHO
two
""")
    assert builder.run("a", "cat", "/made", "/files/one", "/files/two").splitlines() == [
        "one", "two", "I am me", "I am $WHO"]


def test_triggers_of_a_base_image_are_carried_out_in_what_is_built_on_it(builder):
    builder.ok("-t", "base", dockerfile="FROM busybox\nONBUILD COPY here /there\nONBUILD ENV TRIGGERED=yes\n")
    assert builder.inspect("base")["Config"]["OnBuild"] == ["COPY here /there", "ENV TRIGGERED=yes"]
    builder.write("here", "content")
    builder.ok("-t", "a", dockerfile="FROM base\nRUN cat /there > /seen\n")
    assert builder.run("a", "sh", "-c", "cat /seen; echo $TRIGGERED") == "contentyes"
    assert not builder.inspect("a")["Config"].get("OnBuild")


def test_users_directories_and_shells_hold_for_the_commands_after_them(builder):
    builder.ok("-t", "a", dockerfile="""\
FROM busybox
RUN mkdir /work && chmod 777 /work
USER 1000:1000
WORKDIR /work
SHELL ["/bin/sh", "-ec"]
RUN id -u > who; pwd >> who
""")
    assert builder.run("a", "cat", "/work/who").split() == ["1000", "/work"]


def test_copies_have_the_owners_and_modes_that_they_are_to_have(builder):
    builder.write("file", "1", 0o640)
    builder.ok("-t", "a", dockerfile="""\
FROM busybox
COPY file /plain
COPY --chown=7:8 --chmod=0751 file /owned
RUN stat -c '%a %u %g' /plain /owned > /said
""")
    assert builder.run("a", "cat", "/said").splitlines() == ["640 0 0", "751 7 8"]


def test_nothing_but_labels_makes_an_image_of_nothing(builder):
    builder.ok("-t", "a", "--label", "x=y", dockerfile="FROM scratch\n")
    found = builder.inspect("a")
    assert found["Config"]["Labels"] == {"x": "y"}
    assert not found["RootFS"].get("Layers")


def test_from_alone_is_the_base_under_another_name(builder):
    builder.ok("-t", "a", dockerfile="FROM busybox\n")
    assert builder.inspect("a")["Id"] == builder.inspect("busybox")["Id"]


def test_a_dockerfile_from_the_standard_input_and_one_by_another_name(builder):
    builder.ok("-t", "a", "-f", str(builder.write("other.df", "FROM busybox\nCOPY . /c\nRUN ls -A /c > /list\n")))
    assert builder.run("a", "cat", "/list") == "other.df"
    done = builder.engine.docker("build", "-t", "b", "-", input="FROM busybox\nENV A=b\n")
    assert done.returncode == 0, done.stderr
    assert "A=b" in builder.inspect("b")["Config"]["Env"]


def test_what_is_wrong_with_a_dockerfile_is_told_with_its_line(builder):
    done = builder.docker(dockerfile="FROM busybox\nRUNN true\n")
    assert done.returncode != 0
    assert "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)" in done.stderr


def test_quiet_says_the_id_alone_and_the_iidfile_holds_it(builder, tmp_path):
    said = builder.ok("-q", dockerfile="FROM busybox\nENV Q=1\n")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", said)
    builder.ok("--iidfile", str(tmp_path / "iid"))
    assert (tmp_path / "iid").read_text() == said.strip()


def test_networks_of_commands(builder):
    builder.ok("--network", "none", "-t", "a", dockerfile="FROM busybox\nRUN ls /sys/class/net > /said\n")
    assert builder.run("a", "cat", "/said").split() == ["lo"]
    builder.ok(
        "--add-host", "there:10.9.8.7", "-t", "b", dockerfile="FROM busybox\nRUN grep there /etc/hosts > /said\n")
    assert builder.run("b", "cat", "/said").split() == ["10.9.8.7", "there"]


def test_no_container_of_a_build_is_in_any_list(builder):
    builder.ok("-t", "a", dockerfile="FROM busybox\nRUN true\n")
    assert builder.engine.ok("ps", "-aq") == ""


def test_limits_hold_for_the_commands(builder):
    builder.ok("-t", "a", "--ulimit", "nofile=77:77", "--shm-size", "8m", "--memory", "64m", dockerfile=(
        "FROM busybox\nRUN ulimit -n > /said && df -k /dev/shm | awk 'END {print $2}' >> /said\n"))
    assert builder.run("a", "cat", "/said").split() == ["77", "8192"]


def test_commands_reach_containers_of_a_network_by_name(builder):
    engine = builder.engine
    engine.ok("network", "create", "builds")
    try:
        engine.ok("run", "-d", "--name", "web", "--network", "builds", "busybox", "httpd", "-f", "-h", "/etc")
        builder.ok("-t", "a", "--network", "builds", dockerfile=(
            "FROM busybox\nRUN wget -q -O /said http://web/passwd && wget -q -O /dev/null http://web/group\n"))
        assert "root" in builder.run("a", "cat", "/said")
        builder.ok("-t", "b", "--network", "container:web", dockerfile=(
            "FROM busybox\nRUN wget -q -O /s http://127.0.0.1/passwd\n"))
    finally:
        engine.docker("rm", "-f", "web")
        engine.ok("network", "rm", "builds")
