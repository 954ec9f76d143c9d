# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command lines of dockerd, as it reads them itself."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import flags, without_flags


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param("-H fd:// --debug", {"host": ["fd://"], "debug": [""]}, id="short and long"),
        pytest.param("-Hfd:// -H=unix:///x -l warn", {"host": ["fd://", "unix:///x"], "log-level": ["warn"]}, id="values that touch their flag"),
        pytest.param("--label=a=b --label c", {"label": ["a=b", "c"]}, id="twice"),
        pytest.param("stray --debug", {"debug": [""]}, id="a word that is no flag"),
        pytest.param("-D -x", {"debug": [""], "x": [""]}, id="a letter that nobody knows"),
        pytest.param("", {}, id="none"),
    ],
)
def test_flags_by_their_long_names(words, expected):
    assert flags(["dockerd", *words.split()]) == expected


def test_a_command_line_without_some_of_them():
    argv = ["dockerd", "-Hfd://", "--config-file", "/x", "--host", "unix:///y", "--config-file=/z", "--debug"]
    assert without_flags(argv, ("config-file",)) == ["dockerd", "-Hfd://", "--host", "unix:///y", "--debug"]
    assert without_flags(argv, ("host", "debug")) == ["dockerd", "--config-file", "/x", "--config-file=/z"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/usr/bin/env", "PATH=/opt/bin", "/opt/bin/dockerd", "-H", "fd://"], ["/opt/bin/dockerd", "-H", "fd://"]),
        (["/bin/sh", "-c", "exec /usr/bin/dockerd -H fd://"], []),
        (["/usr/bin/dockerd-current", "--debug"], ["/usr/bin/dockerd-current", "--debug"]),
    ],
)
def test_what_stands_before_dockerd_is_not_run(argv, expected):
    assert without_flags(argv, ("config-file",)) == expected
