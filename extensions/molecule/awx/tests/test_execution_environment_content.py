# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of the execution environment, and nothing else, runs jobs over SSH. No EE is built: the content is in a Debian root file system."""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

import images
import machines
import pytest
import table
import yaml
from shell import run

TOP = Path(__file__).resolve().parents[4]
HOST = "engine26"
SUITE = "trixie"
NAME = "buildfleet-content"
COLLECTIONS = "/usr/share/ansible/collections"  # where ansible-builder puts them
WISH = {"buildfleet_proxy_http": table.HTTP_PROXY, "buildfleet_proxy_https": table.HTTP_PROXY, "buildfleet_check_image": "busybox:1"}


def inside(*command: str) -> str:
    return run("docker", "exec", NAME, *command)


def on_the_host(script: str) -> str:
    return run("docker", "exec", HOST, "sh", "-c", script).strip()


def built_and_unpacked(folder: Path) -> Path:
    tree = folder / "tree/ansible_collections/buildfleet/docker"
    tree.mkdir(parents=True)
    run("ansible-galaxy", "collection", "build", f"--output-path={folder}", str(TOP))
    (tarball,) = folder.glob("*.tar.gz")
    run("tar", "--extract", f"--file={tarball}", f"--directory={tree}")
    return tarball


def needs(tree: Path) -> tuple[list[str], list[str]]:
    """Debian and Python packages, as listed in the tarball and in awx/execution-environment.yml."""
    own = yaml.safe_load(run(str(TOP / "tests/environment"), "--tools", "release", "ansible-builder", "introspect", "--sanitize", str(tree)))
    asked = yaml.safe_load((TOP / "awx/execution-environment.yml").read_text())["dependencies"]
    debian = [line.split()[0] for line in own["system"] + asked["system"] if "[platform:dpkg]" in line]
    return debian, [asked["ansible_core"]["package_pip"], asked["ansible_runner"]["package_pip"], *own["python"]]


@pytest.fixture(scope="module")
def runner(tmp_path_factory) -> t.Iterator[Path]:
    """The content in a container that reaches only the lab; its input is in this folder."""
    folder, jobs = tmp_path_factory.mktemp("content"), tmp_path_factory.mktemp("runner")
    tarball = built_and_unpacked(folder)
    debian, python = needs(folder / "tree")
    system = folder / "system.tar"
    packages = ",".join(["ca-certificates", "python3", "python3-pip", *debian])
    run("mmdebstrap", *images.ARGUMENTS, f"--include={packages}", SUITE, str(system), f"deb {images.debian_mirror()} {SUITE} main")
    machines.remove(NAME)  # a run that was killed leaves it
    run("docker", "import", str(system), NAME)
    try:
        run(
            "docker", "run", "--detach", f"--name={NAME}", f"--label={machines.LABEL}", f"--network={table.NETWORK}",
            f"--volume={machines.LAB / 'resolv.conf'}:/etc/resolv.conf:ro", f"--volume={folder}:/content:ro", f"--volume={jobs}:/runner",
            NAME, "sleep", "infinity",
        )  # fmt: skip
        version = inside("python3", "-c", "import platform; print(platform.python_version())").strip()
        wheels = ["--only-binary=:all:", f"--python-version={version}", f"--dest={folder / 'wheels'}"]
        run(sys.executable, "-m", "pip", "download", "--quiet", *wheels, *python)
        inside("pip", "install", "--quiet", "--break-system-packages", "--no-index", "--find-links=/content/wheels", *python)
        inside("ansible-galaxy", "collection", "install", "--offline", f"--collections-path={COLLECTIONS}", f"/content/{tarball.name}")
        yield jobs
    finally:
        machines.remove(NAME)
        run("docker", "image", "rm", NAME)


@pytest.fixture(scope="module")
def launch(runner) -> t.Iterator[t.Callable[[str], list[dict[str, t.Any]]]]:
    """`launch("site")` runs a playbook of the collection as AWX does, with a machine credential, and returns its events."""
    for name in ("env", "inventory", "project"):
        (runner / name).mkdir()
    inside("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/runner/env/ssh_key")
    key = (runner / "env/ssh_key.pub").read_text().strip()
    (runner / "env/envvars").write_text(json.dumps({"ANSIBLE_HOST_KEY_CHECKING": "False", "ANSIBLE_NOCOLOR": "True"}))
    (runner / "env/extravars").write_text(json.dumps(WISH))
    (runner / "inventory/hosts.json").write_text(json.dumps({"build_servers": {"hosts": {HOST: {"ansible_user": "builder"}}}}))

    def job(playbook: str) -> list[dict[str, t.Any]]:
        inside("ansible-runner", "run", "/runner", f"--ident={playbook}", f"--playbook=buildfleet.docker.{playbook}")
        events = [json.loads(path.read_text()) for path in (runner / f"artifacts/{playbook}/job_events").glob("*.json")]
        return [event for event in events if "event_data" in event]  # a line that only warns has none

    on_the_host(f"install -d -m 700 -o builder ~builder/.ssh && echo '{key}' > ~builder/.ssh/authorized_keys")
    yield job
    on_the_host("rm -r ~builder/.ssh")


def result(events: list[dict[str, t.Any]]) -> dict[str, int]:
    """The number of tasks by result; every one of them came from the installed collection."""
    paths = {event["event_data"]["task_path"] for event in events if "task_path" in event["event_data"]}
    assert paths
    assert [path for path in paths if not path.startswith(f"{COLLECTIONS}/ansible_collections/buildfleet/docker/")] == []
    (stats,) = [event["event_data"] for event in events if event["event"] == "playbook_on_stats"]
    return {how: stats[how].get(HOST, 0) for how in ("ok", "changed", "failures", "dark", "ignored", "rescued")}


def test_it_holds_the_tarball_and_no_other_collection(runner):
    listed = json.loads(inside("ansible-galaxy", "collection", "list", "--format=json"))
    version = yaml.safe_load((TOP / "galaxy.yml").read_text())["version"]
    assert listed == {f"{COLLECTIONS}/ansible_collections": {"buildfleet.docker": {"version": version}}}
    inside("ansible-galaxy", "collection", "verify", "--offline", "buildfleet.docker")


def test_it_configures_proves_and_undoes_a_host_over_ssh(launch):
    configured = result(launch("site"))
    assert configured["changed"] == 2, configured  # the daemon, and who builds
    assert on_the_host("docker info --format '{{.HTTPSProxy}}'") == table.HTTP_PROXY
    verified = result(launch("verify"))
    assert verified["ok"] > 0 and verified["changed"] == 0, verified
    undone = result(launch("undo"))
    assert undone["changed"] == 2, undone
    assert on_the_host("docker info --format '{{.HTTPSProxy}}'") == ""
    for ended in (configured, verified, undone):
        assert ended["failures"] == ended["dark"] == ended["ignored"] == ended["rescued"] == 0, ended
    print(f"site {configured}, verify {verified}, undo {undone}")
    logins = on_the_host("journalctl --quiet --output=cat --grep='Accepted publickey for builder'").splitlines()
    assert {login.split(" from ")[1].split()[0] for login in logins} == {machines.address(NAME)}
