# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run costs on a fleet: medians of interleaved rounds over hosts of the lab, and how it grows with the inventory.

    python tests/bench/fleet.py [--hosts 14] [--rounds 5] [--scale 100,300,1000] [--assert]

The lab is started where it does not run, with hosts of this program's own; `make lab-down` removes them.
The scale part asks the lab's own engine, changes nothing of it, and has local connections with a configuration file for each host.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
LAB = TOP / "extensions/molecule/lab/lab.py"
ANSIBLE = str(Path(sys.executable).with_name("ansible-playbook"))
SITE = {
    "buildfleet_proxy_http": "http://proxy.lab:8888",
    "buildfleet_proxy_https": "http://proxy.lab:8888",
    "buildfleet_no_proxy": ["mirror.lab"],
}
ROLE = """
    - ansible.builtin.import_role: {name: buildfleet.docker.docker_daemon_proxy, rolespec_validate: false}
      vars:
        docker_daemon_proxy_http_proxy: http://proxy.lab:8888
        docker_daemon_proxy_https_proxy: http://proxy.lab:8888
        docker_daemon_proxy_no_proxy: [mirror.lab, "{{ other | default('second.lab') }}"]
"""
FIVE = """
    - ansible.builtin.file: {path: /root/five/docker.service.d, state: directory, mode: "0755"}
    - ansible.builtin.copy: {dest: /root/five/docker.service.d/http-proxy.conf, mode: "0644", content: "[Service]\\nEnvironment=HTTP_PROXY=http://h:1\\n"}
    - ansible.builtin.file: {path: /root/five/docker, state: directory, mode: "0755"}
    - ansible.builtin.copy: {dest: /root/five/docker/daemon.json, mode: "0644", content: "{}\\n"}
    - ansible.builtin.service: {name: docker, state: started, enabled: true}
"""
TASKS = {
    "ping": "\n    - ansible.builtin.ping:\n",
    "no change": ROLE,
    "five tasks": FIVE,
    "restart alone": "\n    - ansible.builtin.systemd_service: {name: docker, state: restarted}\n",
    "change": ROLE,
}
SCALED = """
    - buildfleet.docker.docker_daemon_proxy:
        registry_mirrors: [https://mirror.lab]
        mechanism: auto
        config_file: "{{ folder }}/{{ inventory_hostname }}/daemon.json"
        service: "{{ inventory_hostname }}"
        restart: never
        validate: false
      register: docker_daemon_proxy_result
    - buildfleet.docker.fleet_report:
        dest: "{{ folder }}/report.html"
"""


class Fleet:
    def __init__(self, folder: Path, hosts: t.Sequence[str], variables: t.Mapping[str, t.Any]) -> None:
        self.folder, self.forks = folder, 14
        self.inventory = folder / f"inventory-{len(hosts)}.json"
        self.inventory.write_text(json.dumps({"build_servers": {"hosts": dict.fromkeys(hosts), "vars": dict(variables)}}))

    def run(self, playbook: str, *more: str, **environment: str) -> t.Tuple[float, int, str]:
        """Seconds, the controller's peak memory in MiB, and the output."""
        # resource counts what this program's own child used, and nothing of its children's before.
        measured = "import json, resource, subprocess, sys, time; s = time.perf_counter(); d = subprocess.run(sys.argv[1:], capture_output=True, text=True); "
        measured += (
            "print(json.dumps([time.perf_counter() - s, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, d.returncode, d.stdout + d.stderr]))"
        )
        command = [sys.executable, "-c", measured, ANSIBLE, "--inventory", str(self.inventory), f"--forks={self.forks}", playbook, *more]
        done = subprocess.run(command, env={**os.environ, "ANSIBLE_NOCOLOR": "true", **environment}, capture_output=True, text=True, check=True)
        seconds, memory, code, said = json.loads(done.stdout)
        assert code == 0, said[-3000:]
        return seconds, memory, said

    def play(self, name: str, tasks: str) -> str:
        path = self.folder / f"{name.replace(' ', '-')}.yml"
        path.write_text(f"- hosts: build_servers\n  gather_facts: false\n  tasks:{tasks}")
        return str(path)


def bench(folder: Path, count: int, rounds: int) -> t.List[t.Tuple[str, bool]]:
    names = [f"bench{number:02}" for number in range(1, count + 1)]
    subprocess.run([sys.executable, str(LAB), "up", "--hosts", f"bench*{count}=trixie"], check=True)
    fleet = Fleet(folder, names, {"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3"})
    plays = {name: fleet.play(name, tasks) for name, tasks in TASKS.items()}
    playbooks = {name: str(TOP / f"playbooks/{name}.yml") for name in ("site", "verify")}
    fleet.run(plays["change"])
    fleet.run(plays["five tasks"])
    seconds: t.Dict[str, t.List[float]] = {name: [] for name in (*plays, *playbooks)}
    for number in range(rounds):
        for name, path in plays.items():
            # The change goes there and back, so that each round has one, and the no-change run none.
            more = ["-e", f"other=other{number}.lab"] if name == "change" else ["-e", f"other=other{number - 1}.lab"] if name == "no change" and number else []
            seconds[name].append(fleet.run(path, *more)[0])
        # With all hosts at once: the canary is not what is measured. The first run changes what the role left, the last one changes it back.
        options = ["--extra-vars", json.dumps({**SITE, "buildfleet_batch": "100%"})]
        fleet.run(playbooks["site"], *options)
        for name, path in playbooks.items():
            took, _memory, said = fleet.run(path, *options)
            assert not re.search(r"changed=[1-9]", said), said[-3000:]
            seconds[name].append(took)
        fleet.run(plays["change"], "-e", f"other=other{number}.lab")
        print(f"round {number + 1}: " + ", ".join(f"{name} {found[-1]:.2f} s" for name, found in seconds.items()), flush=True)
    median = {name: statistics.median(found) for name, found in seconds.items()}
    for name, found in median.items():
        print(f"{name:16} {found:7.2f} s  {found / median['ping']:6.2f} x ping")
    executions = executed(fleet)
    print(f"site without the proof: {executions} module executions a host")
    due = median["restart alone"] + median["no change"]
    print(f"a change: {median['change'] / due:.2f} times the restart alone and a no-change run")
    print(f"five tasks: {median['five tasks'] / median['no change']:.2f} times a no-change run")
    return [
        ("no change at most 1.25 pings", median["no change"] <= 1.25 * median["ping"]),
        ("site at most 3.4 pings", median["site"] <= 3.4 * median["ping"]),
        ("verify at most 4.4 pings", median["verify"] <= 4.4 * median["ping"]),
        ("five tasks are 5 times slower", median["five tasks"] >= 5 * median["no change"]),
        ("at most 3 module executions", executions <= 3),
        ("a change at most 1.15 times restart and no change", median["change"] <= 1.15 * due),
    ]


def executed(fleet: Fleet) -> float:
    """How many modules a second run of `site` sends to each host before the proof, and how large they are."""
    playbooks = fleet.folder / "playbooks"
    shutil.copytree(TOP / "playbooks", playbooks)
    site, without_proof = playbooks / "site.yml", playbooks / "site-without-proof.yml"
    text = site.read_text()
    without_proof.write_text(text[: text.index("    - name: Run test build")])
    # Ansible shows a module that it sends only where it writes it to a file.
    options = ["--extra-vars", json.dumps({**SITE, "buildfleet_batch": "100%", "ansible_pipelining": False})]
    fleet.run(str(without_proof), *options)
    seconds, _memory, said = fleet.run(str(without_proof), *options, "-vvvv")
    hosts = json.loads(fleet.inventory.read_text())["build_servers"]["hosts"]
    sent = re.findall(r"^<(\S+)> PUT (\S+) TO (\S+AnsiballZ_(\w+)\.py)", said, re.MULTILINE)
    print(f"site without the proof, nothing to change: {seconds:.1f} s at -vvvv")
    host = next(iter(hosts))
    fleet.run(str(without_proof), *options, f"--limit={host},localhost", ANSIBLE_KEEP_REMOTE_FILES="true")
    sizes = subprocess.run(
        ["docker", "exec", host, "sh", "-c", "find /root/.ansible/tmp -name 'AnsiballZ_*' -printf '%f %s\\n'; rm -rf /root/.ansible/tmp"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for row in sorted(set(sizes.stdout.splitlines())):
        print(f"payload: {row} bytes")
    return len([row for row in sent if row[0] in hosts]) / len(hosts)


def scale(folder: Path, sizes: t.Sequence[int]) -> t.List[t.Tuple[str, bool]]:
    rows = []
    for size in sizes:
        fleet = Fleet(
            folder, [f"host{number:04}" for number in range(size)],
            {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "folder": str(folder)},
        )  # fmt: skip
        seconds, memory, said = fleet.run(fleet.play("scaled", SCALED))
        assert said.count("failed=0") == size
        page = (folder / "report.html").read_text()
        assert all(f"host{number:04}" in page for number in range(size))
        # The folder goes by itself; these are beside it.
        for left in (*Path("/run").glob("buildfleet-host[0-9]*.lock"), *Path("/var/lib/buildfleet").glob("docker_daemon_proxy.host[0-9]*.json")):
            left.unlink()
        rows.append((size, seconds, memory))
        print(
            f"{size:5} hosts: {seconds:7.1f} s, {seconds / size * 1000:5.0f} ms a host, {memory} MiB on the controller, a page of {len(page) // 1024} KiB",
            flush=True,
        )
    for (less, quick, small), (more, slow, large) in itertools.pairwise(rows):
        print(f"from {less} to {more}: {(slow - quick) / (more - less) * 1000:.0f} ms and {(large - small) / (more - less) * 1024:.0f} KiB for each more host")
    per_host = [seconds / size for size, seconds, _memory in rows]
    return [("time grows no faster than the inventory", max(per_host[1:], default=0) <= 1.2 * per_host[0])]


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--hosts", type=int, default=14)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--scale", default="100,300,1000")
    options.add_argument("--assert", dest="must", action="store_true", help="fail where a target is missed")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        targets = bench(Path(name), given.hosts, given.rounds) if given.hosts else []
        sizes = [int(size) for size in given.scale.split(",") if size]
        targets += scale(Path(name), sizes) if sizes else []
    for sentence, met in targets:
        print(f"{'met' if met else 'missed'}: {sentence}")
    return bool(given.must and not all(met for _sentence, met in targets))


if __name__ == "__main__":
    start = time.monotonic()
    code = main()
    print(f"{time.monotonic() - start:.0f} s")
    sys.exit(code)
