# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No spelling of a password appears in anything that Ansible, the collection or the host prints, stores or shows."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import quote

import pytest
import table

PATHS = Path(__file__).resolve().parents[1] / "paths.yml"
INVENTORY = Path(table.__file__).resolve().parents[1] / "inventory/hosts.yml"
PASSWORD = table.PASSWORD
URL = f"http://{table.LOGIN}@auth-proxy.lab:8888"
SPELLINGS = {
    "as it is": PASSWORD,
    "percent-encoded": quote(PASSWORD, safe=""),
    "percent-encoded in small letters": quote(PASSWORD, safe="").replace("%3A", "%3a").replace("%2F", "%2f"),
    "as a systemd unit wants it": quote(PASSWORD, safe="").replace("%", "%%"),
    "base64": base64.b64encode(PASSWORD.encode()).decode(),
    "as a proxy is sent it": base64.b64encode(f"{table.USERNAME}:{PASSWORD}".encode()).decode(),
}
# Where the password must be, for root alone: what the daemon, the cache and (with allow_readable_secret) the client read; and the copies of backup.
KEPT = (
    "/etc/docker/daemon.json", "/etc/systemd/system/docker.service.d/zz-buildfleet.env", "/home/builder/.docker/config.json", "/etc/buildfleet/",
    "/etc/buildfleet-registry-cache", "/etc/buildfleet-relay.conf",
)  # fmt: skip


def found_in(text):
    return [name for name, spelling in SPELLINGS.items() if spelling in text]


class Watch:
    """Samples the arguments of every process of this machine, including those in containers."""

    def __enter__(self):
        self.found, self.samples, self._over = set(), 0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_rest):
        self._over.set()
        self._thread.join()

    def _look(self):
        words = [spelling.encode() for spelling in SPELLINGS.values()]
        while not self._over.wait(0.05):
            self.samples += 1
            for entry in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError):
                    line = Path(f"/proc/{entry}/cmdline").read_bytes()
                    # The lab's own proxies are started with it; an `ansible -a` of another test that runs beside this one is none of ours.
                    if any(word in line for word in words) and not line.startswith((b"microsocks", b"sh\0-c")) and b"/bin/ansible\0" not in line:
                        self.found.add(line)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run in check mode, then a real one by ansible-runner, both at -vvvv; and everything that they left."""
    folder = tmp_path_factory.mktemp("secrets")
    secret = folder / "secret"
    secret.write_text(PASSWORD)
    environment = {
        **os.environ, "BUILDFLEET_SECRET_FILE": str(secret), "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder / "facts"), "ANSIBLE_LOG_PATH": str(folder / "log"), "ANSIBLE_NOCOLOR": "true",
    }  # fmt: skip
    said = {}
    limit = ",".join(table.HOSTS)
    command = ["ansible-playbook", "-vvvv", f"--inventory={INVENTORY}", f"--limit={limit}", str(PATHS)]
    with Watch() as watch:
        done = subprocess.run([*command, "--check", "--diff"], env=environment, capture_output=True, text=True, check=False)
        said["dry"] = done.stdout + done.stderr
        private = folder / "runner"
        (private / "project").mkdir(parents=True)
        (private / "project/paths.yml").write_text(PATHS.read_text())
        runner = [str(Path(sys.executable).with_name("ansible-runner")), "run", str(private), "-p", "paths.yml", "-vvvv"]
        runner += ["--inventory", str(INVENTORY), "--limit", limit, "--cmdline=--diff"]
        done = subprocess.run(runner, env=environment, capture_output=True, text=True, check=False)
        said["by ansible-runner"] = done.stdout + done.stderr
    assert list(private.glob("artifacts/*/job_events/*.json")), said["by ansible-runner"]
    for path in [*private.rglob("artifacts/**/*"), *folder.glob("facts/**/*"), folder / "log"]:
        if path.is_file():
            said[str(path.relative_to(folder))] = path.read_text(errors="replace")
    return said, watch


def test_every_path_was_taken(ran):
    said, watch = ran
    for name in ("dry", "by ansible-runner"):
        tasks = [line for line in said[name].splitlines() if line.startswith("TASK [")]
        assert len(tasks) > 28, said[name][-3000:]
        assert "changed: [" in said[name] and "fatal: [" in said[name]
    assert watch.samples > 50


def test_nothing_that_ansible_says_or_stores_holds_it(ran):
    said, _watch = ran
    assert any("facts/" in name for name in said) and len(said) > 50
    leaks = {}
    for name, text in said.items():
        for line in text.splitlines():
            if found_in(line):
                leaks.setdefault(f"{name}: {found_in(line)}", line[:400])
    assert leaks == {}


def test_no_process_was_called_with_it(ran):
    assert sorted(ran[1].found) == []


def test_the_host_keeps_it_for_root_alone(ran, engine):
    patterns = " ".join(f"-e '{spelling}'" for spelling in SPELLINGS.values())
    places = "/etc /var/lib/buildfleet /var/log /var/tmp /tmp /run /root /home /usr/local /opt"
    holding = engine.host.run(f"grep -rlIF --exclude-dir=proc {patterns} {places} 2>/dev/null").stdout.split()
    assert [path for path in holding if not path.startswith(KEPT)] == []
    assert holding, "the search finds not even what must be there"
    for path in holding:
        assert engine.host.file(path).mode & 0o077 == 0, path


def test_the_journal_and_systemd_do_not_tell(ran, engine):
    journal = engine.host.run("journalctl --no-pager -o verbose").stdout
    assert len(journal.splitlines()) > 100
    assert found_in(journal) == []
    for command in ("systemctl show docker.service", "systemctl cat docker.service", "docker info", "ps -ef", "cat /proc/*/cmdline /proc/*/environ"):
        shown = engine.host.run(f"su nobody -s /bin/sh -c '{command}' 2>&1").stdout
        assert shown and found_in(shown) == [], command


def test_the_record_does_not_know_it(ran, engine):
    record = engine.host.run("cat /var/lib/buildfleet/*.json").stdout
    assert "docker_daemon_proxy" in engine.host.run("ls /var/lib/buildfleet").stdout
    packed = [row["first"]["contents"] for file in record.split("\n}\n") if file.strip() for row in json.loads(file + "}")["files"].values() if row["first"]]
    texts = [record, *(base64.b64decode(one).decode(errors="replace") for one in packed)]
    assert [found_in(text) for text in texts if found_in(text)] == []
