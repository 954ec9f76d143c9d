# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils import _daemon_proxy as daemon_proxy
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import Daemon
from ansible_collections.buildfleet.docker.plugins.module_utils._host import File, Host
from ansible_collections.buildfleet.docker.plugins.module_utils._record import Record

UNIT, CONFIG = "/lib/systemd/system/docker.service", "/etc/docker/daemon.json"
DOCS = "/etc/systemd/system/docker.service.d/http-proxy.conf"
EXEC = b"[Service]\nEnvironmentFile=-/etc/default/docker\nExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS\n"
URL = "http://proxy.lab:3128"


def daemon(engine="26.1.5", config=None, unit=EXEC, **files):
    known = {UNIT: File(unit), CONFIG: config and File(config), **{path: File(text) for path, text in files.items()}}
    drop_ins = tuple(path for path in files if path.endswith(".conf"))
    return Daemon("docker", engine, "go1.24", {}, True, "active", 1, 1.0, UNIT, drop_ins, False, CONFIG, known, {})


@pytest.fixture()
def record(tmp_path):
    return Record(Host(), "test", str(tmp_path))


def plan(found, record, adopt=False, mechanism="auto", **options):
    wish, _warnings = daemon_proxy.wanted(options, found.engine, found.go)
    return daemon_proxy.present(wish, found, record, mechanism, adopt)


def test_from_23_the_proxies_stand_in_daemon_json(record):
    done = plan(daemon(), record, https_proxy=URL)
    assert done.mechanism == "daemon_json" and list(done.changes) == [CONFIG]
    assert done.expected.proxies == {"http_proxy": "", "https_proxy": URL, "no_proxy": ""}


def test_below_they_stand_in_an_environment_file(record):
    found = daemon("20.10.24")
    done = plan(found, record, https_proxy=URL)
    assert set(done.changes) == {found.drop_in, found.environment_file}
    assert done.changes[found.environment_file] == File(f"HTTPS_PROXY={URL}\nhttps_proxy={URL}\n".encode(), 0o600)


def test_an_upgraded_engine_moves_the_settings(record):
    old = daemon("20.10.24")
    before = {path: file.contents for path, file in plan(old, record, https_proxy=URL).changes.items()}
    done = plan(daemon("26.1.5", **before), record, https_proxy=URL)
    assert done.changes[old.drop_in] is None and done.changes[old.environment_file] is None and done.changes[CONFIG]


@pytest.mark.parametrize("engine", ["20.10.24", "26.1.5"])
def test_what_is_wanted_already_is_not_written(record, engine):
    first = plan(daemon(engine), record, https_proxy=URL, registry_mirrors=["https://m.lab"])
    found = daemon(engine, **{path: file.contents for path, file in first.changes.items() if path != CONFIG})
    found = found._replace(files={**found.files, **first.changes})
    assert plan(found, record, https_proxy=URL, registry_mirrors=["https://m.lab/"]).changes == {}


def test_a_password_closes_the_file(record):
    done = plan(daemon(config=b"{}"), record, https_proxy=URL, proxy_username="joe", proxy_password="s3cret")
    assert done.changes[CONFIG].mode == 0o600


FOREIGN = b'[Service]\nEnvironment="HTTP_PROXY=http://old:1" "OTHER=x y"\nEnvironment=NO_PROXY=a\n'


def test_a_foreign_setting_that_would_win_stops_the_run_by_file_and_line(record):
    with pytest.raises(daemon_proxy.PlanRefused, match=r"http-proxy.conf, line 2 sets HTTP_PROXY, which would win.*adopt"):
        plan(daemon(**{DOCS: FOREIGN}), record, https_proxy=URL)


def test_adopt_takes_the_lines_and_leaves_the_rest(record):
    done = plan(daemon(**{DOCS: FOREIGN}), record, adopt=True, https_proxy=URL)
    assert done.changes[DOCS].contents == b'[Service]\nEnvironment="OTHER=x y"\n'


def test_below_23_an_empty_value_clears_the_foreign_one(record):
    found = daemon("20.10.24", **{DOCS: FOREIGN})
    done = plan(found, record, https_proxy=URL)
    assert done.expected.proxies == {"http_proxy": "", "https_proxy": URL, "no_proxy": ""}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (b'{"hosts": ["x"]}', "'hosts' is set here and by --host"),
        (b'{"proxies": 1}', "'proxies' is no object"),
        (b'{"proxies":\n{"httpProxy": "x"}}', "line 2, column 2: .*'httpProxy'"),
        (b'{"buildkit": false}', "docker_build_env buildkit"),
        (b'{"registry-mirrors": ["m.lab"]}', "entry 1: .*needs the scheme"),
        (b'{"a": 1,}', "line 1, column 8"),
    ],
)
def test_what_stops_the_next_start_is_refused(record, config, words):
    with pytest.raises(daemon_proxy.PlanRefused, match=words):
        plan(daemon(config=config), record, https_proxy=URL)


def test_a_mirror_given_by_a_flag_too(record):
    unit = EXEC.replace(b"$DOCKER_OPTS", b"--registry-mirror=https://f.lab")
    with pytest.raises(daemon_proxy.PlanRefused, match="registry-mirror in the command line"):
        plan(daemon(unit=unit), record, registry_mirrors=["https://m.lab"])


def test_no_engine(record):
    with pytest.raises(daemon_proxy.PlanRefused, match="no Docker Engine"):
        plan(daemon(engine=""), record, https_proxy=URL)
    with pytest.raises(daemon_proxy.PlanRefused, match="does not start with 'proxies'"):
        plan(daemon(engine="20.10.24"), record, mechanism="daemon_json", https_proxy=URL)


def test_what_others_changed_since_stays_when_ours_goes(record):
    first = plan(daemon(config=b'{"a": 1}'), record, https_proxy=URL, registry_mirrors=["https://m.lab"])
    record.remember(first.changes)
    record.put_note("written", daemon_proxy.written(record, daemon(), first))
    changed = first.changes[CONFIG].contents.replace(b'"a": 1', b'"a": 2')
    done = daemon_proxy.absent(daemon(config=changed), record)
    assert done.changes[CONFIG].contents == b'{"a": 2}' and "changed by others" in done.conflicts[0]


def test_order_of_exceptions_needs_no_restart():
    found = daemon_proxy.Force({"http_proxy": "", "https_proxy": URL, "no_proxy": "b,A"}, ["https://m.lab"], frozenset())
    same = daemon_proxy.Force({"http_proxy": "", "https_proxy": URL, "no_proxy": "a, b"}, ["https://m.lab"], frozenset())
    assert daemon_proxy.differences(found, same) == []
    other = same._replace(registry_mirrors=["https://n.lab"], proxies={**same.proxies, "https_proxy": ""})
    assert daemon_proxy.differences(found, other) == ["https_proxy", "registry_mirrors"]


def test_an_edit_of_others_between_two_runs_is_not_lost(tmp_path):
    file = tmp_path / "daemon.json"
    file.write_bytes(b'{"debug": false}')
    record = Record(Host(), "test", str(tmp_path))

    def change(contents):
        record.remember({str(file): File(contents)})
        file.write_bytes(contents)

    change(b'{"debug": false, "proxies": {}}')
    assert record.as_we_left_it(str(file), Host().read(str(file)))
    file.write_bytes(b'{"debug": false, "log-level": "warn", "proxies": {}}')
    change(b'{"debug": false, "log-level": "warn", "proxies": {"http-proxy": "x"}}')
    assert not record.as_we_left_it(str(file), Host().read(str(file)))
