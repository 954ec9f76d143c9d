# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ansible_collections.buildfleet.docker.plugins.module_utils._formats import json_file as daemon_json

URL = "http://proxy.example.com:3128"
PATH = "/etc/docker/daemon.json"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b"", b'{\n  "proxies": {\n    "http-proxy": "U"\n  }\n}\n', id="no file"),
        pytest.param(b"\nnull\r\n", b'{\r\n  "proxies": {\r\n    "http-proxy": "U"\r\n  }\r\n}\r\n', id="null, which every engine reads as an empty object"),
        pytest.param(b"\xef\xbb\xbfnull", b'\xef\xbb\xbf{\n  "proxies": {\n    "http-proxy": "U"\n  }\n}\n', id="BOM and null"),
        pytest.param(b"{}", b'{\n  "proxies": {\n    "http-proxy": "U"\n  }\n}', id="empty object"),
        pytest.param(b'{"a":1}', b'{"a":1, "proxies": {"http-proxy": "U"}}', id="one line"),
        pytest.param(b'{\n\t"a": 1.50\n}\n', b'{\n\t"a": 1.50,\n\t"proxies": {\n\t\t"http-proxy": "U"\n\t}\n}\n', id="tabs"),
        pytest.param(
            b'{\r\n    "a": "\\u00e9\xc3\xa9"\r\n}',
            b'{\r\n    "a": "\\u00e9\xc3\xa9",\r\n    "proxies": {\r\n        "http-proxy": "U"\r\n    }\r\n}',
            id="CRLF, escapes, no final newline",
        ),
        pytest.param(b'\xef\xbb\xbf{ "a": {} }', b'\xef\xbb\xbf{ "a": {}, "proxies": {"http-proxy": "U"} }', id="BOM"),
        pytest.param(
            b'{\n  "proxies": {\n    "no-proxy": "x"\n  },\n  "z": 1\n}',
            b'{\n  "proxies": {\n    "no-proxy": "x",\n    "http-proxy": "U"\n  },\n  "z": 1\n}',
            id="beside a key of others",
        ),
        pytest.param(b'{"proxies": {"http-proxy": "old"}, "n": 1e400}', b'{"proxies": {"http-proxy": "U"}, "n": 1e400}', id="another value"),
        pytest.param(b'{"proxies": [], "z": 1}', b'{"proxies": {"http-proxy": "U"}, "z": 1}', id="no object where one must be"),
        pytest.param(b'{"proxies" : {"http-proxy":"U"} }', b'{"proxies" : {"http-proxy":"U"} }', id="there already"),
    ],
)
def test_put(before, after):
    done = daemon_json.put(before, PATH, ["proxies", "http-proxy"], URL if b'"U"' not in before else "U")
    assert done.replace(URL.encode(), b"U") == after


@pytest.mark.parametrize(
    ("contents", "value"),
    [
        (rb'{"a": "h\ud800:1"}', "h\ufffd:1"),
        (rb'{"a": "\udc00\uD800"}', "\ufffd\ufffd"),
        (rb'{"a": "\ud83d\ude00"}', "\U0001f600"),
        (rb'{"a": "\\ud800"}', "\\ud800"),
    ],
)
def test_half_a_pair_is_read_as_docker_reads_it(contents, value):
    assert daemon_json.Document(contents, PATH).value == {"a": value}
    assert daemon_json.put(contents, PATH, ["a"], value) == contents


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b'{"a": 1, "k": 2, "z": 3}', b'{"a": 1, "z": 3}', id="in the middle"),
        pytest.param(b'{"k": 2, "z": 3}', b'{"z": 3}', id="first"),
        pytest.param(b'{\n  "a": [1],\n  "k": {"k": 1}\n}\n', b'{\n  "a": [1]\n}\n', id="last"),
        pytest.param(b'{ "k": 2 }', b"{}", id="alone"),
        pytest.param(b'{ "a": {"k": 2} }', b'{ "a": {"k": 2} }', id="not there"),
    ],
)
def test_drop(before, after):
    assert daemon_json.drop(before, PATH, ["k"]) == after


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.slow
@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=6), VALUES, min_size=1, max_size=5), st.sampled_from([None, 1, 2, 4, "\t"]), st.booleans(), VALUES)
def test_a_key_put_and_dropped_leaves_the_first_bytes(value, indent, ascii_only, ours):
    import json

    before = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assume("ours" not in value and b"\xed" not in before)
    after = daemon_json.put(before, PATH, ["ours"], ours)
    assert json.loads(after) == {**value, "ours": ours}
    assert daemon_json.put(after, PATH, ["ours"], ours) == after
    assert daemon_json.drop(after, PATH, ["ours"]) == before


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\ntrue 0', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused_with_a_sentence(contents):
    try:
        daemon_json.Document(contents, PATH)
    except daemon_json.NotJson as error:
        assert str(error).startswith(f"{PATH}, line ") and str(error).endswith(".")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b'{"a":1,}', "line 1, column 7: a ',' is before the closing '}', which JSON does not allow. Remove the ','."),
        (b'{\n  // x\n  "a":1}', "line 2, column 3: a comment, which JSON does not allow. Remove it."),
        (b"{'a':1}", "line 1, column 2: a single quote. JSON needs double quotes."),
        (b'{"a":1,\n"a":2}', "line 2, column 1: the key 'a' is in one object twice; Docker uses the last one. Remove one of them."),
        (b'{"a":', "line 1, column 6: the file ends in the middle of a value: it is cut off. Complete it, or restore a backup."),
        (b"[1]", "line 1, column 1: the file is not a JSON object. It must begin with '{' and end with '}'."),
        (b'{"a":1} x', "line 1, column 9: there is text after the last '}'. Remove it."),
        (b'{"a" 1}', "line 1, column 6: a ':' is missing after the key 'a'."),
        (b'{"a"', "line 1, column 5: the file ends in the middle of a value: it is cut off. Complete it, or restore a backup."),
        (b'{"a":1 "b":2}', "line 1, column 8: a ',' or '}' is missing."),
        (b'{"a":[1 2]}', "line 1, column 9: a ',' or ']' is missing."),
        (b'{"a":1 # x', "line 1, column 8: a comment, which JSON does not allow. Remove it."),
        (b'{"a":[1', "line 1, column 8: the file ends in the middle of a value: it is cut off. Complete it, or restore a backup."),
        (b"{a:1}", "line 1, column 2: a key in double quotes is missing."),
        ('{\n \u3000\u3000"a": 1}'.encode(), "line 2, column 2: an ideographic space (U+3000), which JSON does not allow. Write an ordinary space."),
        ('\u3000{"a": 1}'.encode(), "line 1, column 1: an ideographic space (U+3000), which JSON does not allow. Write an ordinary space."),
        ('{"a":\u00a01}'.encode(), "line 1, column 6: a no-break space (U+00A0), which JSON does not allow. Write an ordinary space."),
        ('{"a": 1}\u200b'.encode(), "line 1, column 9: an invisible character (U+200B), which JSON does not allow. Remove it."),
        ('{\n"a": [\u201chttps://a\u201d]\n}'.encode(), 'line 2, column 7: a typographic quote (U+201C), which JSON does not allow. Write ".'),
        ("{\u2018a\u2019: 1}".encode(), 'line 1, column 2: a typographic quote (U+2018), which JSON does not allow. Write ".'),
        ('{"a\u201d: 1}'.encode(), 'line 1, column 4: a typographic quote (U+201D), which JSON does not allow. Write ".'),
        ('{"a\u201d: 1, "b": 2}'.encode(), 'line 1, column 4: a typographic quote (U+201D), which JSON does not allow. Write ".'),
        ('{"a": "b\uff02\n}'.encode(), 'line 1, column 9: a fullwidth quote (U+FF02), which JSON does not allow. Write ".'),
        ('{"a": true\uff0c\n"b": []}'.encode(), "line 1, column 11: a fullwidth comma (U+FF0C), which JSON does not allow. Write ,."),
        ('{"a": [1\u3001 2]}'.encode(), "line 1, column 9: an ideographic comma (U+3001), which JSON does not allow. Write ,."),
        ('{"a"\uff1a 1}'.encode(), "line 1, column 5: a fullwidth colon (U+FF1A), which JSON does not allow. Write :."),
        ('\uff5b"a": 1}'.encode(), "line 1, column 1: a fullwidth bracket (U+FF5B), which JSON does not allow. Write {."),
        ('{"a": \u3010\u3011}'.encode(), "line 1, column 7: a fullwidth bracket (U+3010), which JSON does not allow. Write [."),
        (
            b'{"a":"x\n"}',
            "line 1, column 6: a string that does not end on its line, or has a wrong '\\' in it. Close it with '\"' and write a '\\' as '\\\\'.",
        ),
        (b'{"a": s3cret}', "line 1, column 7: this is not a JSON value; strings need double quotes."),
        (
            b'{"a":' + b"[" * 101 + b"]" * 101 + b"}",
            "line 1, column 106: values are nested more than 100 deep, and no setting of Docker is. Simplify it.",
        ),
        (b'{"a":1}\n\xff', "line 2, column 1: a byte that is not UTF-8 text: the file is binary or in another encoding. Save it as UTF-8."),
        (b'{"a":"\x00"}', "line 1, column 7: a byte that is not UTF-8 text: the file is binary or in another encoding. Save it as UTF-8."),
        (b"\xff\xfe{\x00", "line 1, column 1: the file is written in UTF-16 or UTF-32. Save it as UTF-8."),
        (
            b'{"a": NaN}',
            "line 1, column 7: 'NaN' is not a JSON value; strings need double quotes.",
        ),
    ],
)
def test_what_is_no_json_is_named_with_its_place_and_remedy(contents, message):
    with pytest.raises(daemon_json.NotJson) as caught:
        daemon_json.Document(contents, PATH)
    assert str(caught.value) == f"{PATH}, {message}"


def test_characters_that_are_none_of_jsons_may_stand_in_strings():
    contents = '{"a\u201c": "b\u201d\uff0c\u3000", "c": 1}'.encode()
    assert daemon_json.put(contents, PATH, ["c"], 1) == contents
