# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a gitlab-runner's config.toml, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.buildfleet.docker.plugins.module_utils._build_env import runner
from ansible_collections.buildfleet.docker.plugins.module_utils._build_env.runner import RunnerError, Runners

PATH = "/etc/gitlab-runner/config.toml"
TOKEN = {"BUILDKIT_NO_CLIENT_TOKEN": "1"}
BOTH = {"BUILDKIT_NO_CLIENT_TOKEN": "1", "DOCKER_BUILDKIT": "1"}
REGISTERED = """concurrent = 4
check_interval = 0
shutdown_timeout = 0

[session_server]
  session_timeout = 1800

[[runners]]
  name = "shells"
  url = "https://gitlab.example.com/"
  id = 3
  token = "glrt-one"
  token_obtained_at = 2026-01-02T03:04:05Z
  token_expires_at = 0001-01-01T00:00:00Z
  executor = "shell"
  [runners.cache]
    MaxUploadedArchiveSize = 0

[[runners]]
  name = "containers" # with the engine of the host
  url = "https://gitlab.example.com/"
  token = "glrt-two"
  executor = "docker"
  environment = ["LANG=C.UTF-8"]
  [runners.docker]
    image = "busybox:1"
    privileged = true
    volumes = ["/var/run/docker.sock:/var/run/docker.sock", "/cache"]
    environment = ["not", "ours"]
"""


def into(text, here=None, elsewhere=None):
    return Runners(here or TOKEN, elsewhere or TOKEN).into(PATH, text.encode()).decode()


def out_of(text, first):
    return Runners.out_of(PATH, text.encode(), first.encode()).decode()


def test_each_runner_gets_what_its_executor_needs_and_nothing_else_changes():
    assert into(REGISTERED, TOKEN, {**TOKEN, "http_proxy": "http://172.17.0.1:3129"}) == REGISTERED.replace(
        '[[runners]]\n  name = "shells"', '[[runners]]\n  environment = ["BUILDKIT_NO_CLIENT_TOKEN=1"]\n  name = "shells"'
    ).replace(
        'environment = ["LANG=C.UTF-8"]', 'environment = ["LANG=C.UTF-8", "BUILDKIT_NO_CLIENT_TOKEN=1", "http_proxy=http://172.17.0.1:3129"]'
    )  # fmt: skip


SHAPES = [
    pytest.param("[[runners]]\n", '[[runners]]\n  environment = ["BUILDKIT_NO_CLIENT_TOKEN=1"]\n', id="a runner with nothing"),
    pytest.param("[[runners]]", '[[runners]]\n  environment = ["BUILDKIT_NO_CLIENT_TOKEN=1"]\n', id="no end of line"),
    pytest.param("[[runners]]\r\nname = 'a'\r\n", "[[runners]]\r\nenvironment = [\"BUILDKIT_NO_CLIENT_TOKEN=1\"]\r\nname = 'a'\r\n", id="CRLF"),
    pytest.param('  [[ runners ]] # one\n\t"name" = 1\n', '  [[ runners ]] # one\n\tenvironment = ["BUILDKIT_NO_CLIENT_TOKEN=1"]\n\t"name" = 1\n', id="a tab"),
    pytest.param("[[runners]]\n[runners.docker]\n", '[[runners]]\n  environment = ["BUILDKIT_NO_CLIENT_TOKEN=1"]\n[runners.docker]\n', id="a table below"),
    pytest.param("[[runners]]\nenvironment = []\n", '[[runners]]\nenvironment = ["BUILDKIT_NO_CLIENT_TOKEN=1"]\n', id="empty"),
    pytest.param("[[runners]]\nenvironment = [ # a\n]\n", '[[runners]]\nenvironment = ["BUILDKIT_NO_CLIENT_TOKEN=1" # a\n]\n', id="empty, with a comment"),
    pytest.param(
        "[[runners]]\nenvironment = [\n  'A=1', # one\n  'B=2', # two\n]\n",
        "[[runners]]\nenvironment = [\n  'A=1', # one\n  'B=2', \"BUILDKIT_NO_CLIENT_TOKEN=1\", # two\n]\n", id="on several lines",
    ),
    pytest.param(
        "[[runners]]\nenvironment = ['BUILDKIT_NO_CLIENT_TOKEN=0','A=1']\n",
        "[[runners]]\nenvironment = [\"BUILDKIT_NO_CLIENT_TOKEN=1\",'A=1']\n", id="another value",
    ),
    pytest.param(
        "[[runners]]\nenvironment = ['http_proxy=x', 'A=1']\n", "[[runners]]\nenvironment = [\"BUILDKIT_NO_CLIENT_TOKEN=1\", 'A=1']\n",
        id="a variable of ours that is not wanted makes room",
    ),
    pytest.param(
        "[[runners]]\nenvironment = ['BUILDKIT_NO_CLIENT_TOKEN=1', 'A=1', 'BUILDKIT_NO_CLIENT_TOKEN=0']\n",
        "[[runners]]\nenvironment = ['BUILDKIT_NO_CLIENT_TOKEN=1', 'A=1']\n", id="twice",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), SHAPES)
def test_every_shape_is_edited_in_its_own_way_and_undone(before, after):
    assert into(before) == after
    assert into(after) == after
    assert out_of(after, before) == before


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("concurrent = 1\n", id="not registered"),
        pytest.param("[[runners]]\nenvironment = ['BUILDKIT_NO_CLIENT_TOKEN=1'] # theirs\n", id="set already"),
        pytest.param("[runners_of_others]\nenvironment = 1\n", id="another table"),
    ],
)
def test_what_needs_no_change_gets_none(text):
    assert into(text) == text
    assert out_of(text, text) == text


@pytest.mark.parametrize(
    ("first", "found", "rest"),
    [
        pytest.param(
            "[[runners]]\nname = 'a'\n", '[[runners]]\n  name = "a"\n  environment = ["BUILDKIT_NO_CLIENT_TOKEN=1"]\n', '[[runners]]\n  name = "a"\n',
            id="written again by gitlab-runner",
        ),
        pytest.param(
            "[[runners]]\nname = 'a'\n", "[[runners]]\nname = 'a'\nenvironment = [\"BUILDKIT_NO_CLIENT_TOKEN=1\", 'B=2']\n",
            "[[runners]]\nname = 'a'\nenvironment = ['B=2']\n", id="the first of two",
        ),
        pytest.param(
            "[[runners]]\nname = 'a'\n", "[[runners]]\nname = 'a'\nenvironment = ['B=2', \"BUILDKIT_NO_CLIENT_TOKEN=1\"]\n",
            "[[runners]]\nname = 'a'\nenvironment = ['B=2']\n", id="the last of two",
        ),
        pytest.param(
            "[[runners]]\nname = 'a'\n", "[[runners]]\nname = 'a'\nenvironment = [\n  'B=2',\n  'DOCKER_BUILDKIT=1',\n  'BUILDKIT_NO_CLIENT_TOKEN=1',\n]\n",
            "[[runners]]\nname = 'a'\nenvironment = [\n  'B=2',\n]\n", id="on lines of their own",
        ),
        pytest.param(
            "[[runners]]\nname = 'a'\n", "[[runners]]\nname = 'a'\nenvironment = ['DOCKER_BUILDKIT=1', 'BUILDKIT_NO_CLIENT_TOKEN=1'] # why\n",
            "[[runners]]\nname = 'a'\nenvironment = [] # why\n", id="a comment keeps its line",
        ),
        pytest.param(
            "[[runners]]\nname = 'a'\nenvironment = []\n", "[[runners]]\nname = 'b'\nenvironment = ['DOCKER_BUILDKIT=1']\n"
            "[[runners]]\nname = 'a'\nenvironment = ['BUILDKIT_NO_CLIENT_TOKEN=1']\n",
            "[[runners]]\nname = 'b'\n[[runners]]\nname = 'a'\nenvironment = []\n", id="a runner above, registered since",
        ),
        pytest.param(
            "[[runners]]\nname = 'a'\nenvironment = ['http_proxy=http://theirs:1']\n[[runners]]\nname = 'b'\n",
            "[[runners]]\nname = 'b'\nlimit = 1\n[[runners]]\nname = 'a'\nenvironment = ['BUILDKIT_NO_CLIENT_TOKEN=1']\n",
            "[[runners]]\nname = 'b'\nlimit = 1\n[[runners]]\nname = 'a'\nenvironment = [\"http_proxy=http://theirs:1\"]\n", id="their value comes back",
        ),
        pytest.param("", "[[runners]]\nenvironment = ['BUILDKIT_NO_CLIENT_TOKEN=1']\n", "[[runners]]\n", id="a new file"),
    ],
)  # fmt: skip
def test_undo_after_others_changed_the_file_takes_out_our_variables_alone(first, found, rest):
    assert out_of(found, first) == rest


def test_a_file_that_is_gone_stays_gone():
    assert Runners.out_of(PATH, None, b"[[runners]]\n") is None


def test_two_runners_of_the_same_name_are_told_apart():
    text = "[[runners]]\nname = 'a'\n[[runners]]\nname = 'a'\nexecutor = 'shell'\n"
    after = into(text, TOKEN, {"DOCKER_BUILDKIT": "1"})
    assert runner.values(PATH, after.encode()) == ["1", "1"]
    assert out_of(after, text) == text
    assert out_of(after + "limit = 1\n", text) == text + "limit = 1\n"


def test_only_our_variables_are_shown():
    shown = Runners.shown(PATH, into(REGISTERED, TOKEN, BOTH).encode())
    assert shown == (
        '[[runners]] shells\nenvironment = ["BUILDKIT_NO_CLIENT_TOKEN=1"]\n'
        '[[runners]] containers\nenvironment = ["BUILDKIT_NO_CLIENT_TOKEN=1", "DOCKER_BUILDKIT=1"]\n'
    )
    assert Runners.shown(PATH, None) == ""
    assert runner.has_runners(PATH, REGISTERED.encode())
    assert not runner.has_runners(PATH, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            b"[[runners]]\ntoken = glrt-one\n",
            f"{PATH}, line 2, column 9: this is not a TOML value. Strings need quotes; the only words are true and false.", id="no TOML",
        ),
        pytest.param(b"\xff", f"{PATH} is not valid UTF-8. Correct it first.", id="no UTF-8"),
        *[
            pytest.param(
                text.encode(), f"{PATH}: runners is not a list of tables. Write [[runners]] above each, as gitlab-runner register does.", id=text[:12]
            )
            for text in ("[runners]\nname = 'a'\n", "runners = [{name = 'a'}]\n", "runners = 1\n")
        ],
        *[
            pytest.param(text.encode(), f"{PATH}, line {line}: the environment of the runner is not a list of strings. Correct it first.", id=f"line {line}")
            for line, text in (
                (3, "[[runners]]\nname = 'a'\nenvironment = 'A=1'\n"),
                (4, "\n[[runners]]\nname = 'a'\nenvironment = ['A=1', 2]\n"),
                (1, "[[runners]]\n[runners.environment]\nA = 1\n"),
            )
        ],
        *[
            pytest.param(
                text.encode(), f"{PATH}: the environment of a runner cannot be changed safely. Write it on one line, without comments.", id=text[12:30]
            )
            for text in ("[[runners]]\nenvironment = ['http_proxy=1' # a\n, 'https_proxy=2' # b\n, 'A=1']\n",)
        ],
    ],
)  # fmt: skip
def test_what_cannot_be_edited_is_refused(text, message):
    with pytest.raises(RunnerError) as refused:
        Runners({}, {}).into(PATH, text)
    assert str(refused.value) == message


NAMES = st.sampled_from([*runner.NAMES, "LANG", "PATH"])
GAPS = st.sampled_from(["", " ", "\n  ", "\n\n", " # why\n"])


@st.composite
def files(draw):
    text = draw(st.sampled_from(["", "concurrent = 1\n", "# first\r\n"]))
    for number in range(draw(st.integers(0, 3))):
        text += f"[[runners]]{draw(st.sampled_from(['', ' # a']))}\nname = 'r{draw(st.integers(0, 1))}'\n"
        text += f"executor = '{draw(st.sampled_from(['shell', 'docker']))}'\n"
        if draw(st.booleans()):
            entries = draw(st.lists(st.tuples(NAMES, st.sampled_from("12")), max_size=4))
            rows = [f"{draw(GAPS)}'{name}={value}'{draw(st.sampled_from(['', ' ', chr(10)]))}" for name, value in entries]
            text += f"environment = [{','.join(rows)}{',' if rows and draw(st.booleans()) else ''}{draw(GAPS)}]\n"
        text += draw(st.sampled_from(["", "[runners.docker]\nimage = 'x'\n", "limit = 2026-01-02 03:04:05.6+01:00\n", f"id = {number}"])) + "\n"
    return text


@given(
    first=files(),
    here=st.dictionaries(st.sampled_from(runner.NAMES), st.sampled_from("12")),
    there=st.dictionaries(st.sampled_from(runner.NAMES), st.just("3")),
)
def test_any_file_gets_the_variables_and_comes_back_byte_for_byte(first, here, there):
    piece = Runners(here, there)
    try:
        done = piece.into(PATH, first.encode())
    except RunnerError as error:
        assert "cannot be changed safely" in str(error)
        return
    assert piece.into(PATH, done) == done
    assert [found.ours for found in runner._runners(PATH, done)] == [here if found.on_the_host else there for found in runner._runners(PATH, first.encode())]
    assert others(done) == others(first.encode())
    assert piece.out_of(PATH, done, first.encode()) == first.encode()


def others(contents):
    return [[entry for entry in found.entries if entry.partition("=")[0] not in runner.NAMES] for found in runner._runners(PATH, contents)]
