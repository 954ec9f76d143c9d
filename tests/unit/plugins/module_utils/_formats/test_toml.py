# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What our reader makes of TOML, with Python's own (since 3.11) as the judge."""

from __future__ import annotations

import datetime
import math
import random

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._formats.toml import Header, NotToml, parse

tomllib = pytest.importorskip("tomllib")
VALID = [
    "",
    "# a comment only\n",
    'server = "https://registry-1.docker.io"\n\n[host."https://mirror.example.com"]\n  capabilities = ["pull", "resolve"]\n',
    "[host.'https://m']\r\nskip_verify = true\r\nca = '/etc/ca.pem' # why\r\n",
    '[host."https://m".header]\nAuthorization = "Basic dTpw"\nx-meta = ["a", "b"]\n[host."https://n"]\noverride_path = false\n',
    'client = [["/a.pem", "/a.key"], ["/b.pem"]]\n',
    'a.b.c = 1\na.d = -2.5e3\n"quoted key" = +7\n',
    "[[rows]]\nname = 'x'\n[[rows]]\nname = 'y'\n[rows.inner]\nz = 1\n",
    "[[rows]]\n[rows.inner]\nz = 1\n[[rows]]\n[rows.inner]\nz = 2\n",
    "point = { x = 1, y.z = 2, t = {} }\nlist = [\n  1, # one\n  2,\n]\nnone = []\n",
    'long = """\none\n  two \\\n     three"""\nraw = \'\'\'\na\\b\'\'\'\nquotes = """a""""\n',
    'escapes = "\\t\\u00e9\\U0001F600\\"\\\\"\n',
    "a = 1_000\nb = 3.14_15\nc = 6e-2\nd = true\ne = false",
    "a = 0x1F\nb = 0o17\nc = 0b1_0\n",
    "[a.b]\nx = 1\n[a]\ny = 2\n",
    " \t key\t=\t'v'\t\n",
    "a.b = 1\n[a.c]\n[d]\ne.f = 1\n[d.e.g]\n",
    "[a.b.c]\n[a]\nb.d = 1\n",
    "a = {x.y = 1}\n[b]\na = {x.y = 1}\n['']\nx.z = 1\n",
    "[[a]]\nb.c = 1\n[[a]]\nb.c = 2\n",
]
WRONG = [
    "server = https://registry-1.docker.io\n",
    'server = "https://m\n',
    "server 'x'\n",
    "[host\n",
    "[host]]\n",
    "[[host]\n",
    "a = 1 b = 2\n",
    "a = 1\na = 2\n",
    "[a]\n[a]\n",
    "a = 1\n[a]\n",
    "a = [1]\n[[a]]\n",
    "[[a]]\n[a]\n",
    "a = {x = 1}\n[a.b]\n",
    "a = {x = 1}\na.y = 2\n",
    "a = {x = 1,}\n",
    "a = {x = 1\n",
    "a = [1, 2\n",
    "a = [1 2]\n",
    'a = "\\q"\n',
    'a = "\\ud800"\n',
    'a = "\\u12"\n',
    "a = 01\n",
    "a = \n",
    "= 1\n",
    "a = True\n",
    "a.b = 1\na = 2\n",
    "a.b = 1\n[a]\n",
    "a.b.c = 1\n[a.b]\n",
    "[a.b]\n[a]\nb.c.d = 1\n",
    "[a.b]\n[a]\nb.c = 1\n",
    "a = 'x\ny'\n",
    "a = [{x = 1}]\n[a.b]\n",
    'a = """x\n',
]
PIECES = ["", "", "\n", '"', "'", "[", "]", "{", "}", ",", ".", "=", "#", " ", "x", "1", "\\", "\r\n"]


def judged(text):
    """The judge's value; None for what is no TOML, ... for what only Docker's parser could have."""
    try:
        value = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    return ... if any(map(beyond, leaves(value))) else value


def beyond(value):
    return isinstance(value, (datetime.date, datetime.time)) or (isinstance(value, float) and not math.isfinite(value))


def leaves(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from leaves(one)
    else:
        yield value


@pytest.mark.parametrize("text", VALID)
def test_toml_is_read_as_the_judge_reads_it(text):
    assert parse(text, "/hosts.toml").value == judged(text)
    assert judged(text) is not None


@pytest.mark.parametrize("text", WRONG)
def test_what_the_judge_refuses_is_refused_with_its_place(text):
    assert judged(text) is None
    with pytest.raises(NotToml, match=r"^/hosts\.toml, line \d+, column \d+: .*\.$"):
        parse(text, "/hosts.toml")


TOO_DEEP = "values are nested more than 100 deep, and no setting of Docker is. Simplify it."
TOO_LARGE = "an integer of TOML has 64 bits, and this one needs more. Write a smaller one."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(f"a = {'[' * 2000}", f"/hosts.toml, line 1, column 105: {TOO_DEEP}", id="arrays"),
        pytest.param(f"a = {'{x = ' * 2000}", f"/hosts.toml, line 1, column 505: {TOO_DEEP}", id="inline tables"),
        pytest.param(f"a = [{{{'a.' * 60}a = {{{'a.' * 60}a = 1}}}}]", f"/hosts.toml, line 1, column 256: {TOO_DEEP}", id="dotted keys in inline tables"),
        pytest.param(f"{'a.' * 100}a = 1", f"/hosts.toml, line 1, column 203: {TOO_DEEP}", id="a dotted key"),
        pytest.param(f"[{'a.' * 100}a]", f"/hosts.toml, line 1, column 203: {TOO_DEEP}", id="a table"),
        pytest.param(f"a = {'9' * 5000}", f"/hosts.toml, line 1, column 5: {TOO_LARGE}", id="a long integer"),
        pytest.param("\na = 0xFFFFFFFFFFFFFFFF", f"/hosts.toml, line 2, column 5: {TOO_LARGE}", id="unsigned"),
        pytest.param("a = 9_223_372_036_854_775_808", f"/hosts.toml, line 1, column 5: {TOO_LARGE}", id="one too large"),
        pytest.param("a = -9223372036854775809", f"/hosts.toml, line 1, column 5: {TOO_LARGE}", id="one too small"),
    ],
)
def test_what_no_file_of_docker_has_is_refused(text, message):
    with pytest.raises(NotToml) as refused:
        parse(text, "/hosts.toml")
    assert str(refused.value) == message


@pytest.mark.parametrize("text", [f"a = {'[' * 99}1{']' * 99}", f"{'a.' * 99}a = 1", "a = [9223372036854775807, -9223372036854775808, 0x7FFFFFFFFFFFFFFF]"])
def test_the_deepest_and_the_largest_are_read(text):
    assert parse(text, "/hosts.toml").value == tomllib.loads(text)


@pytest.mark.parametrize(
    "date",
    ["2026-01-02T03:04:05Z", "0001-01-01T00:00:00Z", "2026-01-02 03:04:05.678+01:00", "2026-12-31t23:59:59", "2026-01-02", "03:04:05", "03:04:05.6"],
)
def test_a_date_is_read_as_its_text(date):
    text = f"a = {date} # when\nb = [{date}, {date}]\nc = {{ d = {date} }}\n"
    assert judged(text) is ...
    assert parse(text, "/config.toml").value == {"a": date, "b": [date, date], "c": {"d": date}}


@pytest.mark.parametrize("date", ["2026-13-02", "2026-01-32", "2026-01-02T", "2026-01-02T24:04:05", "2026-01-02T03:04", "2026-1-2", "03:04:60", "2026-01-02Z"])
def test_what_is_no_date_is_refused(date):
    assert judged(f"a = {date}\n") is None
    with pytest.raises(NotToml):
        parse(f"a = {date}\n", "/config.toml")


def test_the_place_of_each_value_is_kept():
    text = "a = 1\n[b]\nc.d = ['x', # y\n 2]\n[[e]]\n\"f\" = { g = [3] }\n"
    found = [(pair.header, pair.keys, text[pair.start : pair.span[0]], text[slice(*pair.span)], pair.value) for pair in parse(text, "/f").pairs]
    assert found == [
        (0, ("a",), "a = ", "1", 1), (1, ("c", "d"), "c.d = ", "['x', # y\n 2]", ["x", 2]), (2, ("f",), '"f" = ', "{ g = [3] }", {"g": [3]}),
    ]  # fmt: skip
    assert [[text[slice(*item)] for item in pair.items] for pair in parse(text, "/f").pairs] == [[], ["'x'", "2"], []]


def test_mutants_are_read_as_the_judge_reads_them():
    dice = random.Random(7)
    same = refused = 0
    for _round in range(3000):
        text = dice.choice(VALID + WRONG)
        for _cut in range(dice.randint(1, 3)):
            at = dice.randint(0, len(text))
            text = text[:at] + dice.choice([*PIECES, text[:9]]) + text[at + dice.randint(0, 2) :]
        expected = judged(text)
        try:
            found = parse(text, "/hosts.toml").value
        except NotToml:
            found = None
        if expected is not ...:
            assert found == expected, text
        same, refused = same + (found is not None), refused + (found is None)
    assert same > 200
    assert refused > 500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "server = https://m\n",
            "/hosts.toml, line 1, column 10: this is not a TOML value. Strings need quotes; the only words are true and false.",
            id="no quotes",
        ),
        pytest.param(
            '[host."https://m"]\n[host."https://m"]\n',
            "/hosts.toml, line 2, column 1: the table 'host.https://m' is defined twice. Merge the two.",
            id="a host twice",
        ),
        pytest.param("[host.https://m]\n", "/hosts.toml, line 1, column 12: a ']' is missing, which closes the name of the table.", id="a URL without quotes"),
        pytest.param("a = 'x'\n\nb 'y'\n", "/hosts.toml, line 3, column 3: a '=' is missing after the key 'b'.", id="no ="),
    ],
)
def test_the_sentence(text, message):
    with pytest.raises(NotToml) as refused:
        parse(text, "/hosts.toml")
    assert str(refused.value) == message


def test_where_tables_and_keys_stand():
    document = parse("# top\nserver = 'https://s'\n[host.'https://m']\ncapabilities = ['pull']\n", "/hosts.toml")
    assert document.headers == (Header(("host", "https://m"), 3, 27),)
    assert document.lines == {("server",): 2, ("host", "https://m"): 3, ("host", "https://m", "capabilities"): 4}
