"""Configuration: later sources win, each value says where it came from, mistakes name their source."""

from dataclasses import dataclass

import pytest

from chassis.config import Settings, load, option
from chassis.errors import InvalidArgument


@dataclass(frozen=True)
class Sample(Settings):
    size: int = option(3, "a size")
    hosts: tuple[str, ...] = option((), "some hosts")
    fast: bool = option(False, "fast or not")


def test_a_default_is_said_to_be_one():
    loaded = load("sample", Sample, [], {})
    assert loaded.settings.size == 3
    assert {value.key: value.source for value in loaded.values}["size"] == "default"


def test_flags_win_over_environment_and_environment_over_file(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('[pier]\nlog_level = "debug"\n[sample]\nsize = 4\nhosts = ["a", "b"]\nfast = true\n')
    environ = {"PIER_CONFIG": str(file), "PIER_SAMPLE_SIZE": "5", "PIER_FAST": "no"}
    loaded = load("sample", Sample, ["--size", "6"], environ)
    assert loaded.settings == Sample(log_level="debug", size=6, hosts=("a", "b"), fast=False)
    sources = {value.key: value.source for value in loaded.values}
    assert sources["size"] == "flag --size"
    assert sources["fast"] == "environment PIER_FAST"
    assert sources["hosts"] == f"file {file}"


@pytest.mark.parametrize(
    "text,word",
    [("[sample]\nwrong = 1\n", "wrong"), ('[sample]\nsize = "x"\n', "integer"),
     ("[sample]\nfast = 7\n", "true or false"),
     ("sample = 3\n", "table"), ("[sample\n", "c.toml"), ("[sample]\nhosts = [1]\n", "list of strings")],
)
def test_a_mistake_in_the_file_is_named(tmp_path, text, word):
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(InvalidArgument, match=word):
        load("sample", Sample, ["--config", str(file)], {})


def test_another_services_key_in_the_common_table_is_no_mistake(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("[pier]\nsomething_of_netd = 1\n")
    assert load("sample", Sample, ["--config", str(file)], {}).settings.size == 3


def test_a_named_configuration_file_must_exist(tmp_path):
    with pytest.raises(InvalidArgument, match="no such configuration file"):
        load("sample", Sample, ["--config", str(tmp_path / "none")], {})


def test_directories_follow_the_instance():
    loaded = load("sample", Sample, ["--instance", "blue"], {})
    assert str(loaded.instance.run) == "/run/pier-blue"
    assert loaded.instance.bridge != load("sample", Sample, [], {}).instance.bridge
    assert len(loaded.instance.bridge) <= 15
    with pytest.raises(InvalidArgument):
        load("sample", Sample, ["--instance", "../x"], {})
