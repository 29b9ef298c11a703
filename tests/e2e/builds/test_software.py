"""Real software, built without a network: the first time it is made, the second time nothing is done again."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.e2e.builds import machine

LONG = 120.0
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"  # pip reads them at once, whatever it installs from


def built_twice(builder, tag, dockerfile):
    """Build; build again, and see that all of it is found."""
    builder.ok("-t", tag, dockerfile=dockerfile, timeout=LONG)
    first = builder.inspect(tag)["Id"]
    for path in builder.directory.rglob("*"):
        os.utime(path, follow_symlinks=False)
    said = builder.ok("-t", tag, timeout=LONG)
    assert builder.inspect(tag)["Id"] == first
    assert "Running in" not in said
    layers = [line for line in said.splitlines() if line.startswith("Step ") and " : FROM " not in line]
    assert said.count("Using cache") == len(layers)


def test_sixty_steps(builder):
    for number in range(15):
        builder.write(f"part{number}", f"{number}\n")
    steps = [
        line for number in range(15)
        for line in (f"ENV N{number}=${{N{number - 1}}}{number}" if number else "ENV N0=0",
                     f"COPY part{number} /parts/", f"LABEL l{number}=${{N{number}}}",
                     f"RUN cat /parts/part{number} >> /all")
    ]
    built_twice(builder, "sixty", "FROM busybox\n" + "\n".join(steps) + "\n")
    assert builder.run("sixty", "cat", "/all").split() == [str(number) for number in range(15)]
    facts = builder.inspect("sixty")
    assert len(facts["RootFS"]["Layers"]) == 1 + 30
    assert facts["Config"]["Labels"]["l2"] == "012"


SITE = """\
FROM busybox AS pages
WORKDIR /site
COPY pages /src
RUN <<'END'
for page in /src/*.txt; do
    name=$(basename $page .txt)
    awk -v title=$name 'BEGIN {print "<h1>" title "</h1>"} /./ {print "<p>" $0 "</p>"}' $page > $name.html
done
ls | sed 's/.*/<a href="&">&<\\/a>/' > index
mv index index.html
END

FROM busybox AS style
COPY style.css /in.css
RUN tr -d ' \\n' < /in.css > /style.css

FROM busybox
COPY --from=pages --chown=www-data /site /www
COPY --from=style --chown=www-data /style.css /www/
USER www-data
EXPOSE 8080
HEALTHCHECK NONE
ENTRYPOINT ["httpd", "-f", "-p", "8080", "-h", "/www"]
"""


def test_a_static_site_in_stages(builder):
    builder.write("pages/about.txt", "one\n\ntwo\n")
    builder.write("pages/news.txt", "three\n")
    builder.write("style.css", "p { color: red }\n\nh1 { color: blue }\n")
    built_twice(builder, "site", SITE)
    builder.engine.ok("run", "-d", "--name", "site", "site")
    fetch = ("exec", "site", "wget", "-qO-")
    assert builder.engine.ok(*fetch, "localhost:8080/about.html") == "<h1>about</h1>\n<p>one</p>\n<p>two</p>"
    assert builder.engine.ok(*fetch, "localhost:8080/style.css") == "p{color:red}h1{color:blue}"
    assert 'href="news.html"' in builder.engine.ok(*fetch, "localhost:8080/")


def test_an_image_of_a_program_and_nothing_else(builder):
    builder.write("passwd", "app:x:1000:1000::/:/\n")
    built_twice(builder, "bare", """\
FROM busybox AS tools
RUN mkdir -p /out/bin /out/etc /out/data && cp /bin/busybox /out/bin/ && chown 1000:1000 /out/data
COPY passwd /out/etc/
FROM scratch
COPY --from=tools /out /
USER app
WORKDIR /data
VOLUME /data
ENTRYPOINT ["/bin/busybox"]
CMD ["id", "-un"]
""")
    assert builder.engine.ok("run", "--rm", "bare") == "app"
    assert builder.engine.ok("run", "--rm", "bare", "ls", "/bin") == "busybox"
    assert len(builder.inspect("bare")["RootFS"]["Layers"]) == 1


PYTHON = """\
FROM busybox AS python
ADD python.tar /
ENV PATH=/usr/bin:$PATH PYTHONDONTWRITEBYTECODE=1

FROM python AS build
RUN --mount=type=bind,source=wheels,target=/wheels \\
    --mount=type=cache,target=/root/.cache/pip \\
    python3 -m pip install --no-index --find-links=/wheels --target=/app greeter

FROM python
COPY --from=build /app /app
ENV PYTHONPATH=/app
CMD ["python3", "-m", "greeter"]
"""


def wheel(builder, name, files, needs=""):
    """A wheel as pip takes it (PEP 427)."""
    info = f"{name}-1.0.dist-info"
    builder.write(f"wheels/{name}-1.0-py3-none-any.whl", "")
    texts = {
        **files, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    texts[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*texts, f"{info}/RECORD"))
    with zipfile.ZipFile(builder.directory / "wheels" / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, text in texts.items():
            archive.writestr(path, text)


def test_a_python_application_from_wheels_of_a_directory(builder):
    library = sysconfig.get_path("stdlib")
    unwanted = ("/test/", "/__pycache__/", "/idlelib/", "/tkinter/", "/ensurepip/", "/site-packages/", "/lib2to3/")
    packages = Path(pytest.importorskip("pip").__file__).parent
    modules = [str(path) for path in (Path(library) / "lib-dynload").glob("*.so")]
    machine.write(
        builder.directory / "python.tar", [os.path.realpath(sys.executable), *modules, CERTIFICATES],
        [library, str(packages)],
        lambda path: "/config-" not in path and not any(
            part in path for part in unwanted if part not in f"{packages}/"),
    )
    wheel(builder, "words", {"words.py": "GREETING = 'hello from a wheel'\n"})
    wheel(builder, "greeter", {"greeter.py": "import words, ssl, json\nprint(json.dumps(words.GREETING))\n"},
          "Requires-Dist: words>=1\n")
    name = os.path.basename(os.path.realpath(sys.executable))
    built_twice(builder, "app", PYTHON.replace(
        "ENV PATH", f"RUN ln -s {name} /usr/bin/python3 && ln -s {packages} {library}/pip\nENV PATH"))
    assert builder.engine.ok("run", "--rm", "app") == '"hello from a wheel"'


C = """\
FROM busybox AS tools
ADD tools.tar /
FROM tools AS build
WORKDIR /src
COPY CMakeLists.txt *.c *.h ./
RUN --network=none cmake -S . -B /build && cmake --build /build --parallel 2 && cd /build && ctest
FROM scratch
COPY --from=build /build/hello /hello
ENTRYPOINT ["/hello"]
"""


MAIN = """\
#include "greet.h"
int main(int count, char **words) { greet(count > 1 ? words[1] : "C"); return 0; }
"""
GREET = """\
#include <stdio.h>
#include "greet.h"
void greet(const char *name) { printf("hello %s\\n", name); }
"""
CMAKE = """\
cmake_minimum_required(VERSION 3.13)
project(hello C)
enable_testing()
add_library(greet STATIC greet.c)
add_executable(hello main.c)
target_link_libraries(hello greet -static)
add_test(NAME runs COMMAND hello you)
"""
LIBC = ("libc.a", "libc.so", "libc.so.6", "libc_nonshared.a")
UNUSED = ("lto1", "lto-wrapper", "cc1plus", "g++-mapper-server", "libasan.a", "libtsan.a", "libubsan.a")


def answer(*words):
    """What the C compiler says of itself."""
    return subprocess.run(["cc", *words], check=True, capture_output=True, text=True).stdout.strip()


def write_tools(target):
    """A C compiler, its library, cmake and make."""
    inner = [answer(f"-print-prog-name={name}") for name in ("cc1", "collect2")]
    objects = Path(answer("-print-file-name=crt1.o")).resolve().parent
    (share,) = Path("/usr/share").glob("cmake-*")
    machine.write(
        target,
        [*(f"/usr/bin/{name}" for name in ("cc", "cmake", "ctest", "make", "ar", "ranlib", "as", "ld")), *inner,
         *map(str, objects.glob("*crt*.o")), *(str(objects / name) for name in LIBC),
         *map(str, Path("/usr/include").glob("*.h"))],
        [str(Path(inner[0]).parent), f"/usr/include/{answer('-print-multiarch')}", "/usr/include/linux",
         "/usr/include/asm-generic", str(share / "Modules"), str(share / "Templates")],
        lambda path: not path.endswith(UNUSED),
    )


@pytest.mark.skipif(bool(machine.missing("cc", "cmake", "make")), reason="the machine has no C compiler, cmake or make")
def test_a_c_program_with_cmake(builder):
    for name, text in (("CMakeLists.txt", CMAKE), ("greet.h", "void greet(const char *name);\n"), ("greet.c", GREET),
                       ("main.c", MAIN)):
        builder.write(name, text)
    write_tools(builder.directory / "tools.tar")
    built_twice(builder, "hello", C)
    assert builder.engine.ok("run", "--rm", "hello", "world") == "hello world"
    assert builder.inspect("hello")["Size"] < 4 << 20
