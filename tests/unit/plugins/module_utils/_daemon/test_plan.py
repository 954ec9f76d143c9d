# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import plan as daemon_proxy
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import settings as daemon_settings
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon, PlanRefused
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.problems import config_problems
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy import values as proxy

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
    with pytest.raises(PlanRefused, match=r"http-proxy.conf, line 2 sets HTTP_PROXY, which would override.*adopt"):
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
        (b'{"proxies": 1}', "'proxies' must be an object"),
        (b'{"proxies":\n{"httpProxy": "x"}}', "line 2, column 2: .*'httpProxy'"),
        (b'{"buildkit": false}', "docker_build_env buildkit"),
        (b'{"registry-mirrors": ["m.lab"]}', "entry 1: .*needs the scheme"),
        (b'{"a": 1,}', "line 1, column 8"),
    ],
)
def test_what_stops_the_next_start_is_refused(record, config, words):
    with pytest.raises(PlanRefused, match=words):
        plan(daemon(config=config), record, https_proxy=URL)


def test_a_mirror_given_by_a_flag_too(record):
    unit = EXEC.replace(b"$DOCKER_OPTS", b"--registry-mirror=https://f.lab")
    with pytest.raises(PlanRefused, match="registry-mirror on the command line"):
        plan(daemon(unit=unit), record, registry_mirrors=["https://m.lab"])


def test_no_engine(record):
    with pytest.raises(PlanRefused, match="no Docker Engine"):
        plan(daemon(engine=""), record, https_proxy=URL)
    with pytest.raises(PlanRefused, match="does not start with 'proxies'"):
        plan(daemon(engine="20.10.24"), record, mechanism="daemon_json", https_proxy=URL)


def test_what_others_changed_since_stays_when_ours_goes(record):
    first = plan(daemon(config=b'{"a": 1}'), record, https_proxy=URL, registry_mirrors=["https://m.lab"])
    record.remember(first.changes)
    record.put_note("written", daemon_proxy.written(record, daemon(), first))
    changed = first.changes[CONFIG].contents.replace(b'"a": 1', b'"a": 2')
    done = daemon_proxy.absent(daemon(config=changed), record)
    assert done.changes[CONFIG].contents == b'{"a": 2}' and "changed by others" in done.conflicts[0]


def test_order_of_exceptions_needs_no_restart():
    found = daemon_settings.Effective({"http_proxy": "", "https_proxy": URL, "no_proxy": "b,A"}, ["https://m.lab"], frozenset())
    same = daemon_settings.Effective({"http_proxy": "", "https_proxy": URL, "no_proxy": "a, b"}, ["https://m.lab"], frozenset())
    assert daemon_settings.differences(found, same) == []
    other = same._replace(registry_mirrors=["https://n.lab"], proxies={**same.proxies, "https_proxy": ""})
    assert daemon_settings.differences(found, other) == ["https_proxy", "registry_mirrors"]


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


PLAIN = (
    "registry_mirrors: BuildKit of engine {} does not use http://m.lab:5000, because it has no TLS. "
    "Add it to insecure_registries as http://m.lab:5000, or install a certificate on the mirror."
)
NO_SCHEME = (
    "insecure_registries: BuildKit of engine 20.10.24 ignores r.lab:5000, because it has no scheme. "
    "Write http://r.lab:5000 for a registry without TLS, https://r.lab:5000 for one with an unknown certificate."
)


@pytest.mark.parametrize(
    ("engine", "insecure", "written", "warnings"),
    [
        pytest.param("20.10.24", [], [], [PLAIN.format("20.10.24")], id="20.10: nothing"),
        pytest.param("20.10.24", ["m.lab:5000"], ["http://m.lab:5000"], [], id="20.10: the mirror's own scheme is written"),
        pytest.param("20.10.24", ["n.lab"], ["https://n.lab"], [PLAIN.format("20.10.24")], id="20.10: the scheme of a mirror with TLS"),
        pytest.param("20.10.24", ["http://m.lab:5000/"], ["http://m.lab:5000"], [], id="20.10: a URL"),
        pytest.param("20.10.24", ["https://m.lab:5000"], ["https://m.lab:5000"], [PLAIN.format("20.10.24")], id="20.10: another scheme"),
        pytest.param("20.10.24", ["m.lab:5000", "r.lab:5000"], ["http://m.lab:5000", "r.lab:5000"], [NO_SCHEME], id="20.10: no scheme"),
        pytest.param("20.10.24", ["10.0.0.0/8"], ["10.0.0.0/8"], [PLAIN.format("20.10.24")], id="20.10: a network"),
        pytest.param("26.1.5", [], [], [PLAIN.format("26.1.5")], id="26.1: nothing"),
        pytest.param("26.1.5", ["m.lab:5000", "r.lab:5000"], ["m.lab:5000", "r.lab:5000"], [], id="26.1: no scheme"),
        pytest.param("26.1.5", ["https://m.lab:5000"], ["https://m.lab:5000"], [], id="26.1: another scheme"),
        pytest.param("26.1.5", ["10.0.0.0/8"], ["10.0.0.0/8"], [PLAIN.format("26.1.5")], id="26.1: a network"),
        pytest.param("28.5.2", [], [], [], id="28.5: nothing"),
        pytest.param("", ["m.lab:5000"], ["m.lab:5000"], [PLAIN.format("(unknown)")], id="unknown engine"),
    ],
)
def test_a_registry_without_tls_is_written_as_buildkit_of_the_engine_reads_it(engine, insecure, written, warnings):
    wish, found = daemon_proxy.wanted({"registry_mirrors": ["http://m.lab:5000", "https://n.lab"], "insecure_registries": insecure}, engine, "")
    assert (wish.insecure_registries, found) == (written, warnings)


def test_a_network_that_is_named_by_an_address_in_it_is_written_as_docker_uses_it():
    wish, warnings = daemon_proxy.wanted({"insecure_registries": ["192.168.7.1/16", "192.168.0.0/16", "2001:DB8::/32"]}, "26.1.5", "")
    assert wish.insecure_registries == ["192.168.0.0/16", "2001:db8::/32"]
    assert warnings == [
        "insecure_registries: 192.168.7.1/16 has bits set after its prefix length. Docker uses the network 192.168.0.0/16, so 192.168.0.0/16 is written."
    ]


@pytest.mark.parametrize(
    ("mirrors", "written"),
    [
        (["https://a.lab", "https://b.lab", "https://a.lab/"], ["https://a.lab", "https://b.lab"]),
        (["https://b.lab/", "https://b.lab", "https://a.lab"], ["https://b.lab/", "https://a.lab"]),
        (["https://a.lab", "http://a.lab"], ["https://a.lab", "http://a.lab"]),
        ([], []),
    ],
)
def test_a_mirror_that_is_named_twice_is_written_once_at_its_first_place(mirrors, written):
    assert daemon_proxy.wanted({"registry_mirrors": mirrors}, "28.5.2", "")[0].registry_mirrors == written


def test_a_login_needs_a_proxy():
    with pytest.raises(proxy.ValueRefused, match=r"^proxy_username, proxy_password: these need http_proxy or https_proxy, which is not set\."):
        daemon_proxy.wanted({"proxy_username": "joe", "no_proxy": ["a"]}, "26.1", "")


def test_settings_differ_one_by_one():
    effective = daemon_settings.Effective({"http_proxy": "", "https_proxy": "", "no_proxy": ""}, [], frozenset())
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        assert daemon_settings.differences(effective, effective._replace(proxies={**effective.proxies, name: URL})) == [name]
    assert daemon_settings.differences(effective, effective._replace(registry_mirrors=["https://m.lab"])) == ["registry_mirrors"]
    assert daemon_settings.differences(effective, effective._replace(insecure_registries=frozenset(["m.lab"]))) == ["insecure_registries"]


@pytest.mark.parametrize("mechanism", ["daemon_json", "systemd"])
def test_what_is_wanted_no_more_goes_and_the_rest_stays(record, mechanism):
    options = {"https_proxy": URL, "registry_mirrors": ["https://m.lab"], "insecure_registries": ["m.lab"]}
    found = daemon(config=b'{"a": 1}')
    first = plan(found, record, mechanism=mechanism, **options)
    assert found.environment_file in first.changes or mechanism == "daemon_json"
    found = found._replace(files={**found.files, **first.changes})
    last = plan(found, record, mechanism=mechanism, no_proxy=[], registry_mirrors=[], insecure_registries=[])
    assert {path: file and file.contents for path, file in {**found.files, **last.changes}.items() if path != UNIT} == {
        CONFIG: b'{"a": 1}', **({} if mechanism == "daemon_json" else {found.drop_in: None, found.environment_file: None})
    }  # fmt: skip


def changed_by_others(found, edits, **options):
    """Ours is written, others edit it, and undo computes the files."""
    record = Record(MemoryHost({path: file for path, file in found.files.items() if file}), "test")
    first = plan(found, record, **options)
    record.remember(first.changes)
    record.put_note("written", daemon_proxy.written(record, found, first))
    after = {**found.files, **first.changes}
    for path, edit in edits.items():
        after[path] = edit and after[path]._replace(contents=edit(after[path].contents))
    return daemon_proxy.absent(found._replace(files=after), record)


def test_our_own_files_go_whatever_others_wrote_into_them():
    found = daemon("20.10.24")
    done = changed_by_others(found, {found.environment_file: lambda contents: contents + b"A=1\n"}, https_proxy=URL)
    assert (done.changes, done.conflicts) == ({found.drop_in: None, found.environment_file: None}, [])


def test_a_file_that_others_removed_since_stays_removed():
    done = changed_by_others(daemon(config=b'{"a": 1}'), {CONFIG: None}, https_proxy=URL)
    assert (done.changes, done.conflicts) == ({}, [])


def test_our_lines_in_a_file_of_a_shell_go_and_those_of_others_stay():
    found = daemon("20.10.24", unit=b"", **{"/etc/default/docker": b"A=1\n"})._replace(systemd=False, fragment="")
    done = changed_by_others(found, {"/etc/default/docker": lambda contents: contents + b"B=2\n"}, https_proxy=URL)
    assert done.changes["/etc/default/docker"].contents == b"A=1\nB=2\n" and "only our settings were removed from it" in done.conflicts[0]


def test_a_file_that_was_taken_over_and_changed_since_stays_and_its_first_bytes_are_kept_beside_it():
    done = changed_by_others(daemon(**{DOCS: FOREIGN}), {DOCS: lambda contents: contents + b"User=x\n"}, adopt=True, https_proxy=URL)
    kept = f"{DOCS}.before-buildfleet"
    assert DOCS not in done.changes
    assert done.changes[kept] == File(FOREIGN, 0o600)
    assert done.conflicts == [
        f"{DOCS} was changed by others since our last write, so only our settings were removed from it.",
        f"{DOCS} set HTTP_PROXY, NO_PROXY before our first run and does not now; its original contents are kept in {kept}.",
    ]


def test_runtimes_may_stand_in_the_file_and_in_the_command_line():
    unit = EXEC.replace(b" $DOCKER_OPTS", b" --add-runtime=nvidia=/usr/bin/nvidia-container-runtime")
    assert config_problems(daemon(config=b'{"runtimes": {"kata": {"path": "/usr/bin/kata"}}}', unit=unit)) == []


def test_a_configuration_of_any_name_is_json():
    secret = b' {"proxies": {"https-proxy": "http://joe:s3cret@p:1"}}'
    assert daemon_proxy.holds_secret("/etc/docker/dockerd.conf", File(secret))
    assert not daemon_proxy.holds_secret("/etc/docker/dockerd.conf", File(b"https_proxy=http://p:1\n"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b'{"a": 1}', b'{"a": 2}', id="the block was ours"),
        pytest.param(b'{"a": 1, "proxies": {}}', b'{"a": 2, "proxies": {}}', id="the empty block was there"),
        pytest.param(
            b'{"a": 1, "proxies": {"https-proxy": "http://old:1"}}', b'{"a": 2, "proxies": {"https-proxy": "http://old:1"}}', id="the value was another"
        ),
    ],
)
def test_our_keys_go_from_a_file_that_others_changed(before, after):
    done = changed_by_others(daemon(config=before), {CONFIG: lambda contents: contents.replace(b'"a": 1', b'"a": 2')}, https_proxy=URL)
    assert done.changes[CONFIG].contents == after


@pytest.mark.parametrize(
    ("unit", "files", "place"),
    [
        pytest.param(EXEC, {}, f"{UNIT}, line 3", id="the unit"),
        pytest.param(EXEC, {"/etc/default/docker": b"# -H x\nDOCKER_OPTS='--host=x'\n"}, "/etc/default/docker, line 2", id="the defaults"),
        pytest.param(b"[Service]\nExecStart=dockerd -Hfd://\n", {}, UNIT, id="nobody can tell"),
    ],
)
def test_a_flag_is_shown_in_the_file_that_gives_it(record, unit, files, place):
    with pytest.raises(PlanRefused) as caught:
        plan(daemon(unit=unit, config=b'{"hosts": []}', **files), record, https_proxy=URL)
    assert f"'hosts' is set here and by --host on the command line ({place})" in str(caught.value)


@pytest.mark.parametrize(
    ("config", "flag", "options", "key"),
    [
        pytest.param(None, "--registry-mirror", {"registry_mirrors": ["https://m.example.com"]}, "registry-mirrors", id="no file"),
        pytest.param(b'{"proxies": {"no-proxy": "x"}}', "--https-proxy", {"https_proxy": URL}, "https-proxy", id="an object of the file"),
        pytest.param(b'{"debug": true}', "--https-proxy", {"https_proxy": URL}, "https-proxy", id="a file without the object"),
    ],
)
def test_a_flag_beside_a_key_that_only_we_would_write_is_to_be_removed(record, config, flag, options, key):
    unit = f"[Service]\nExecStart=/usr/bin/dockerd -H fd:// {flag}=https://a.example.com\n".encode()
    with pytest.raises(PlanRefused) as caught:
        plan(daemon(unit=unit, config=config), record, adopt=True, **options)
    assert str(caught.value) == (
        f"{UNIT}, line 2: {flag} on the command line sets '{key}', and Docker would not start if {CONFIG} set it too "
        f"('the following directives are specified both as a flag and in the configuration file: {key}'). Remove the flag there."
    )


SCRIPT = b"[Service]\nType=notify\nExecStart=\nExecStart=/opt/start.sh\n"
SEEN = {"ID": "x", "HttpsProxy": "http://script:1", "RegistryConfig": {"Mirrors": ["https://script/"]}}
HIDDEN = (
    f"{UNIT}, line 4 starts /opt/start.sh, which sets another {{0}} than the files of this host, and would override this option. "
    "Remove it from /opt/start.sh, then restart docker."
)


@pytest.mark.parametrize(
    ("engine", "unit", "wanted", "changed", "refused"),
    [
        pytest.param("20.10.24", SCRIPT, {"https_proxy": URL}, 0, "https_proxy: " + HIDDEN.format("https_proxy"), id="a proxy that the script exports"),
        pytest.param("26.1.5", SCRIPT, {"https_proxy": URL}, 0, "", id="daemon.json wins over what it exports"),
        pytest.param(
            "26.1.5", SCRIPT, {"registry_mirrors": ["https://m"]}, 0, "registry_mirrors: " + HIDDEN.format("registry_mirrors"), id="a flag of the script"
        ),
        pytest.param("26.1.5", SCRIPT, {"registry_mirrors": ["https://m"]}, 9, "", id="files changed since, so they may be the difference"),
        pytest.param("26.1.5", SCRIPT, {"insecure_registries": ["r"]}, 0, "", id="a setting that it does not touch"),
        pytest.param("26.1.5", EXEC, {"registry_mirrors": ["https://m"]}, 0, "", id="dockerd itself"),
    ],
)
def test_what_a_program_that_starts_the_daemon_gives_it_is_not_overridden(record, engine, unit, wanted, changed, refused):
    found = daemon(engine, unit=unit)._replace(info=SEEN, changed={CONFIG: changed})
    try:
        plan(found, record, **wanted)
        assert not refused
    except PlanRefused as error:
        assert str(error) == refused


@pytest.mark.parametrize("adopt", [False, True])
def test_a_proxy_in_the_command_line_is_removed_by_its_writer(record, adopt):
    unit = b"[Service]\nExecStart=/usr/bin/env HTTPS_PROXY=http://old:1 /usr/bin/dockerd\n"
    with pytest.raises(PlanRefused) as refused:
        plan(daemon("20.10.24", unit=unit), record, adopt=adopt, https_proxy=URL)
    assert str(refused.value) == f"https_proxy: {UNIT}, line 2 sets HTTPS_PROXY, which would override this option. Remove it there."
