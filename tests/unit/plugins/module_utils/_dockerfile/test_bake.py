# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bake files: which names their targets replace in which Dockerfile, and that what is not known is not guessed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.bake import read_bake
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree import BAKE_FILES

ALPINE = 'contexts = { alpine = "x" }'
HERE = [(".", "Dockerfile", ["alpine"])]
WEB = [("web", "Dockerfile", ["alpine"])]


def contexts(files):
    """Context, Dockerfile and the names of contexts, of the targets whose Dockerfile is known."""
    return [(*target.place, list(target.contexts)) for target in read_bake(files).targets if target.contexts and target.place and target.inline is None]


def hcl(text):
    return contexts({"docker-bake.hcl": text.encode()})


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param('alpine = "docker-image://alpine:3.13"', ["alpine"], id="an image"),
        pytest.param('alpine : "target:base"', ["alpine"], id="a target, behind a colon"),
        pytest.param('"ghcr.io/a/b" = "../src", "docker.io/c" : "d",', ["ghcr.io/a/b", "docker.io/c"], id="names in quotes, commas"),
        pytest.param('\n  a = "x" # y = "z"\n\n  b = "x", // {\n /* } */ c = /* "\n */ "x"\n', ["a", "b", "c"], id="lines and comments"),
        pytest.param('a = X, b = f("x", {y = 1}), c = X ? "y" : "z", d = "${X}", e = [\n"x"\n], f = 1, g = "x"', list("abcdefg"), id="values unknown"),
        pytest.param('"$${x}%%{y}\\"${z}" = "x"', ['$${x}%%{y}\\"${z}'], id="a name with a template is not read on"),
        pytest.param('"\\\\\\"\\u0061\\U00000062\\n$%é日" = "x"', ['\\"ab\n$%é日'], id="escapes"),
        pytest.param('alpine = "", redis = null', [], id="values that take the name away"),
        pytest.param('(alpine) = "x", f(redis) = "x"', [], id="names unknown"),
        pytest.param('for k, v in x : k => "x"', [], id="all of them unknown"),
        pytest.param("", [], id="none"),
    ],
)
def test_names_in_a_map(text, names):
    expected = [(".", "Dockerfile", names)] if names else []
    assert hcl(f'target "a" {{\n  contexts = {{{text}}}\n}}\n') == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        pytest.param({"context": "web"}, WEB, id="a context"),
        pytest.param({"context": "web", "dockerfile": "D"}, [("web", "D", ["alpine"])], id="a Dockerfile"),
        pytest.param({"context": "", "dockerfile": ""}, HERE, id="empty"),
        pytest.param({"context": None, "dockerfile": None, "dockerfile-inline": None, "inherits": None}, HERE, id="null"),
        pytest.param({"context": "cwd://web"}, WEB, id="a context in the working directory"),
        pytest.param({"context": "web", "dockerfile": "cwd://D"}, [(".", "D", ["alpine"])], id="a Dockerfile in the working directory"),
        pytest.param({"dockerfile-inline": "FROM alpine"}, [], id="a Dockerfile in the Bake file"),
        pytest.param({"dockerfile-inline": ""}, HERE, id="and nothing in it"),
        pytest.param({"context": "${X}"}, [], id="a context unknown"),
        pytest.param({"context": 1}, [], id="a context that is a number"),
        pytest.param({"dockerfile": "D.%{ if X }x%{ endif }"}, [], id="a Dockerfile unknown"),
        pytest.param({"inherits": ["b"]}, [], id="a base elsewhere"),
        pytest.param({"inherits": ["b"], "context": "web", "dockerfile": "Dockerfile"}, WEB, id="a base elsewhere that decides nothing"),
        pytest.param({"inherits": "${x}"}, [], id="bases unknown"),
        pytest.param({"inherits": ["${x}"]}, [], id="a base unknown"),
        pytest.param({"inherits": [1, ["b"], {}]}, [], id="bases that are none"),
        pytest.param({"inherits": []}, HERE, id="no base"),
        pytest.param({"inherits": ["a"]}, HERE, id="a circle"),
        pytest.param({"output": [{"type": "image"}], "args": {"A": None}, "matrix": {"x": ["y"]}, "pull": True}, HERE, id="other attributes"),
    ],
)
def test_where_the_dockerfile_is(attributes, expected):
    target = {"contexts": {"alpine": "x"}, **attributes}
    text = json.dumps({"variable": {"X": {}}, "target": {"a": target}}).encode()
    assert contexts({"docker-bake.json": text}) == expected
    # A value of JSON is one of HCL too.
    assert hcl('target "a" {\n' + "".join(f"{name} = {json.dumps(value)}\n" for name, value in target.items()) + "}") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f"target a {{ {ALPINE} }}", HERE, id="on one line, the name without quotes"),
        pytest.param(f'target "a" {{\r\n  context = "web"\r\n  {ALPINE}\r\n}}\r\n', WEB, id="CRLF"),
        pytest.param(f'target "a" {{\n{ALPINE}\ncontext = X\n}}', [], id="a variable"),
        pytest.param(f'target "a" {{\n{ALPINE}\ncontext = f(\n"web"\n)\n}}', [], id="a function"),
        pytest.param(f'target "a" {{\n{ALPINE}\ncontext = "${{f("}}")}}/web"\n}}', [], id="a text in a template in a text"),
        pytest.param(f'target "a" {{\n{ALPINE}\ncontext = "%{{ if X == {{}} }}"\n}}', [], id="a map in a template"),
        pytest.param(f'target "a" {{\n{ALPINE}\ndockerfile = <<E\nD\nE\n}}', [], id="a heredoc is not known"),
        pytest.param(f'target "a" {{\n{ALPINE}\nx = <<-E\n}} "\n  Ex\n  E\ncontext = "web"\n}}', WEB, id="a heredoc is passed over"),
        pytest.param(f'target "a" {{\n{ALPINE}\ndockerfile-inline = <<E\nFROM alpine\nE\n}}', [], id="a heredoc that is the Dockerfile"),
        pytest.param(f'target "a" {{\n{ALPINE}\nx = "a" < "b" ? 1 : 2\ncontext = "web"\n}}', WEB, id="signs"),
        pytest.param(f'target "a" {{\n{ALPINE}\ncontexts2 = {{ x = 1 }}\ny {{ x = 1 }}\n}}', HERE, id="a block inside"),
        pytest.param(
            f'X = 1\nvariable "Y" {{\n  default = "}}"\n  validation {{ x = y }}\n}}\nfunction "f" {{}}\ntarget "a" {{ {ALPINE} }}', HERE, id="all else"
        ),
        pytest.param(f'group "a" {{ {ALPINE} }}\ntarget {{ {ALPINE} }}\ntarget "a" "b" {{ {ALPINE} }}', [], id="other blocks"),
        pytest.param(f"target = {{ a = {{ {ALPINE} }} }}", [], id="an attribute of that name"),
        pytest.param(f'target "a" {{ context = "web" }}\ntarget "a" {{ {ALPINE} }}', WEB, id="a target in two parts"),
        pytest.param(
            f'target "_c" {{ {ALPINE} }}\ntarget "w" {{ context = "web" }}\ntarget "a" {{\n inherits = ["_c", "w"]\n dockerfile = "D"\n}}\n',
            [(".", "Dockerfile", ["alpine"]), ("web", "D", ["alpine"])],
            id="bases",
        ),
        pytest.param(
            f'target "c" {{\n inherits = ["b"]\n contexts = {{ b = "x" }}\n}}\ntarget "b" {{\n inherits = ["a"]\n contexts = {{ alpine = "" }}\n}}\n'
            f'target "a" {{ {ALPINE} }}',
            [(".", "Dockerfile", ["b"]), (".", "Dockerfile", ["alpine"])],
            id="a name of a base is taken away",
        ),
        pytest.param(f'target "a" {{\n inherits = ["b"]\n {ALPINE}\n}}\ntarget "b" {{\n inherits = ["a"]\n context = "web"\n}}', WEB, id="a circle"),
    ],
)
def test_hcl(text, expected):
    assert hcl(text) == expected


def test_the_files_of_a_folder_say_it_together():
    files = [{"context": "a"}, {"context": "web", "contexts": {"redis": "x"}}, {"contexts": {"redis": ""}}, {"contexts": {"alpine": "x"}}]
    written = {name: json.dumps({"target": {"a": target}}) for name, target in zip(BAKE_FILES, files)}
    written["docker-bake.hcl"] = 'target "a" {\n  context = "web"\n  contexts = { redis = "x" }\n}\n'
    written["docker-bake.override.hcl"] = f"target a {{ {ALPINE} }}"
    assert contexts({name: written[name].encode() for name in BAKE_FILES}) == WEB
    assert contexts({name: text.encode() for name, text in written.items() if "override" not in name}) == [("web", "Dockerfile", ["redis"])]


@pytest.mark.parametrize(
    "broken",
    [
        'target "b" {', "}", "{}", "(]", "target", '"a" "b"', "x y = 1", "= 1", 'target "b" {} target "c" {}x', 'x = "', 'x = "a\n"', 'x = "\\q"',
        'x = "${"', 'x = "${)}"', 'x = "\\UFFFFFFFF"', "x = (", 'target "b" {\nx\n}', 'target "b" {\nx =\n}', 'target "b" { x {} }',
        'target "b" { contexts = { c = } }',
        "x = <<E\nF = 1", "\ufeffx = 1", "/* x = 1", "/*\n*/ /",
    ],
)  # fmt: skip
def test_hcl_that_is_none_gives_nothing(broken):
    assert hcl(f'target "a" {{ {ALPINE} }}\n{broken}') == []


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"1", b"null", b"{", b'{"target": null}', b'{"target": []}', b'{"target": {"a": null}}', b'{"target": {"a": {"contexts": []}}}',
        b"\xff", b"[" * 100_000, b'{"target": {"a": {"contexts": {"\\ud800": 1}, "context": ' + b"1" * 5000 + b"}}}",
    ],
)  # fmt: skip
def test_json_that_is_none_gives_nothing(data):
    assert contexts({"docker-bake.json": data}) == []


def test_more_bases_than_anybody_writes_give_nothing():
    targets = {f"t{at}": {"inherits": [f"t{at + 1}"], "contexts": {"alpine": "x"}} for at in range(5000)}
    assert contexts({"docker-bake.json": json.dumps({"target": targets}).encode()}) == []


@pytest.mark.parametrize("piece", ["<<E\n", "/*", "//", '"${', '"', "{", "x = 1\n", "${", "\\", "a" * 9 + " ", 'target "a" {}\n', "x = [[\n]]\n"])
def test_a_large_file_is_read_once(piece):
    assert hcl(piece * 20_000) == []


PIECES = [
    *'{}[]()=:,"$%\\\n\r #/*.-?<>&é\0', 'target "a" ', "contexts = ", "context", "inherits = ", "alpine", '"x"', "${", "%{", "$${", "<<E\n", "\nE\n",
    "null", "//", "/*", "*/",
]  # fmt: skip


@pytest.mark.slow
@settings(max_examples=400)
@given(st.one_of(st.lists(st.sampled_from(PIECES)).map("".join), st.text()))
def test_any_text_is_read_or_gives_nothing(text):
    data = f'target "b" {{\n{ALPINE}\n{text}\n}}\n'.encode("utf-8", "surrogatepass")
    for files in (dict.fromkeys(BAKE_FILES, data), {"docker-bake.hcl": text.encode("utf-8", "surrogatepass")}, {"docker-bake.hcl": data}):
        assert all(context and dockerfile and names for context, dockerfile, names in contexts(files))


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", "contexts", "inherits", "context"]), inner)
    )
)
def test_any_json_is_read_or_gives_nothing(target):
    for value in (target, {"target": target}, {"target": {"a": target}}, {"target": {"a": {"contexts": target, "inherits": target, "context": target}}}):
        assert isinstance(contexts({"docker-bake.json": json.dumps(value).encode()}), list)
