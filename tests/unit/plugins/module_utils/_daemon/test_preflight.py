# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that were broken before us. What systemd, the journal and dockerd answer here was recorded on 20.10, 26.1 and 28.5."""

from __future__ import annotations

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import preflight
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Run

UNIT, FOLDER, CONFIG = "/lib/systemd/system/docker.service", "/etc/systemd/system/docker.service.d", "/etc/docker/daemon.json"
EXEC = "[Unit]\nRequires=docker.socket\n[Service]\nExecStart=/usr/sbin/dockerd -H fd://\n"
TWICE = "docker.service: Service has more than one ExecStart= setting, which is only allowed for Type=oneshot services. Refusing.\n"
MISSING = "docker.service: Failed to create docker.service/start: Unit media.service not found.\n"
METRICS = "failed to start metrics server: listen tcp 192.168.1.40:9323: bind: cannot assign requested address"
UP = {"ID": "x"}
TOO_OFTEN = {"docker.service Result": "start-limit-hit"}
LIMIT = "docker.service: Start request repeated too quickly.\ndocker.service: Failed with result 'start-limit-hit'.\nFailed to start docker.service - D.\n"
STARTED = f"level=error msg=harmless\nStarted docker.service - D.\nStopping docker.service - D...\nStopped docker.service - D.\n{LIMIT}{LIMIT}"
CRASHED = f"Started docker.service - D.\ndocker.service: Main process exited, code=exited, status=1/FAILURE\n{LIMIT}"
RELOAD = "then: systemctl daemon-reload, systemctl start docker."


class Machine(MemoryHost):
    """A host that answers from what it is given; ``shown`` are properties of units."""

    def __init__(self, verify="", code=None, shown=(), journal="", objection="", log=None, filesystems=()):
        super().__init__({} if log is None else {"/var/log/docker.log": log})
        self.verify, self.code = verify, (1 if verify else 0) if code is None else code
        self.shown, self.journal, self.objection, self.clock = dict(shown), journal, objection, 0.0
        self.filesystems = dict(filesystems)

    def now(self):
        return self.clock

    def sleep(self, seconds):
        self.clock += seconds

    def run(self, argv, env=None, cwd=None, timeout=60, stdin=""):
        if argv[:2] == ["systemd-analyze", "verify"]:
            return Run(self.code, "", self.verify)
        if argv[0] == "journalctl":
            return Run(0, self.journal, "")
        if "--validate" in argv:
            return Run(1 if self.objection in stdin and self.objection else 0, "", f"unable to configure: {self.objection}")
        if argv[0] == "stat":
            return Run(0, f"{self.filesystems[argv[-1]]}\n", "") if argv[-1] in self.filesystems else Run(1, "", "No such file or directory")
        values = {name: self.shown.get(f"{argv[4]} {name}", "") for name in argv[2].partition("=")[2].split(",")}
        return Run(0, "".join(f"{name}={value(self.clock) if callable(value) else value}\n" for name, value in values.items()), "")


def daemon(state="failed", info=(), engine="26.1.5", systemd=True, config=None, unit=EXEC, absent=(), **drop_ins):
    files = {**dict.fromkeys(absent), UNIT: File(unit.encode()), **{f"{FOLDER}/{name}.conf": File(text.encode()) for name, text in drop_ins.items()}}
    files[CONFIG] = None if config is None else File(config.encode())
    return Daemon(
        "docker", engine, "go1.24", dict(info), systemd, state, 0, 0, UNIT if systemd else "", tuple(path for path in files if path.startswith(FOLDER)),
        False, CONFIG, files, {},
    )  # fmt: skip


def command(program, code, status):
    """A command of a unit after its last start, as systemctl show prints it."""
    return f"{{ path={program} ; argv[]={program} -x ; ignore_errors=no ; start_time=[x] ; stop_time=[x] ; pid=7 ; code={code} ; status={status} }}"


COMMANDS = command("/bin/true", "exited", "0"), command("/bin/false", "exited", "1")


def changes(config=None):
    return {} if config is None else {CONFIG: File(config.encode())}


@pytest.mark.parametrize(
    ("machine", "found", "sentence", "cure"),
    [
        pytest.param(
            Machine(TWICE), daemon(option="[Service]\nEnvironmentFile=-/run/x\nExecStart=/usr/bin/dockerd\n"),
            f"{FOLDER}/option.conf, line 3: this is a second ExecStart= of docker.service, so systemd does not start it. "
            "systemd's message: Service has more than one ExecStart= setting, which is only allowed for Type=oneshot services. Refusing.",
            f"Write a line 'ExecStart=' without a value before it, or remove it; {RELOAD}", id="two ExecStart",
        ),
        pytest.param(
            Machine(MISSING), daemon(override="[Unit]\nRequires=media.service\nAfter=media.service\n"),
            f"{FOLDER}/override.conf, line 2: docker.service requires media.service, which is not on this host, so systemd does not start it. "
            "systemd's message: Failed to create docker.service/start: Unit media.service not found.",
            f"Remove it from that line or install the package that provides it, {RELOAD}", id="a dependency that does not exist",
        ),
        pytest.param(
            Machine("docker.service: Failed to create docker.service/start: Unit media.service is masked.\n"), daemon(),
            "A dependency of docker.service: docker.service requires media.service, which is masked, so systemd does not start it. "
            "systemd's message: Failed to create docker.service/start: Unit media.service is masked.",
            f"Remove it from that line or run: systemctl unmask media.service, {RELOAD}", id="a masked dependency that no file names",
        ),
        pytest.param(
            Machine("docker.service: Command /usr/bin/nosuch is not executable: No such file or directory\n"),
            daemon(own="[Service]\nExecStart=\nExecStart=/usr/bin/nosuch\n"),
            f"{FOLDER}/own.conf, line 3: ExecStart= of docker.service names a program that cannot be executed. "
            "systemd's message: Command /usr/bin/nosuch is not executable: No such file or directory.",
            f"Write the path of the engine's dockerd there, {RELOAD}", id="a program that is not there",
        ),
        pytest.param(
            Machine("x\nUnit docker.service has a bad unit file setting.\n"), daemon(),
            f"systemd does not start docker.service ({UNIT}). systemd's message: Unit docker.service has a bad unit file setting.",
            f"Correct the unit, {RELOAD}", id="anything else",
        ),
        pytest.param(
            Machine("not found", 127, {"docker.service LoadState": "bad-setting"}), daemon(), "systemd does not start docker.service (bad-setting).",
            "Correct what systemctl status docker.service names, then: systemctl daemon-reload.", id="nothing that verifies",
        ),
        pytest.param(
            Machine(shown={"docker.service LoadState": "masked"}), daemon(), "docker.service is masked, so systemd does not start it.",
            "Run: systemctl unmask docker.service.", id="masked",
        ),
        pytest.param(
            Machine("Unit docker.service is masked.\n"), daemon(), "docker.service is masked, so systemd does not start it.",
            "Run: systemctl unmask docker.service.", id="masked, by systemd's own words",
        ),
        pytest.param(
            Machine("docker.service: Command /usr/local/bin/mk-opts.sh is not executable: No such file or directory\n"),
            daemon(own="[Service]\nExecStartPre=-/usr/bin/other\nExecStartPre=/usr/local/bin/mk-opts.sh -k X\n"),
            f"{FOLDER}/own.conf, line 3: ExecStartPre= of docker.service names a program that cannot be executed. "
            "systemd's message: Command /usr/local/bin/mk-opts.sh is not executable: No such file or directory.",
            f"Remove that line or install the program, {RELOAD}", id="a program before the start that is not there",
        ),
        pytest.param(
            Machine("docker.service: Command /opt/dockerd is not executable: No such file or directory\n"), daemon(),
            f"{UNIT}: ExecStart= of docker.service names a program that cannot be executed. "
            "systemd's message: Command /opt/dockerd is not executable: No such file or directory.",
            f"Write the path of the engine's dockerd there, {RELOAD}", id="a program that no file names",
        ),
        pytest.param(
            Machine(),
            daemon(env="[Service]\nEnvironmentFile=/etc/old\nEnvironmentFile=\nEnvironmentFile=-/etc/may\nEnvironmentFile=/run/flannel/subnet.env\n",
                   absent=("/etc/old", "/etc/may", "/run/flannel/subnet.env")),
            f"{FOLDER}/env.conf, line 5: EnvironmentFile= of docker.service names /run/flannel/subnet.env, which does not exist, "
            "so systemd does not start it.",
            f"Write a '-' before the path, or create the file; {RELOAD}", id="an environment file that is not there",
        ),
        pytest.param(
            Machine(), daemon(old="[Service]\nExecStart=\nExecStart=/usr/bin/docker daemon -H fd://\n"),
            f"{FOLDER}/old.conf, line 3: ExecStart= of docker.service starts the daemon as a command of /usr/bin/docker, "
            "which engine 26.1.5 does not have.",
            f"Write /usr/bin/dockerd instead, {RELOAD}", id="docker daemon",
        ),
    ],
)  # fmt: skip
def test_a_unit_that_systemd_refuses_is_named_with_its_remedy(machine, found, sentence, cure):
    assert preflight.unit_problem(machine, found) == (sentence, cure)


@pytest.mark.parametrize(
    ("machine", "found"),
    [
        pytest.param(Machine("docker.service.d/x.conf:2: Unknown key 'Foo' in section [Service], ignoring.\n", 0), daemon(), id="what systemd ignores"),
        pytest.param(Machine(shown={"docker.service LoadState": "loaded"}), daemon(), id="a good unit"),
        pytest.param(
            Machine("docker.service: Command killall is not executable: No such file or directory\n"),
            daemon(own="[Service]\nExecStop=killall dockerd\n"),
            id="a program that is missing for the stop alone",
        ),
        pytest.param(
            Machine(),
            daemon(
                env=f"[Service]\nEnvironmentFile=-/etc/may\nEnvironmentFile={FOLDER}/zz-buildfleet.env\nEnvironmentFile=/etc/*.env\n",
                absent=("/etc/may", f"{FOLDER}/zz-buildfleet.env"),
            ),
            id="environment files that may be missing",
        ),
        pytest.param(Machine(), daemon(unit="[Unit]\n"), id="no command that could be read"),
        pytest.param(Machine("docker.service: Dependency After=docker.service is dropped.\n"), daemon(), id="what systemd drops"),
        pytest.param(Machine(TWICE), daemon(systemd=False), id="no systemd"),
        pytest.param(Machine("", 1), daemon(), id="it fails without a word"),
    ],
)
def test_a_unit_that_systemd_starts(machine, found):
    assert preflight.unit_problem(machine, found) is None


@pytest.mark.parametrize(
    ("machine", "found", "sentence", "cure"),
    [
        pytest.param(
            Machine(journal=f"Starting Docker\n{METRICS}\ndocker.service: Failed with result 'exit-code'.\n"), daemon(),
            f"Docker does not run (docker.service is failed). Its log says: {METRICS}.", "Repair that, start Docker (systemctl start docker).", id="failed",
        ),
        pytest.param(
            Machine(journal=METRICS), daemon(config='{"debug": true,\n "metrics-addr": "192.168.1.40:9323"}'),
            f"Docker does not run (docker.service is failed). Its log says: {METRICS} ('metrics-addr' is in {CONFIG}, line 2, column 2).",
            "Repair that, start Docker (systemctl start docker).", id="failed by a value of its file",
        ),
        pytest.param(
            Machine(journal="failed to start daemon: insecure registry /x):4000 is not valid: invalid host\n"),
            daemon(kolla="[Service]\nExecStart=\n# /x):4000\nExecStart=/usr/bin/dockerd -D --insecure-registry=/x):4000\n"),
            "Docker does not run (docker.service is failed). Its log says: failed to start daemon: insecure registry /x):4000 is not valid: invalid host "
            f"('/x):4000' is in {FOLDER}/kolla.conf, line 4).",
            "Repair that, start Docker (systemctl start docker).", id="failed by a value of its command line",
        ),
        pytest.param(
            Machine(journal="Status: unknown flag: --http-proxy\nSee 'dockerd --help'., Code: 125\ndocker.service: Failed with result 'exit-code'.\n"),
            daemon(proxy="[Service]\nExecStart=\nExecStart=/usr/bin/dockerd --debug --http-proxy=http://p:1\n", engine="20.10.24"),
            "Docker does not run (docker.service is failed). Its log says: Status: unknown flag: --http-proxy "
            f"('--http-proxy' is in {FOLDER}/proxy.conf, line 3).",
            "Repair that, start Docker (systemctl start docker).", id="a flag of its command line that it does not know",
        ),
        pytest.param(
            Machine(shown={"docker.service ConditionResult": "no", "docker.service ConditionTimestampMonotonic": "7"}),
            daemon("inactive", disk="[Unit]\nConditionPathIsReadWrite=\nConditionPathIsReadWrite=/mnt/disk\n"),
            f"systemd does not start docker.service, because a condition of it is not met: {FOLDER}/disk.conf, line 3 (ConditionPathIsReadWrite=/mnt/disk).",
            f"Make the condition true or remove the line, {RELOAD}", id="a condition that is not met",
        ),
        pytest.param(
            Machine(shown={"docker.service AssertResult": "no", "docker.service AssertTimestampMonotonic": "7", "docker.service ConditionResult": "no"}),
            daemon("inactive", disk="[Unit]\nConditionACPower=true\nAssertPathExists=/mnt/disk\n"),
            f"systemd does not start docker.service, because a condition of it is not met: {FOLDER}/disk.conf, line 3 (AssertPathExists=/mnt/disk).",
            f"Make the condition true or remove the line, {RELOAD}", id="an assertion that is not met",
        ),
        pytest.param(
            Machine(shown={
                "docker.service ConditionResult": "no", "docker.service ConditionTimestampMonotonic": "7",
                "docker.service Requires": "docker.socket", "docker.socket ActiveState": "failed",
            }),
            daemon("inactive", disk="[Unit]\nConditionPathExists=/mnt/disk\n"),
            f"systemd does not start docker.service, because a condition of it is not met: {FOLDER}/disk.conf, line 2 (ConditionPathExists=/mnt/disk).",
            f"Make the condition true or remove the line, {RELOAD}", id="a condition that is not met, for which the socket failed too",
        ),
        pytest.param(
            Machine(shown={"docker.service ExecStartPre": f"{COMMANDS[0]}\nExecStartPre={COMMANDS[1]}"}, journal=METRICS),
            daemon(hook="[Service]\nExecStartPre=/bin/true\nExecStartPre=/bin/false\n"),
            f"Docker does not run (docker.service is failed). {FOLDER}/hook.conf, line 3: ExecStartPre=/bin/false -x failed (exited, status 1).",
            "Repair that, start Docker (systemctl start docker).", id="a command before it failed",
        ),
        pytest.param(
            Machine(shown={"docker.service ExecStartPost": command("/bin/sleep", "killed", "15/TERM")}), daemon(),
            f"Docker does not run (docker.service is failed). {UNIT}: ExecStartPost=/bin/sleep -x failed (killed, status 15/TERM).",
            "Repair that, start Docker (systemctl start docker).", id="a command after it failed, of which the file is unknown",
        ),
        pytest.param(
            Machine(shown={"docker.service ExecStartPre": command("/bin/false", "exited", "1").replace("=no ;", "=yes ;")}, journal=METRICS), daemon(),
            f"Docker does not run (docker.service is failed). Its log says: {METRICS}.",
            "Repair that, start Docker (systemctl start docker).", id="a command that may fail",
        ),
        pytest.param(
            Machine(), daemon("active", unit="[Service]\nType=oneshot\nExecStart=/bin/true\nRemainAfterExit=yes\n"),
            f"{UNIT}, line 3: ExecStart= of docker.service starts /bin/true and not dockerd, and Docker does not answer.",
            "Write the path of the engine's dockerd there, then: systemctl daemon-reload, systemctl restart docker.", id="another program",
        ),
        pytest.param(
            Machine(journal=METRICS, code=0), daemon(config='{"debug": true}{}', engine="20.10.24"),
            f"Docker does not run (docker.service is failed). Its log says: {METRICS}.",
            "Repair that, start Docker (systemctl start docker).", id="a file that only an old engine reads",
        ),
        pytest.param(
            Machine(shown=TOO_OFTEN, journal=STARTED), daemon(),
            "Docker does not run: docker.service was restarted too often in a short time (start-limit-hit), and its last start was good.",
            "Run: systemctl reset-failed docker.service, systemctl start docker.", id="restarted too often",
        ),
        pytest.param(
            Machine(shown=TOO_OFTEN, journal=f"{CRASHED}{METRICS}\n{LIMIT}"), daemon(),
            f"Docker does not run (docker.service is failed). Its log says: {METRICS}.", "Repair that, start Docker (systemctl start docker).",
            id="failed too often",
        ),
        pytest.param(
            Machine(journal="docker.service: Failed at step EXEC spawning x: No such file\n"), daemon("activating"),
            "Docker does not run (docker.service is activating). Its log says: docker.service: Failed at step EXEC spawning x: No such file.",
            "Repair that, start Docker (systemctl start docker).", id="systemd's words, where dockerd said nothing",
        ),
        pytest.param(
            Machine(), daemon(), "Docker does not run (docker.service is failed). journalctl -u docker may say why.",
            "Repair that, start Docker (systemctl start docker).", id="nobody's words",
        ),
        pytest.param(
            Machine(objection="nosuch"), daemon(config='{"nosuch": 1}'),
            f"Docker does not run (docker.service is failed). {CONFIG}: unable to configure: nosuch.",
            "Repair that, start Docker (systemctl start docker).", id="the engine's own word about its file",
        ),
        pytest.param(
            Machine(), daemon(config='{"bip": "x"}'),
            f"Docker does not run (docker.service is failed). {CONFIG}, line 1, column 2: 'bip' is 'x', with which Docker does not start. "
            "Write a prefix length too: 172.26.0.1/16.", "Repair that, start Docker (systemctl start docker).", id="a rule of ours",
        ),
        pytest.param(
            Machine(shown={"docker.service SubState": "start"}), daemon("activating"),
            "Docker is starting and does not answer yet (docker.service is activating).",
            "Wait until 'docker version' answers; journalctl -u docker shows what it waits for.", id="a start that hangs",
        ),
        pytest.param(
            Machine(shown={
                "docker.service Requires": "docker.socket media.service", "media.service ActiveState": "failed", "docker.socket ActiveState": "failed",
            }),
            daemon("inactive"),
            "Docker does not run: docker.service requires media.service, which failed.",
            "Repair media.service (systemctl status media.service says why it failed), then: systemctl start docker.", id="a dependency that failed",
        ),
        pytest.param(
            Machine(), daemon("active", unit="[Service]\nExecStart=/usr/sbin/dockerd -H unix:///run/other.sock\n", config='{"hosts": ["tcp://0.0.0.0:1"]}'),
            "Docker listens only on unix:///run/other.sock, tcp://0.0.0.0:1 and does not answer on /run/docker.sock, so no change could be verified.",
            "Add unix:///run/docker.sock to its addresses (-H on the command line, or 'hosts' in daemon.json) and restart it.", id="it listens elsewhere",
        ),
    ],
)  # fmt: skip
def test_a_daemon_that_does_not_run_is_named_with_its_own_last_words(machine, found, sentence, cure):
    assert preflight.down_problem(machine, found) == (sentence, cure)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(daemon("active", UP), id="it answers"),
        pytest.param(daemon("inactive"), id="stopped on purpose"),
        pytest.param(daemon("inactive", unit="[Unit]\nConditionPathExists=/x\n"), id="stopped on purpose, with a condition"),
        pytest.param(daemon("inactive", systemd=False), id="stopped, without systemd"),
        pytest.param(daemon("failed", engine=""), id="no engine"),
        pytest.param(daemon("active"), id="it hangs"),
        pytest.param(daemon("active", unit="[Service]\nExecStart=/usr/sbin/dockerd\n"), id="it hangs at its usual address"),
        pytest.param(daemon("active", config="{'a': 1}"), id="it hangs, with a file that is no JSON"),
        pytest.param(daemon("deactivating"), id="it is being stopped"),
    ],
)
def test_a_daemon_of_which_nothing_is_wrong(found):
    assert preflight.down_problem(Machine(), found) is None


def test_a_run_is_refused_before_it_writes():
    refused = preflight.broken(Machine(journal=METRICS), daemon(), changes("{}"), False)
    assert refused and refused.refusal == (
        f"Docker does not run (docker.service is failed). Its log says: {METRICS}. Nothing was written. "
        "Repair that, start Docker (systemctl start docker). Then run this again."
    )
    assert refused.text == f"Docker does not run (docker.service is failed). Its log says: {METRICS}. Repair that, start Docker (systemctl start docker)."


EXT4 = {"/var/lib/docker": "ext2/ext3", "/srv/docker": "btrfs", "/net": "UNKNOWN (0x5346)", "/mnt": "overlayfs"}


@pytest.mark.parametrize(
    ("config", "faults"),
    [
        pytest.param(
            '{"storage-driver": "btrfs"}',
            [f"{CONFIG}, line 1, column 2: Docker does not start with storage-driver 'btrfs', since /var/lib/docker is not on a btrfs file system (ext2/ext3). "
             "Remove the key, or mount btrfs there."], id="btrfs on ext4",
        ),
        pytest.param(
            '{"storage-driver": "zfs"}',
            [f"{CONFIG}, line 1, column 2: Docker does not start with storage-driver 'zfs', since /var/lib/docker is not on a zfs file system (ext2/ext3). "
             "Remove the key, or mount zfs there."], id="zfs on ext4",
        ),
        pytest.param(
            '{"storage-driver": "overlay2", "graph": "/mnt/new/docker"}',
            [f"{CONFIG}, line 1, column 2: Docker does not start with storage-driver 'overlay2', since /mnt/new/docker is on a file system that it cannot use "
             "(overlayfs). Remove the key, or set data-root to a folder on another file system."], id="an overlay on an overlay",
        ),
        pytest.param('{"storage-driver": "btrfs", "data-root": "/srv/docker"}', [], id="btrfs on btrfs"),
        pytest.param('{"storage-driver": "btrfs", "data-root": "/new"}', [], id="a folder that is not there yet"),
        pytest.param('{"storage-driver": "btrfs", "data-root": "/net"}', [], id="a file system that nobody can name"),
        pytest.param('{"storage-driver": "zfs", "storage-opts": ["zfs.fsname=pool/docker"]}', [], id="zfs of a named pool"),
        pytest.param('{"storage-driver": "overlay2"}', [], id="a driver for many file systems"),
        pytest.param("{}", [], id="no driver"),
    ],
)  # fmt: skip
def test_a_storage_driver_needs_its_own_file_system(config, faults):
    assert preflight.config_faults(Machine(filesystems=EXT4), daemon(config=config)) == faults


def test_a_repair_that_leaves_another_fault_is_refused():
    config = '{"proxies": {"httpProxy": "http://p.lab"}, "storage-driver": "btrfs"}'
    refused = preflight.broken(Machine(filesystems=EXT4), daemon(config=config), changes('{"storage-driver": "btrfs"}'), True)
    assert refused and "'httpProxy' in 'proxies'" in refused.sentence


@pytest.mark.parametrize(("journal", "refused"), [(STARTED, False), (CRASHED, True), ("", True)])
def test_a_start_limit_that_others_have_reached_stops_no_run(journal, refused):
    assert bool(preflight.broken(Machine(shown=TOO_OFTEN, journal=journal), daemon(), changes("{}"), True)) is refused


BAD_MIRROR = '{"registry-mirrors": ["m.lab"]}'


@pytest.mark.parametrize(
    ("found", "planned", "due", "refused"),
    [
        pytest.param(daemon("active", UP), None, False, False, id="up, and nothing to do: a foreign fault is a finding"),
        pytest.param(daemon("active", UP), "{}", False, True, id="up, and a file to write"),
        pytest.param(daemon("active", UP), None, True, True, id="up, and a restart due"),
        pytest.param(daemon(engine=""), "{}", True, False, id="no engine yet"),
    ],
)
def test_a_unit_that_systemd_refuses_stops_runs_that_would_touch_it(found, planned, due, refused):
    assert bool(preflight.broken(Machine(TWICE), found._replace(drop_ins=()), changes(planned), due)) is refused


@pytest.mark.parametrize(
    ("config", "planned", "refused"),
    [
        pytest.param(BAD_MIRROR, '{"registry-mirrors": ["https://m.lab"]}', False, id="our mirror replaces the bad one"),
        pytest.param(BAD_MIRROR, BAD_MIRROR.replace("}", ', "debug": true}'), True, id="the bad mirror stays"),
        pytest.param(BAD_MIRROR, None, True, id="nothing is written"),
        pytest.param('{"debug": true}', "{}", True, id="the file was not the fault"),
    ],
)
def test_our_own_change_may_be_the_repair(config, planned, refused):
    assert bool(preflight.broken(Machine(), daemon(config=config), changes(planned), True)) is refused


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (daemon("active", UP), ""),
        (daemon("failed", engine=""), ""),
        (daemon("active"), "Docker runs, but does not answer on /run/docker.sock, so its current settings are unknown."),
        (
            daemon("inactive"),
            "Docker does not run (docker is inactive) and was not started: the new settings take effect at its next start (systemctl start docker).",
        ),
        (
            daemon("inactive", systemd=False),
            "Docker does not run (docker is inactive) and was not started: the new settings take effect at its next start (service docker start).",
        ),
    ],
)
def test_a_daemon_that_is_left_down_is_said(found, words):
    assert preflight.left_down(found) == words


@pytest.mark.parametrize(
    ("state", "sub", "settled", "waited"),
    [
        ("active", "running", True, 0),
        ("failed", "failed", True, 0),
        ("activating", "auto-restart", False, 0),
        ("activating", "start", False, 10),
        ("activating", lambda now: "start" if now < 3 else "running", False, 3),
    ],
)
def test_a_daemon_that_is_starting_is_waited_for_and_not_for_ever(state, sub, settled, waited):
    machine = Machine(shown={"docker.service SubState": sub})
    assert preflight.wait_for_start(machine, daemon(state)) is settled and machine.clock == waited


@pytest.mark.parametrize(("log", "words"), [(f"x\n{METRICS}\ny\n", METRICS), (None, ""), ("all is well\n", "")])
def test_without_systemd_the_log_is_a_file(log, words):
    assert preflight.last_message(Machine(log=log), daemon(systemd=False)) == words


STARTING = "Starting docker.service - Docker Application Container Engine...\n"
ENDED = "docker.service: Main process exited, code=exited, status=1/FAILURE"
FAILED = f"""{ENDED}
docker.service: Failed with result 'exit-code'.
Failed to start docker.service - Docker Application Container Engine.
docker.service: Scheduled restart job, restart counter is at 3.
docker.service: Start request repeated too quickly.
docker.service: Failed with result 'start-limit-hit'.
"""
JAMES = 'Error during uid lookup for "james": getent unable to find entry "james" in passwd database'


@pytest.mark.parametrize(
    ("journal", "words"),
    [
        pytest.param(f"{STARTING}{JAMES}\n{FAILED}", JAMES, id="of dockerd, in words of no usual form"),
        pytest.param(f"{STARTING}unknown flag: --x\nSee 'dockerd --help'.\n{FAILED}", "unknown flag: --x", id="a flag that dockerd does not know"),
        pytest.param(
            f"{STARTING}\"dockerd\" accepts no arguments.\nSee 'dockerd --help'.\n\nUsage:  dockerd [OPTIONS]\n\nA self-sufficient runtime for containers.\n"
            f"{FAILED}",
            '"dockerd" accepts no arguments.', id="an argument that is no flag, and dockerd's usage",
        ),
        pytest.param(f'{STARTING}time="1" level=info msg="up"\n\n{FAILED}', "docker.service: Failed with result 'exit-code'.", id="nothing but its end"),
        pytest.param(
            f"{STARTING}docker.service: Failed to load environment files: No such file or directory\ndocker.service: Failed with result 'resources'.\n",
            "docker.service: Failed to load environment files: No such file or directory", id="of systemd, before its result",
        ),
        pytest.param(f"{METRICS}\nhook: done\n{FAILED}", METRICS, id="of dockerd, before those of others"),
        pytest.param(
            f"{STARTING}docker.service: start-pre operation timed out. Terminating.\ndocker.service: Failed with result 'timeout'.\n",
            "docker.service: start-pre operation timed out. Terminating.", id="a command before it that takes too long",
        ),
    ],
)  # fmt: skip
def test_the_last_message_names_the_cause(journal, words):
    assert preflight.last_message(Machine(journal=journal), daemon()) == words


def test_messages_of_an_earlier_start_are_not_quoted():
    class OfStarts(Machine):
        def run(self, argv, **options):
            if argv[0] == "journalctl":
                assert argv[1:4] == ["_SYSTEMD_INVOCATION_ID=6a", "+", "INVOCATION_ID=6a"]
            return super().run(argv, **options)

    machine = OfStarts(shown={"docker.service InvocationID": "6a"}, journal="docker.service: Control process exited, code=exited, status=1/FAILURE\n")
    assert preflight.last_message(machine, daemon()) == "docker.service: Control process exited, code=exited, status=1/FAILURE"


OF_ANOTHER = "The daemon that answers on /run/docker.sock does not belong to docker.service, which is inactive"


@pytest.mark.parametrize(
    ("groups", "state", "text"),
    [
        pytest.param("0::/system.slice/dockerd.service\n", "inactive", f"{OF_ANOTHER}, but to dockerd.service. Set service: dockerd.", id="another unit"),
        pytest.param("1:name=systemd:/system.slice/d.service\n0::/\n", "inactive", f"{OF_ANOTHER}, but to d.service. Set service: d.", id="cgroup v1"),
        pytest.param(
            "0::/user.slice/user-0.slice/session-1.scope\n",
            "inactive",
            f"{OF_ANOTHER}: something other than systemd started it. End that daemon, start Docker as a service (systemctl start docker).",
            id="by hand",
        ),
        pytest.param(
            "0::/system.slice/docker.service\n",
            "failed",
            f"{OF_ANOTHER.replace('inactive', 'failed')}: something other than systemd started it. "
            "End that daemon, start Docker as a service (systemctl start docker).",
            id="left from a service that failed",
        ),
        pytest.param(
            None,
            "inactive",
            f"{OF_ANOTHER}: something other than systemd started it. End that daemon, start Docker as a service (systemctl start docker).",
            id="its process is unknown",
        ),
    ],
)
@pytest.mark.parametrize("systemd", [True, False], ids=["a unit", "no unit of this name"])
def test_a_daemon_that_answers_and_is_not_of_the_unit(groups, state, text, systemd):
    host = Machine()
    if groups is not None:
        host.files["/proc/7/cgroup"] = File(groups.encode())
    running = daemon(state, info=UP, systemd=systemd)._replace(pid=0 if groups is None else 7)
    assert preflight.unit_problem(host, running).text == text
    assert preflight.broken(host, running, changes("{}"), False).text == text
    assert preflight.broken(host, running, {}, False) is None


def test_a_daemon_of_the_unit_is_not_of_another():
    assert preflight.unit_problem(Machine(), daemon("active", info=UP)) is None
