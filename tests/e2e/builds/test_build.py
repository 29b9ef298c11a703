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
