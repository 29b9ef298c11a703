"""Every setting of the published schema has a row, and each row does what it says or refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument, PierError, Unimplemented
from gateway.rest import containers_create, host_config, networking, settings
from gateway.rest.body import Fields
from gateway.rest.draft import Draft
from gateway.rest.versions import NEWEST, Version
from pier.exec.v1 import exec_pb2
from tests.unit.gateway import schema

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def draft(config=None, host=None, version=NEWEST, **networking):
    return settings.draft(
        Fields({**(config or {}), "HostConfig": host or {}, "NetworkingConfig": networking}), version
    )


@pytest.mark.parametrize("table,names", [
    (settings.CONFIG, schema.CONFIG), (settings.HOST_CONFIG, schema.HOST_CONFIG), (settings.ENDPOINT, schema.ENDPOINT),
    (settings.NETWORKING, frozenset({"EndpointsConfig"})),
])
def test_every_field_of_the_schema_has_one_row(table, names):
    assert sorted(setting.name for setting in table) == sorted(names)


def test_inspect_reports_every_field_of_the_host_config():
    assert frozenset(host_config.DEFAULTS) == schema.HOST_CONFIG


@pytest.mark.parametrize("setting", [*settings.CONFIG, *settings.HOST_CONFIG, *settings.NETWORKING],
                         ids=lambda setting: setting.name)
def test_a_row_reads_or_refuses_but_never_both(setting):
    assert bool(setting.decode) != bool(setting.refused)
    assert bool(setting.target) == bool(setting.decode)


@pytest.mark.parametrize("setting", settings.HOST_CONFIG, ids=lambda setting: setting.name)
def test_what_clients_send_for_nothing_asks_for_nothing(setting):
    empty = draft()
    for value in (None, *setting.neutral):
        made = draft(host={setting.name: value})
        assert made.spec == empty.spec


@pytest.mark.parametrize("setting", [each for each in settings.HOST_CONFIG if each.refused], ids=lambda each: each.name)
def test_a_refused_setting_is_refused_by_its_name(setting):
    with pytest.raises(Unimplemented, match=f"HostConfig.{setting.name}"):
        draft(host={setting.name: "something"})


@pytest.mark.parametrize("table,wrap", [
    (settings.CONFIG, lambda name, value: {"config": {name: value}}),
    (settings.HOST_CONFIG, lambda name, value: {"host": {name: value}}),
])
@given(data=st.data())
def test_any_json_is_read_or_told_to_be_wrong_and_nothing_else(table, wrap, data):
    name = data.draw(st.sampled_from([setting.name for setting in table]))
    try:
        draft(**wrap(name, data.draw(JSON)))
    except PierError as error:
        assert error.http_status in (400, 501)  # noqa: PT017 - anything but a PierError fails the test by itself


def test_a_setting_newer_than_the_clients_version_is_not_read():
    host = {"Annotations": {"a": "b"}}
    assert draft(host=host, version=Version(1, 42)).spec.annotations == {}
    assert draft(host=host, version=Version(1, 43)).spec.annotations == {"a": "b"}


def test_the_containers_own_mac_address_is_a_setting_until_1_52():
    asked = {"MacAddress": "02:00:00:00:00:01"}
    assert draft(asked, version=Version(1, 51)).mac == "02:00:00:00:00:01"
    with pytest.raises(InvalidArgument, match=r"MacAddress: since API 1\.52 it is a setting of an endpoint"):
        draft(asked, version=Version(1, 52))
    assert draft({"MacAddress": ""}, version=Version(1, 52)).mac == ""


def test_a_mac_address_of_an_endpoint_is_read_since_1_44():
    fields = Fields({"MacAddress": "02-00-00-00-00-0A", "GwPriority": 7})
    assert networking.endpoint(Draft(Version(1, 43)), fields).mac == ""
    assert networking.endpoint(Draft(Version(1, 44)), fields).mac == "02:00:00:00:00:0a"
    assert networking.endpoint(Draft(Version(1, 47)), fields).gateway_priority == 0
    assert networking.endpoint(Draft(Version(1, 48)), fields).gateway_priority == 7


@pytest.mark.parametrize("version,told", [
    ((1, 43), []), ((1, 44), ["MacAddress"]), ((1, 51), ["MacAddress"]), ((1, 52), ["80/tcp, 53/udp"]),
    (NEWEST, ["80/tcp, 53/udp"]),
])
def test_what_later_versions_have_no_more_is_warned_of(version, told):
    config = {"MacAddress": "02:00:00:00:00:01"} if version < (1, 52) else {}
    made = draft(config, {"PortBindings": {"80": [], "53/udp": None, "90/tcp": [{}]}}, Version(*version))
    warnings = list(containers_create._warnings(made))
    assert len(warnings) == len(told)
    assert all(word in warning for word, warning in zip(told, warnings, strict=True))
    assert len(made.ports) == 3


def test_keys_count_in_any_case_and_the_wrong_type_is_named():
    assert draft({"hostname": "box"}).spec.hostname == "box"
    with pytest.raises(InvalidArgument, match=r"cannot unmarshal string into HostConfig\.Memory"):
        draft(host={"Memory": "64m"})


@pytest.mark.parametrize("entrypoint,command,read", [
    (None, None, (None, None)), ([], [], (None, None)), ([""], ["x"], ([], ["x"])), ("sh", "true", (["sh"], ["true"])),
    (["a", "b"], None, (["a", "b"], None)),
])
def test_command_and_entrypoint_may_be_words_or_lists_and_may_be_taken_away(entrypoint, command, read):
    made = draft({"Entrypoint": entrypoint, "Cmd": command})
    assert (made.entrypoint, made.command) == read


@pytest.mark.parametrize("bindings,ports", [
    ({"80/tcp": [{"HostPort": "8080"}]}, [("tcp", 80, "", 8080, 0)]),
    ({"80": [{"HostIp": "127.0.0.1", "HostPort": "1-3"}]}, [("tcp", 80, "127.0.0.1", 1, 3)]),
    ({"53/udp": []}, [("udp", 53, "", 0, 0)]),
    ({"53/udp": None}, [("udp", 53, "", 0, 0)]),
    ({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "0"}]}, [("tcp", 80, "0.0.0.0", 0, 0)]),
    ({"80/tcp": [{"HostIp": "[::]"}, {"HostIp": "2001:DB8::1"}]},
     [("tcp", 80, "::", 0, 0), ("tcp", 80, "2001:db8::1", 0, 0)]),
])
def test_ports_are_published_as_docker_writes_them(bindings, ports):
    made = draft(host={"PortBindings": bindings})
    assert [(p.protocol, p.container_port, p.host_ip, p.host_port, p.host_port_end) for p in made.ports] == ports


@pytest.mark.parametrize("text", ["80000/tcp", "0", "-1", "80/xyz", "80/tcp/udp", "", "eighty"])
def test_what_is_no_port_is_refused(text):
    with pytest.raises(InvalidArgument, match="invalid port specification"):
        draft(host={"PortBindings": {text: []}})


@pytest.mark.parametrize("bind,words", [
    ("/:relative", "must be absolute"), ("/a:/", "destination can't be '/'"), ("/a", "invalid volume specification"),
    ("/a:/b:huh", "invalid mode"), ("/a:/b:ro:x", "invalid volume specification"),
])
def test_a_bad_bind_is_told_in_dockers_words(bind, words):
    with pytest.raises(InvalidArgument, match=words):
        draft(host={"Binds": [bind]})


def test_binds_make_their_source_and_mounts_do_not():
    made = draft(host={"Binds": ["/a/../src:/dst:ro,rslave"], "Mounts": [
        {"Type": "bind", "Source": "/there", "Target": "/here"},
        {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 4096, "Mode": 0o1777}},
    ]})
    assert made.host_directories == ["/src"]
    bind, mount, tmpfs = sorted(made.spec.mounts, key=lambda each: [b"/dst", b"/here", b"/t"].index(each.target))
    assert (bind.source, bind.propagation, [o.key for o in bind.options]) == (b"/src", "rslave", ["ro"])
    assert (mount.source, mount.recursive) == (b"/there", True)
    assert {o.key: o.value for o in tmpfs.options}["mode"] == b"1777"


def test_two_mounts_on_one_target_are_refused():
    with pytest.raises(InvalidArgument, match="Duplicate mount point: /x"):
        draft(host={"Binds": ["/a:/x"], "Tmpfs": {"/x": ""}})


def test_a_source_without_a_slash_is_a_volumes_name():
    (volume,) = draft(host={"Binds": ["data:/x/:ro,nocopy"]}).volumes
    assert (volume.name, volume.target, volume.read_only, volume.no_copy, volume.anonymous) == (
        "data", b"/x", True, True, False)
    for text, words in (("d:/x", "only"), ("da ta:/x", "includes invalid characters"), ("data:/x:shared", "mode")):
        with pytest.raises(InvalidArgument, match=words):
            draft(host={"Binds": [text]})


def test_a_volume_in_the_long_form():
    mount = {"Type": "volume", "Source": "data", "Target": "/x", "ReadOnly": True,
             "VolumeOptions": {"NoCopy": True, "Labels": {"a": "b"}, "DriverConfig": {"Name": "local"}}}
    (volume,) = draft(host={"Mounts": [mount]}).volumes
    assert (volume.name, volume.read_only, volume.no_copy, dict(volume.labels)) == ("data", True, True, {"a": "b"})
    (volume,) = draft(host={"Mounts": [{"Type": "volume", "Target": "/x"}]}).volumes
    assert volume.anonymous
    assert len(volume.name) == 64
    for path in ("/a", "../a", "a/../../b"):
        with pytest.raises(InvalidArgument, match="subpath must be a relative path"):
            draft(host={"Mounts": [mount | {"VolumeOptions": {"Subpath": path}}]})
    made = draft(host={"Mounts": [mount | {"VolumeOptions": {"Subpath": "a/./b"}}]})
    assert made.volumes[0].subpath == b"a/b"


@pytest.mark.parametrize("policy,words", [
    ({"Name": "sometimes"}, "unknown policy 'sometimes'"),
    ({"Name": "always", "MaximumRetryCount": 3}, "maximum retry count"),
    ({"Name": "on-failure", "MaximumRetryCount": -1}, "cannot be negative"),
])
def test_a_bad_restart_policy_is_refused(policy, words):
    with pytest.raises(InvalidArgument, match=words):
        draft(host={"RestartPolicy": policy})


def test_automatic_removal_and_a_restart_policy_exclude_each_other():
    with pytest.raises(InvalidArgument, match="can't create 'AutoRemove' container with restart policy"):
        draft(host={"AutoRemove": True, "RestartPolicy": {"Name": "always"}})


def test_security_options_are_read_by_name():
    made = draft(host={"SecurityOpt": ["no-new-privileges", "seccomp=unconfined"]})
    assert made.spec.process.no_new_privileges
    assert made.spec.seccomp.WhichOneof("profile") == "unconfined"
    with pytest.raises(InvalidArgument, match="security-opt"):
        draft(host={"SecurityOpt": ["nonsense"]})


def test_namespaces_of_the_host_are_asked_for_by_mode():
    made = draft(host={"PidMode": "host", "IpcMode": "private", "UTSMode": "host"})
    assert {(ref.kind, ref.host) for ref in made.spec.namespaces} == {
        (exec_pb2.NAMESPACE_KIND_PID, True), (exec_pb2.NAMESPACE_KIND_UTS, True)}
    with pytest.raises(InvalidArgument, match="PidMode"):
        draft(host={"PidMode": "mine"})


@pytest.mark.parametrize("mode,kept", [("", "bridge"), ("default", "bridge"), ("host", "host"), ("mine", "mine")])
def test_the_default_network_has_three_names(mode, kept):
    assert draft(host={"NetworkMode": mode}).network_mode == kept


def test_endpoints_of_the_default_network_are_found_by_either_name():
    assert set(draft(EndpointsConfig={"default": None, "other": {}}).endpoints) == {"bridge", "other"}


def test_an_anonymous_volume_is_made_unless_something_is_mounted_there():
    (volume,) = draft({"Volumes": {"/data": {}}}).volumes
    assert (volume.target, volume.anonymous) == (b"/data", True)
    made = draft({"Volumes": {"/data/": {}}}, {"Binds": ["/src:/data"]})
    assert (len(made.spec.mounts), list(made.volumes)) == (1, [])
    assert [each.name for each in draft({"Volumes": {"/data/": {}}}, {"Binds": ["named:/data"]}).volumes] == ["named"]
    with pytest.raises(InvalidArgument, match="Duplicate mount point"):
        draft(host={"Binds": ["one:/data", "two:/data/"]})
