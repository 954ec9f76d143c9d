# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command lines of dockerd, as it reads them itself, and the files that its unit names."""

from __future__ import annotations

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import (
    Daemon,
    Loaded,
    environment_paths,
    flags,
    next_start,
    without_flags,
    wrapped,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.observe import observe
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Run


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


UNIT = "/lib/systemd/system/docker.service"


def daemon(exec_start):
    return Daemon("docker", "20.10.24", "", {}, True, "active", 1, 1.0, UNIT, (), False, "", {UNIT: File(f"[Service]\n{exec_start}\n".encode())}, {})


@pytest.mark.parametrize(
    ("exec_start", "argv", "environment", "program"),
    [
        pytest.param("ExecStart=/usr/bin/dockerd -D", ["/usr/bin/dockerd", "-D"], {}, "", id="dockerd itself"),
        pytest.param(
            "ExecStart=/usr/bin/env A=1 https_proxy=http://p /usr/bin/dockerd -D B=2",
            ["/usr/bin/env", "A=1", "https_proxy=http://p", "/usr/bin/dockerd", "-D", "B=2"],
            {"A": "1", "https_proxy": "http://p"}, "", id="env",
        ),
        pytest.param(
            """ExecStart=/bin/sh -c 'HTTPS_PROXY="http://p" exec /usr/bin/dockerd --registry-mirror https://m'""",
            ["HTTPS_PROXY=http://p", "exec", "/usr/bin/dockerd", "--registry-mirror", "https://m"], {"HTTPS_PROXY": "http://p"}, "",
            id="one command of a shell",
        ),
        pytest.param(
            "ExecStart=/bin/sh -c '. /etc/p.sh; exec /usr/bin/dockerd'", ["/bin/sh", "-c", ". /etc/p.sh; exec /usr/bin/dockerd"], {}, "/bin/sh",
            id="a shell's script",
        ),
        pytest.param("ExecStart=/bin/sh -c 'exec /opt/start'", ["/bin/sh", "-c", "exec /opt/start"], {}, "/bin/sh", id="a shell without dockerd"),
        pytest.param("ExecStart=/opt/start.sh -D", ["/opt/start.sh", "-D"], {}, "/opt/start.sh", id="a program of others"),
        pytest.param(
            "Environment=A=1 B=2 C=3 D=4\nUnsetEnvironment=D\nUnsetEnvironment=\nUnsetEnvironment=A B=2 C=4\nExecStart=dockerd", ["dockerd"],
            {"C": "3", "D": "4"}, "", id="variables that are unset",
        ),
        pytest.param("Type=notify", ["/usr/bin/dockerd"], {}, "", id="no command"),
        pytest.param("ExecStart=-", [], {}, "", id="a command without words"),
    ],
)  # fmt: skip
def test_what_a_wrapper_gives_dockerd(exec_start, argv, environment, program):
    found = daemon(exec_start)
    start = next_start(found, found.files)
    assert (start.argv, {name: one.value for name, one in start.environment.items()}) == (argv, environment)
    assert {one.path for one in start.environment.values()} <= {UNIT}
    assert wrapped(found, found.files) == program


class Patterns(MemoryHost):
    """A host whose unit names environment files by a pattern."""

    FILES = {
        UNIT: b"[Service]\nEnvironmentFile=-/etc/sysconfig/docker*\nEnvironmentFile=/etc/own\nExecStart=/usr/bin/dockerd\n",
        "/etc/sysconfig/docker-b": b"HTTPS_PROXY=http://b\n", "/etc/sysconfig/docker-a": b"HTTPS_PROXY=http://a\n",
        "/etc/sysconfig/other": b"HTTPS_PROXY=http://c\n",
    }  # fmt: skip

    def __init__(self):
        super().__init__({path: File(contents) for path, contents in self.FILES.items()}, {"/run/systemd/system"})

    def run(self, argv, env=None, cwd=None, timeout=60, stdin=""):
        return Run(0, f"LoadState=loaded\nFragmentPath={UNIT}\n" if argv[:2] == ["systemctl", "show"] else "", "")


def test_environment_files_named_by_a_pattern():
    found = observe(Patterns(), "docker", None)
    assert environment_paths(found, found.files) == ["/etc/sysconfig/docker-a", "/etc/sysconfig/docker-b", "/etc/own"]
    assert next_start(found, found.files).environment["HTTPS_PROXY"].place == "/etc/sysconfig/docker-b, line 1"


def test_a_folder_among_drop_ins_is_ignored_as_systemd_does():
    drop_ins = "/etc/systemd/system/docker.service.d"
    host = MemoryHost({f"{drop_ins}/a.conf": File(b"[Service]\n")}, {"/run/systemd/system", f"{drop_ins}/b.conf"})
    assert observe(host, "docker", None).drop_ins == (f"{drop_ins}/a.conf",)


@pytest.mark.parametrize(("is_folder", "needed"), [(True, False), (False, True)])
def test_a_reload_that_systemd_asks_for_because_of_a_folder_is_not_needed(is_folder, needed):
    drop_in = "/etc/systemd/system/docker.service.d/b.conf"
    host = MemoryHost({} if is_folder else {drop_in: File(b"[Service]\n")}, {"/run/systemd/system", *([drop_in] if is_folder else [])})
    shown = f"LoadState=loaded\nFragmentPath={UNIT}\nDropInPaths={drop_in}\nNeedDaemonReload=yes\n"
    host.run = lambda argv, **_more: Run(0, shown if argv[:2] == ["systemctl", "show"] else "", "")
    assert observe(host, "docker", None).reload_needed is needed


@pytest.mark.parametrize("ours", [True, False])
def test_environment_files_are_those_of_systemd_where_we_read_others(ours):
    found = daemon("EnvironmentFile=-/etc/%p\nExecStart=/usr/bin/dockerd")._replace(loaded=Loaded({}, ("/etc/docker",), "/usr/bin/dockerd"))
    files = {**found.files, **({found.drop_in: File(f"[Service]\nEnvironmentFile={found.environment_file}\n".encode())} if ours else {})}
    assert environment_paths(found, files) == ["/etc/docker", *([found.environment_file] if ours else [])]
