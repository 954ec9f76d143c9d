# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action, as a user runs it: a play on hosts that answer from this machine."""

from __future__ import annotations

import ast
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import ansible_runner
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "browser"))

import fleet

from ansible_collections.buildfleet.docker.plugins.plugin_utils import _report

pytestmark = pytest.mark.slow

PASSWORD = "pa:ss/w@rd"
PLAY = """
- hosts: all
  gather_facts: false
  ignore_unreachable: true
  tasks:
    - ansible.builtin.ping:
      register: docker_build_info_result
      when: inventory_hostname == 'gone'
    - ansible.builtin.set_fact:
        docker_build_check_result: "{{ answer }}"
      when: answer is defined
    - buildfleet.docker.fleet_report: OPTIONS
"""


def play(folder, hosts, options, *arguments):
    (folder / "play.yml").write_text(PLAY.replace("OPTIONS", json.dumps(options)))
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": {name: {**local, **variables} for name, variables in hosts.items()}}}))
    environment = {**os.environ, "ANSIBLE_SHOW_CUSTOM_STATS": "true", "ANSIBLE_NOCOLOR": "true", "ANSIBLE_DEPRECATION_WARNINGS": "false"}
    command = ["sh", "-c", 'umask 000; exec "$@"', "sh", "ansible-playbook", "play.yml", "--inventory=hosts.json", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def stats(output):
    return json.loads(re.search(r"CUSTOM STATS: \*+\s+RUN: (\{.*\})", output).group(1))


def test_what_verify_compares_is_in_the_report():
    top = Path(__file__).resolve().parents[4]
    verify, plugin = ((top / path).read_text() for path in ("playbooks/verify.yml", "plugins/action/fleet_report.py"))
    compared = re.findall(r"- \"{{ (\w+)_result \| default\({}\) }}\"", verify)
    # Imported here, the plugin would count as code of this process, but it runs in Ansible's.
    wanted = ast.literal_eval(re.search(r"^_WANTED = (\(.*?^\))", plugin, re.MULTILINE | re.DOTALL)[1])
    assert sorted(compared) == sorted(wanted)
    assert set(compared) - {"registry_mirror_info"} == set(_report._SETTINGS_OF)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    log = [f"http://user:{PASSWORD}@proxy:3128 said no to {PASSWORD}", "\x1b[31mred\x1b[0m \u202e</script>"]
    hosts = {
        "green": {"answer": fleet.PASSED, "buildfleet_proxy_password": PASSWORD},
        "red": {"answer": dict(fleet.FAILURES[0], log=log)},
        "gone": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1},
    }
    caches = {"cache1": {"docker.io": {"text": f"online; the last: \x1b {PASSWORD}."}}, "cache2": {}}
    result = play(folder, hosts, {"dest": "page.html", "caches": caches})
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result.stdout


def test_page_and_json_are_for_their_owner_alone(done):
    folder, _output = done
    for name in ("page.html", "page.json"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir() if path.name.startswith(".buildfleet")] == []


def test_hosts_that_were_not_reached_are_in_it(done):
    folder, output = done
    shown = json.loads((folder / "page.json").read_text())
    assert {host["name"]: host["state"] for host in shown["hosts"]} == {"red": "failed", "gone": "unreachable", "green": "ok"}
    assert "3 hosts: 1 fails, 1 unreachable, 1 works." in output
    assert f"Written: {folder}/page.html" in output


def test_the_caches_are_in_it(done):
    folder, output = done
    shown = json.loads((folder / "page.json").read_text())
    sentences = [sentence for cache in shown["caches"] for sentence in cache["sentences"]]
    assert sentences == [
        "The cache cache1 of docker.io: online; the last: \ufffd xxxxx.",
        "The cache cache2 was not asked: it is unreachable, or site has not set it up.",
    ]
    assert "\n".join(sentences) in output


def test_a_password_and_a_steered_terminal_stay_out(done):
    folder, output = done
    for text in ((folder / "page.html").read_text(), (folder / "page.json").read_text(), output.partition("TASK [buildfleet.docker.fleet_report]")[2]):
        assert PASSWORD not in text
        assert "ss/w" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "</script>" in json.loads((folder / "page.json").read_text())["hosts"][0]["log"][1]


def test_artifacts_reach_awx_as_set_stats_does(done):
    _folder, output = done
    ((key, found),) = stats(output).items()
    assert key.startswith("buildfleet_report_")
    assert found["not_ok"] == {"red": "token_unreachable", "gone": "unreachable"}


def test_it_runs_once_and_changes_nothing(done):
    _folder, output = done
    told = output.partition("TASK [buildfleet.docker.fleet_report]")[2]
    assert len(re.findall(r"^ok: \[", told, re.M)) == 1
    assert re.search(r"changed=[1-9]", told) is None


def test_check_mode_writes_no_file(tmp_path):
    result = play(tmp_path, {"one": {"answer": fleet.PASSED}}, {"dest": "page.html"}, "--check")
    assert "1 host: 1 works." in result.stdout
    assert not list(tmp_path.glob("page.*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"dest": "/no/such/folder/page.html"},
            "dest: /no/such/folder/page.html cannot be written: No such file or directory. Set dest to a file in a directory that you can write to.",
        ),
        ({"dest": "page.json"}, "dest: page.json is also the name of the JSON file. Use another name for the page, such as report.html."),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path, options, message):
    result = play(tmp_path, {"one": {"answer": fleet.PASSED}}, options)
    assert result.returncode != 0
    assert message in result.stdout + result.stderr


def test_a_table_that_nobody_wants_is_not_printed(tmp_path):
    result = play(tmp_path, {"one": {"answer": fleet.PASSED}}, {"table": False})
    assert result.returncode == 0
    assert "1 host: 1 works." not in result.stdout


GONE = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}


@pytest.mark.parametrize(("playbook", "code"), [("report", 0), ("verify", 2)])
def test_playbooks_tell_of_a_fleet_that_nobody_reaches(tmp_path, playbook, code):
    (tmp_path / "hosts.json").write_text(json.dumps({"build_servers": {"hosts": {"a": GONE, "b": GONE}}}))
    command = ["ansible-playbook", f"buildfleet.docker.{playbook}", "--inventory=hosts.json"]
    result = subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stdout
    assert "2 hosts: 2 unreachable." in result.stdout
    assert (tmp_path / "buildfleet-report.html").exists() is (playbook == "report")


RECORDER = """
from ansible.plugins.strategy import linear
class StrategyModule(linear.StrategyModule):
    def run(self, iterator, play_context):
        with open("played", "a") as file:
            file.write(f"{__name__.rpartition('.')[2]}: {iterator._play.name}\\n")
        return super().run(iterator, play_context)
"""


@pytest.mark.parametrize(
    ("configured", "playbook", "name", "plays_it"),
    [
        pytest.param("mitogen_linear", "report", "Report", True, id="of Mitogen"),
        pytest.param("mitogen_free", "verify", "Verify", True, id="of Mitogen, not linear"),
        pytest.param("free_hosts", "verify", "Verify", False, id="not linear"),
    ],
)
def test_playbooks_use_a_linear_strategy_and_that_of_mitogen_if_it_is_set(tmp_path, configured, playbook, name, plays_it):
    (tmp_path / "strategies").mkdir()
    for strategy in ("mitogen_linear", "mitogen_free", "free_hosts"):
        (tmp_path / "strategies" / f"{strategy}.py").write_text(RECORDER)
    (tmp_path / "hosts.json").write_text(json.dumps({"build_servers": {"hosts": {"a": GONE, "b": GONE}}}))
    command = ["ansible-playbook", f"buildfleet.docker.{playbook}", "--inventory=hosts.json"]
    environment = {**os.environ, "ANSIBLE_STRATEGY_PLUGINS": str(tmp_path / "strategies"), "ANSIBLE_STRATEGY": configured}
    result = subprocess.run(command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert "2 hosts: 2 unreachable." in result.stdout, result.stdout + result.stderr
    played = (tmp_path / "played").read_text().splitlines()
    assert f"{configured}: Check host pattern" in played
    assert [line for line in played if line.endswith(f": {name}")] == ([f"mitogen_linear: {name}"] if plays_it else [])


def test_slices_leave_artifacts_that_awx_can_merge(tmp_path):
    """What AWX stores is what ansible-runner finds in the last event; a slice is a run on some of the hosts."""
    found = {}
    for number, names in enumerate((("a", "c"), ("b",))):
        folder = tmp_path / str(number)
        for part in ("project", "inventory"):
            (folder / part).mkdir(parents=True)
        (folder / "project/play.yml").write_text(PLAY.replace("OPTIONS", "{}"))
        variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "answer": fleet.FAILURES[0]}
        (folder / "inventory/hosts.json").write_text(json.dumps({"all": {"hosts": dict.fromkeys(names, variables)}}))
        run = ansible_runner.run(private_data_dir=str(folder), playbook="play.yml", quiet=True)
        assert run.status == "successful"
        (data,) = (event["event_data"]["artifact_data"] for event in run.events if event["event"] == "playbook_on_stats")
        assert not set(found) & set(data)
        found.update(data)
    assert sorted(name for artifact in found.values() for name in artifact["not_ok"]) == ["a", "b", "c"]
