# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test every fix on every engine and write the results as a table: `truth.py [FILE]`, with the lab up.

BUILDFLEET_HOSTS and BUILDFLEET_INVENTORY (lab/table.py) choose other hosts, such as one with the containerd image store.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Mapping, NamedTuple

from build import BUILDERS, Outcome, build, forget, on, restart, write
from shell import HERE, text
from table import AUTH_PROXY, CLIENT_PROXY, HOSTS, HTTP_PROXY, MIRROR, PASSWORD, RELAY, SOCKS_PROXY, USERNAME

ROOT = HERE.parents[2]
INVENTORY = os.environ.get("BUILDFLEET_INVENTORY", str(HERE.parent / "inventory" / "hosts.yml"))
DAEMON_JSON = "/etc/docker/daemon.json"
DROP_IN = "/etc/systemd/system/docker.service.d/http-proxy.conf"
CLIENT_CONFIG = "/root/.docker/config.json"
PROFILE = "/etc/profile.d/build.sh"
AT_THE_MIRROR = f"{MIRROR.split('//')[1]}/library/busybox:1"
AT_THE_RELAY = f"{RELAY.split('//')[1]}/library/busybox:1"
COLUMNS = {"pull": "`docker pull`", "buildkit": "`docker build`, BuildKit", "legacy": "`docker build`, legacy", "compose": "compose build"}


class Cure(NamedTuple):
    title: str
    files: Mapping[str, str] = {}
    env: Mapping[str, str] = {}
    image: str = "busybox:1"
    shell: str = ""
    login: str = ""
    builders: tuple[str, ...] = BUILDERS
    playbook: Mapping[str, object] = {}  # variables for buildfleet.docker.site


def daemon_proxies(proxy: str) -> str:
    return json.dumps({"proxies": {"http-proxy": proxy, "https-proxy": proxy}})


def drop_in(proxy: str) -> str:
    return f'[Service]\nEnvironment="HTTP_PROXY={proxy}" "HTTPS_PROXY={proxy}"\n'


def mirrors(url: str) -> str:
    return json.dumps({"registry-mirrors": [url]})


NOT_BUILDKIT = ("pull", "legacy", "compose")
OURS = "ours: `ansible-playbook buildfleet.docker.site`"
CURES = (
    Cure("none"),
    Cure("`FROM` at the mirror alone", image=AT_THE_MIRROR),
    Cure("`FROM` at the mirror, `DOCKER_BUILDKIT=0` for one command", env={"DOCKER_BUILDKIT": "0"}, image=AT_THE_MIRROR, builders=NOT_BUILDKIT),
    Cure("`FROM` at the mirror, `DOCKER_BUILDKIT=0` exported in the shell", image=AT_THE_MIRROR, shell="export DOCKER_BUILDKIT=0", builders=NOT_BUILDKIT),
    Cure(
        "`FROM` at the mirror, `DOCKER_BUILDKIT=0` for good (profile.d, login shell)",
        {PROFILE: "export DOCKER_BUILDKIT=0\n"},
        image=AT_THE_MIRROR,
        login="root",
        builders=NOT_BUILDKIT,
    ),
    Cure("daemon.json `proxies`, http", {DAEMON_JSON: daemon_proxies(HTTP_PROXY)}),
    Cure("daemon.json `proxies`, socks5", {DAEMON_JSON: daemon_proxies(SOCKS_PROXY)}),
    Cure("systemd drop-in, http", {DROP_IN: drop_in(HTTP_PROXY)}),
    Cure("client `HTTPS_PROXY` only", env={"HTTPS_PROXY": CLIENT_PROXY}),
    Cure("client config.json `proxies` only", {CLIENT_CONFIG: json.dumps({"proxies": {"default": {"httpsProxy": CLIENT_PROXY}}})}),
    Cure("`registry-mirrors`: the mirror", {DAEMON_JSON: mirrors(MIRROR)}),
    Cure("`registry-mirrors`: the relay", {DAEMON_JSON: mirrors(RELAY)}),
    Cure("`FROM` at the relay", image=AT_THE_RELAY),
    Cure(OURS, login="root", playbook={"buildfleet_proxy_http": HTTP_PROXY, "buildfleet_proxy_https": HTTP_PROXY}),
    Cure(f"{OURS}, socks5", login="root", playbook={"buildfleet_proxy_http": SOCKS_PROXY, "buildfleet_proxy_https": SOCKS_PROXY}),
    Cure(
        f"{OURS}, a proxy with a password",
        login="root",
        playbook={
            "buildfleet_proxy_http": AUTH_PROXY,
            "buildfleet_proxy_https": AUTH_PROXY,
            "buildfleet_proxy_username": USERNAME,
            "buildfleet_proxy_password": PASSWORD,
        },
    ),
)  # fmt: skip


def blamed(log: str) -> str:
    """The machine that the error names: the token server before the registry, because the token is what usually fails."""
    for name in ("auth.docker.io", "production.cloudflare.docker.com", "registry-1.docker.io", "relay.lab", "mirror.lab"):
        if re.search(rf"https?://{re.escape(name)}", log) or (name == "auth.docker.io" and "fetch anonymous token" in log):
            return name
    return "?"


def cell(outcome: Outcome) -> str:
    return "OK" if outcome.ok else f"**fails**: {blamed(outcome.log)}"


def ansible(playbook: str, host: str, variables: Mapping[str, object]) -> Outcome:
    done = subprocess.run(
        ["ansible-playbook", f"buildfleet.docker.{playbook}", f"--inventory={INVENTORY}", f"--limit={host}",
         f"--extra-vars={json.dumps(variables)}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return Outcome(done.returncode == 0, done.stdout)


def give(host: str, cure: Cure) -> str:
    """Apply the fix; returns a sentence if that fails."""
    if cure.playbook:
        played = ansible("site", host, cure.playbook)
        if not played.ok:
            print(played.log, file=sys.stderr)
        return "" if played.ok else "the playbook fails"
    for file, content in cure.files.items():
        write(host, file, content)
    return "" if not cure.files or restart(host) else "dockerd does not start"


def take_away(host: str, cure: Cure) -> None:
    if cure.playbook:
        undone = ansible("undo", host, cure.playbook)
        if not undone.ok:
            raise SystemExit(f"{cure.title}: undo fails on {host}:\n{undone.log}")
    on(host, "rm -f " + " ".join(cure.files))
    if not forget(host):
        raise SystemExit(f"{cure.title}: the engine of {host} does not come back to a clean slate.")


def tried(host: str, cure: Cure, builder: str) -> str:
    """A fix that selects the builder is tested as its user would, without our own selection of a builder."""
    chosen = builder == "legacy" and cure.builders == NOT_BUILDKIT
    outcome = build(host, "default" if chosen else builder, cure.image, cure.env, cure.login, shell=cure.shell)
    if chosen and outcome.ok and "Step 1/" not in outcome.log:
        return "**not the legacy builder**"
    return cell(outcome)


def row(host: str, cure: Cure) -> dict[str, str]:
    failed = give(host, cure)
    cells = {builder: f"**{failed}**" if failed else tried(host, cure, builder) for builder in cure.builders}
    take_away(host, cure)
    print(f"{host}: {cure.title}: {', '.join(f'{builder} {said}' for builder, said in cells.items())}", flush=True)
    return cells


def versions(host: str) -> str:
    script = (
        "docker version --format 'engine {{.Server.Version}}'; docker buildx version 2>/dev/null | cut -d' ' -f2 | sed 's/^/buildx /';"
        "docker compose version --short 2>/dev/null | sed 's/^/compose /' | grep . || docker-compose version --short | sed 's/^/docker-compose /';"
        "docker info --format '{{.DriverStatus}}' | grep -q io.containerd.snapshotter && echo 'containerd image store'"
    )
    return ", ".join(on(host, script).log.split("\n")[:-1])


def written(results: Mapping[str, list[dict[str, str]]]) -> str:
    commit = text("git", "-C", str(ROOT), "describe", "--always", "--dirty").strip()
    lines = [
        "# Fixes, tested", "",
        f"Written by `extensions/molecule/lab/truth.py` on {datetime.date.today()}, commit {commit}. Do not edit.", "",
        "The hosts are behind a firewall that resets every connection to Docker Hub and its token server. *The mirror* pulls through and serves",
        "images without a token; *the relay* passes the Hub's answers on, and with them the token server's name; the proxies reach everything.",
        "Before each cell images and build cache are removed and dockerd is restarted, so that neither a layer nor a token of an earlier build helps.",
        "A failure names the machine in the error message.",
    ]  # fmt: skip
    for host, rows in results.items():
        lines += ["", f"## {versions(host)}", "", f"| fix | {' | '.join(COLUMNS.values())} |", f"|---|{'---|' * len(COLUMNS)}"]
        lines += [f"| {cure.title} | {' | '.join(cells.get(builder, 'not used') for builder in COLUMNS)} |" for cure, cells in zip(CURES, rows, strict=True)]
    return "\n".join(lines) + "\n"


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "evidence" / "cures.md"
    with ThreadPoolExecutor() as pool:
        rows = pool.map(lambda host: [row(host, cure) for cure in CURES], HOSTS)
        results = dict(zip(HOSTS, rows, strict=True))
    target.parent.mkdir(exist_ok=True)
    target.write_text(written(results))


if __name__ == "__main__":
    main()
