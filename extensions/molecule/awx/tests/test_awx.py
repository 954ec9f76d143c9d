# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Surveys and credential of awx/ through ansible-runner, as AWX launches a job: answers are strings, the secret comes by both injectors."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
import table
import yaml

TOP = Path(__file__).resolve().parents[4]
HOST = "engine26"
SPELLINGS = (table.PASSWORD, table.LOGIN, "p%40ss", "p@ss", "ss%3Aw", "ss:w/rd")
SOURCE = "/srv/awx-survey/Dockerfile"


class Loader(yaml.SafeLoader):
    """YAML with Ansible's `!unsafe`."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))
SURVEYS = yaml.load((TOP / "awx/surveys.yml").read_text(), Loader)
INJECTORS = yaml.load((TOP / "awx/objects.yml").read_text(), Loader)["__buildfleet_awx_credential_injectors"]


def injected(kind: str) -> dict[str, str]:
    values = {"{{ username }}": table.USERNAME, "{{ password }}": table.PASSWORD}
    return {name: values[template] for name, template in INJECTORS[kind].items()}


def answers(survey: str, **given: str) -> dict[str, str]:
    """What AWX sends: the defaults, replaced by the answers."""
    return {question["variable"]: question["default"] for question in SURVEYS[f"__buildfleet_awx_survey_{survey}"]["spec"]} | given


class Job(t.NamedTuple):
    code: int
    output: str
    folder: Path

    @property
    def changed(self) -> dict[str, int]:
        (stats,) = [event["event_data"] for event in self.events() if event["event"] == "playbook_on_stats"]
        return dict(stats["changed"])

    def events(self) -> t.Iterator[dict[str, t.Any]]:
        for path in sorted(self.folder.glob("artifacts/*/job_events/*.json")):
            yield json.loads(path.read_text())

    def told(self) -> str:
        """All that the runner writes (output, events, facts) except `command`, its record of the environment from the credential."""
        return "".join(path.read_text(errors="replace") for path in self.folder.glob("artifacts/**/*") if path.is_file() and path.name != "command")


@pytest.fixture
def launch(tmp_path) -> t.Callable[..., Job]:
    def run(playbook: str, extra_vars: dict[str, str], *, credential: bool = False, check: bool = False) -> Job:
        folder = tmp_path / f"{playbook}-{len(list(tmp_path.iterdir()))}"
        for name in ("env", "inventory"):
            (folder / name).mkdir(parents=True)
        (folder / "project").symlink_to(TOP)
        where = {"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3"}
        (folder / "inventory/hosts.json").write_text(json.dumps({"build_servers": {"hosts": {HOST: where}}}))
        # AWX marks the values of a credential as !unsafe: what looks like a template is none.
        sent = {**extra_vars, "buildfleet_report_file": str(folder / "report.html")}
        lines = [f"{name}: {json.dumps(value)}" for name, value in sent.items()]
        lines += [f"{name}: !unsafe {json.dumps(value)}" for name, value in injected("extra_vars").items()] if credential else []
        (folder / "env/extravars").write_text("\n".join(lines) + "\n")
        kept = ("ANSIBLE_HOME", "ANSIBLE_COLLECTIONS_PATH")
        plain = {name: value for name, value in os.environ.items() if name in kept or not name.startswith(("ANSIBLE_", "PY_COLORS", "BUILDFLEET_"))}
        environment = {**plain, **(injected("env") if credential else {}), "ANSIBLE_NOCOLOR": "true"}
        flags = [f"--cmdline=--diff -v{' --check' if check else ''}", "--omit-env-files", f"-p=playbooks/{playbook}.yml"]
        done = subprocess.run(["ansible-runner", "run", *flags, str(folder)], env=environment, capture_output=True, text=True, check=False)
        return Job(done.returncode, done.stdout + done.stderr, folder)

    return run


@pytest.fixture
def source() -> t.Iterator[None]:
    subprocess.run(["docker", "exec", HOST, "sh", "-c", f"mkdir -p {os.path.dirname(SOURCE)}; echo FROM busybox:1 >{SOURCE}"], check=True)
    yield
    subprocess.run(["docker", "exec", HOST, "rm", "-r", os.path.dirname(SOURCE)], check=True)


def test_no_answer_touches_no_host(launch):
    configured = launch("site", answers("configure"))
    assert configured.code == 2
    assert "Nothing to configure: set buildfleet_proxy_https" in configured.output
    assert configured.changed == {}
    undone = launch("undo", answers("undo"))
    assert undone.code == 0, undone.output
    assert undone.changed == {}
    seen = launch("report", answers("verify", buildfleet_check_image="busybox:1"))
    assert seen.code == 0, seen.output
    assert HOST not in seen.changed


def test_answers_and_credential_reach_the_host_and_no_password_is_told(launch, source):
    wish = {
        "buildfleet_proxy_https": table.AUTH_PROXY,
        "buildfleet_proxy_http": table.AUTH_PROXY,
        "buildfleet_no_proxy": "mirror.lab, .internal.lab",
        "buildfleet_buildkit": "true",
        "buildfleet_users": "root,builder",
        "buildfleet_check_image": "busybox:1",
    }
    rollout = {
        "buildfleet_sources": os.path.dirname(SOURCE),
        "buildfleet_image_mirrors": "docker.io=mirror.lab",
        "buildfleet_restart": "if_needed",
        "buildfleet_batch": "1,100%",
    }
    predicted = launch("site", answers("configure", **wish, **rollout), credential=True, check=True)
    assert predicted.code == 0, predicted.output
    configured = launch("site", answers("configure", **wish, **rollout), credential=True)
    assert configured.code == 0, configured.output
    assert configured.changed == predicted.changed == {HOST: 3}

    def on_the_host(command: str) -> str:
        return subprocess.run(["docker", "exec", HOST, "sh", "-lc", command], check=True, capture_output=True, text=True).stdout

    assert on_the_host(f"cat {SOURCE}") == "FROM mirror.lab/library/busybox:1\n"
    assert ".internal.lab" in on_the_host("docker info --format '{{.NoProxy}}'")
    assert on_the_host("echo $DOCKER_BUILDKIT $BUILDKIT_NO_CLIENT_TOKEN") == "1 1\n"

    verified = launch("verify", answers("verify", **wish), credential=True)
    assert verified.code == 0, verified.output
    assert verified.changed == {}
    reported = launch("report", answers("verify", **wish), credential=True)
    artifacts = [event["event_data"].get("artifact_data") for event in reported.events() if event["event"] == "playbook_on_stats"]
    assert [name for name in artifacts[0] if name.startswith("buildfleet_report_")]

    undone = launch("undo", answers("undo", buildfleet_restart="if_needed"))
    assert undone.code == 0, undone.output
    for job in (predicted, configured, verified, reported, undone):
        assert [spelling for spelling in SPELLINGS if spelling in job.told() or spelling in job.output] == []
