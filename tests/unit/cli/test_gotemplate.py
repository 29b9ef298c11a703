"""Go templates as people write them after --format; expected texts are what docker 28 prints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier_cli.codec import dumps, loads
from pier_cli.gotemplate import Fields, Template, TemplateError
from pier_cli.schema import DOCUMENTS

DATA = {
    "Name": "/web", "Id": "abc", "Config": {"Labels": {"a.b": "x", "c": "<y>"}, "Env": ["A=1", "B=2"], "Cmd": None},
    "State": {"Running": True, "ExitCode": 0, "Pid": 12, "Health": None},
    "Ports": {"80/tcp": [{"HostPort": "8080"}], "90/tcp": None},
    "Ratio": 1.5, "Big": 2e21, "Empty": [],
}


@pytest.mark.parametrize(("text", "shown"), [
    ("{{.Name}}", "/web"), ("{{ .Name }}", "/web"), ("a{{.Id}}b", "aabcb"), ("{{.State.Running}}", "true"),
    ("{{.State.ExitCode}}", "0"), ("{{.State.Health}}", "<no value>"), ("{{.Config.Env}}", "[A=1 B=2]"),
    ("{{.Config.Labels}}", "map[a.b:x c:<y>]"), ("{{.State}}", "map[ExitCode:0 Health:<nil> Pid:12 Running:true]"),
    ("{{.Ratio}} {{.Big}}", "1.5 2e+21"), ("{{json .State}}", '{"Running":true,"ExitCode":0,"Pid":12,"Health":null}'),
    ("{{json .Config.Labels}}", '{"a.b":"x","c":"<y>"}'), ("{{.Config.Env | json}}", '["A=1","B=2"]'),
    ('{{index .Config.Labels "a.b"}}', "x"), ("{{index .Config.Env 1}}", "B=2"),
    ('{{index .Config.Labels "no"}}', "<no value>"),
    ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"), ('{{join .Config.Env ","}}', "A=1,B=2"),
    ('{{range split "a-b-c" "-"}}[{{.}}]{{end}}', "[a][b][c]"),
    ("{{upper .Id}} {{lower .Name}} {{title .Id}}", "ABC /web Abc"),
    ('{{.Name | printf "%-6s|"}}', "/web  |"),
    ('{{printf "%q %d %v %t" .Id 3 .Config.Env true}}', '"abc" 3 [A=1 B=2] true'),
    ('{{printf "%05d %x %s" 42 255 "z"}}', "00042 ff z"), ('{{printf "%d" "x"}}', "%!d(string=x)"),
    ('{{printf "%s"}}', "%!s(MISSING)"),
    ("{{println .Id 1}}", "abc 1\n"), ("{{print 1 2}}{{print \"a\" \"b\"}}", "1 2ab"),
    ("{{len .Config.Env}} {{len .Id}}", "2 3"),
    ("{{if .State.Running}}up{{else}}down{{end}}", "up"), ("{{if .Empty}}x{{else}}none{{end}}", "none"),
    ("{{if eq .State.Pid 1}}one{{else if eq .State.Pid 12}}twelve{{else}}?{{end}}", "twelve"),
    ("{{if and .State.Running (not .Empty)}}a{{end}}{{if or .Empty .Id}}b{{end}}", "ab"), ("{{or .Empty .Id}}", "abc"),
    ("{{and .Id .Name}}", "/web"),
    ("{{ne .Id \"abc\"}} {{lt 1 2}} {{ge 2 2}} {{gt 1 2}} {{le 3 2}}", "false true true false false"),
    ("{{eq .Id \"x\" \"abc\"}}", "true"), ("{{range .Config.Env}}{{.}};{{end}}", "A=1;B=2;"),
    ("{{range .Empty}}x{{else}}nothing{{end}}", "nothing"),
    ("{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$i}}:{{$e}}{{end}}", "0:A=1, 1:B=2"),
    ("{{range $k, $v := .Ports}}{{$k}}={{if $v}}{{(index $v 0).HostPort}}{{else}}-{{end}} {{end}}",
     "80/tcp=8080 90/tcp=- "),
    ("{{range .Config.Env}}{{$.Id}}{{end}}", "abcabc"), ("{{range .Config.Env}}{{.}}{{break}}{{end}}", "A=1"),
    ("{{range .Config.Env}}{{continue}}x{{end}}", ""), ("{{with .State}}{{.Pid}}{{end}}", "12"),
    ("{{with .Empty}}x{{else}}y{{end}}", "y"),
    ("{{$x := .Id}}{{$x}}{{$x = .Name}}{{$x}}", "abc/web"), ("{{if true}}{{$x := 1}}{{$x}}{{end}}", "1"),
    ("a {{- .Id -}} b", "aabcb"), ("{{/* no */}}x{{- /* no */ -}} y", "xy"),
    ("{{`raw {{`}}{{\"\\t\\u00e9\"}}", "raw {{\té"),
    ("{{slice .Name 1}} {{slice .Config.Env 0 1}}", "web [A=1]"), ("{{truncate .Id 2}}|{{pad .Id 1 2}}|", "ab| abc  |"),
    ("{{'a'}} {{0x10}} {{-3}} {{1.50}}", "97 16 -3 1.5"), ("{{html \"<a>\"}} {{urlquery \"a b\"}}", "&lt;a&gt; a%20b"),
    ("{{.}}"[:0], ""),
])
def test_templates(text: str, shown: str) -> None:
    assert Template(text).render(DATA) == shown


@pytest.mark.parametrize(("text", "message"), [
    ("{{.ID", "template: :1: unclosed action"), ("{{foo}}", 'template: :1: function "foo" not defined'),
    ("\n{{$x}}", 'template: :2: undefined variable "$x"'), ("{{end}}", "template: :1: unexpected {{end}}"),
    ("{{if .a}}", "template: :1: unexpected EOF"), ("{{if}}x{{end}}", "template: :1: missing value for if"),
    ("{{(.a}}", "template: :1: unclosed left paren"), ("{{)}}", "template: :1: unexpected right paren"),
    ('{{"a}}', "template: :1: unterminated quoted string"), ("{{break}}", "template: :1: {{break}} outside {{range}}"),
    ("{{/* x}}", "template: :1: unclosed comment"),
    ("{{define \"x\"}}{{end}}", "template: :1: {{define}} is not supported"),
    ("{{1x}}", 'template: :1: bad number syntax: "1x"'), ("{{.a | }}", "template: :1: missing value for command"),
])
def test_what_does_not_parse(text: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(text)
    assert (str(caught.value), caught.value.parsing) == (message, True)


@pytest.mark.parametrize(("text", "message"), [
    ("{{.Foo}}", 'template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"'),
    ("{{.State.Foo}}", 'template: :1:8: executing "" at <.State.Foo>: map has no entry for key "Foo"'),
    ("x\n {{.Foo}}", 'template: :2:3: executing "" at <.Foo>: map has no entry for key "Foo"'),
    ("{{.Id.Foo}}", 'template: :1:5: executing "" at <.Id.Foo>: can\'t evaluate field Foo in type string'),
    ("{{len 3}}", 'template: :1:2: executing "" at <len>: error calling len: len of type int'),
    ("{{index .Empty 0}}", 'template: :1:2: executing "" at <index>: error calling index: index out of range: 0'),
    ("{{len}}", 'template: :1:2: executing "" at <len>: wrong number of args for len: want 1 got 0'),
    ("{{range .Id}}{{end}}", 'template: :1:8: executing "" at <.Id>: range can\'t iterate over abc'),
    ("{{eq 1 \"a\"}}", 'template: :1:2: executing "" at <eq>: error calling eq: incompatible types for comparison'),
])
def test_what_does_not_fit_the_data(text: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(text).render(DATA)
    assert (str(caught.value), caught.value.parsing) == (message, False)


def test_records_work_their_fields_out_when_asked() -> None:
    record = Fields("formatter.X", {
        "ID": lambda: "1", "Names": lambda: "<a>", "Label": lambda name: f"label {name}", "Broken": lambda: 1 / 0,
    }, ("Label", "Broken"))
    assert Template('{{.ID}} {{.Label "x"}}').render(record) == "1 label x"
    assert Template("{{json .}}").render(record) == '{"ID":"1","Names":"\\u003ca\\u003e"}'
    with pytest.raises(TemplateError, match=r"can't evaluate field Foo in type \*formatter\.X"):
        Template("{{.Foo}}").render(record)


@pytest.mark.parametrize(("text", "shown"), [
    ("{{.Binds}} {{.Tmpfs}} {{.Health}}", "[] map[] <nil>"), ("{{if .Health}}x{{else}}none{{end}}", "none"),
    ("{{len .Binds}} {{json .Binds}}", "0 null"), ("{{.Labels.nope}}", "<no value>"),
    ("{{range .Binds}}x{{else}}none{{end}}", "none"),
    ('{{join .Binds ","}}|{{index .Tmpfs "x"}}', "|<no value>"), ("{{.StopSignal}}|{{eq .Health nil}}", "|true"),
])
def test_nulls_and_absent_fields_read_as_the_engines_types(text: str, shown: str) -> None:
    assert Template(text).render({"Binds": None, "Labels": {"a": "b"}}, DOCUMENTS) == shown


def test_a_field_that_no_type_has_stays_an_error() -> None:
    with pytest.raises(TemplateError, match='map has no entry for key "Nope"'):
        Template("{{.Nope}}").render({}, DOCUMENTS)


@given(st.text(max_size=30))
def test_text_without_braces_is_itself(text: str) -> None:
    if "{{" not in text:
        assert Template(text).render({}) == text


@given(st.text("{}.$|()\"`-+ abcrangeifnd0,:=/*%\n'\\", max_size=40))
def test_any_text_renders_or_is_an_error(text: str) -> None:
    try:
        Template(text).render(DATA)
    except TemplateError:
        pass


def test_deep_nesting_is_refused_not_a_crash() -> None:
    for text in ("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}", "{{if 1}}" * 5000 + "{{end}}" * 5000):
        with pytest.raises(TemplateError, match="nested too deeply"):
            Template(text)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KEYS = st.text("abc", min_size=1, max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)


@given(JSON)
def test_json_comes_back(value: object) -> None:
    assert loads(Template("{{json .}}").render(value)) == value
    assert loads(dumps(value)) == value


@given(JSON)
def test_a_string_literal_is_what_it_says(value: object) -> None:
    if isinstance(value, str) and "`" not in value:
        assert Template("{{`" + value + "`}}").render({}) == value
