# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""awx/ as AWX would use it: data against the modules of awx.awx, the playbook against a fake controller."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml
from controller import Controller

TOP = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\|[^|]+\|", re.M)  # the first column of a table
AWX = TOP / "awx"


class Loader(yaml.SafeLoader):
    """YAML with Ansible's `!unsafe`."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def load(name: str) -> dict[str, t.Any]:
    return yaml.load((AWX / name).read_text(), Loader)


OBJECTS = load("objects.yml")
SURVEYS = load("surveys.yml")
QUESTIONS = [pytest.param(question, id=f"{name.rpartition('_')[2]}-{question['variable']}") for name, survey in SURVEYS.items() for question in survey["spec"]]


def options_of(module: str) -> dict[str, dict[str, t.Any]]:
    """The argument spec in a module of awx.awx: what it takes, read from its code."""
    path = importlib.util.find_spec("ansible_collections.awx.awx.plugins.modules").submodule_search_locations[0]
    for node in ast.walk(ast.parse(Path(path, f"{module}.py").read_text())):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "argument_spec":
            spec: dict[str, dict[str, t.Any]] = {}
            for option in node.value.keywords:
                values = {keyword.arg: keyword.value for keyword in option.value.keywords}
                spec[option.arg] = {name: ast.literal_eval(value) for name, value in values.items() if not isinstance(value, ast.Call)}
            return spec
    raise AssertionError(module)


TASKS = [(name.rpartition(".")[2], given) for task in load("apply.yml")[0]["tasks"] for name, given in task.items() if name.startswith("awx.awx.")]


@pytest.mark.parametrize(("module", "given"), TASKS, ids=[module for module, _given in TASKS])
def test_every_option_is_one_of_awx(module, given):
    spec = options_of(module)
    assert set(given) <= set(spec)
    kinds = {"bool": bool, "list": list, "dict": dict, "int": int}
    for name, value in given.items():
        assert (isinstance(value, str) and "{{" in value) or isinstance(value, kinds.get(spec[name].get("type", "str"), str)), name
        assert value in spec[name].get("choices", [value]), name


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_complete_and_no_answer_is_one(question):
    assert set(question) <= {"variable", "question_name", "question_description", "type", "required", "default", "min", "max", "choices"}
    assert question["type"] in ("text", "textarea", "multiplechoice")
    assert question["required"] is False
    assert isinstance(question["default"], str)
    assert question["question_name"] and question["question_description"]
    if question["type"] != "multiplechoice":
        assert question["min"] == 0 and len(question["default"]) <= question["max"]
    else:
        assert question["default"] in ["", *question["choices"]]
        assert all(isinstance(choice, str) for choice in question["choices"])


def asked(survey: str) -> set[str]:
    return {question["variable"] for question in SURVEYS[f"__buildfleet_awx_survey_{survey}"]["spec"]}


def test_the_surveys_ask_for_every_variable_of_the_playbooks_but_secrets_and_files_of_the_controller():
    documented = set(re.findall(r"`(buildfleet_\w+)`", "".join(ROW.findall((TOP / "docs/variables.md").read_text()))))
    no_question = {"buildfleet_proxy_username", "buildfleet_proxy_password", "buildfleet_report_file"}
    assert asked("configure") == documented - no_question
    assert asked("verify") < asked("configure")
    assert asked("undo") < asked("configure")


def test_the_defaults_change_nothing():
    """What is not empty is how, not what."""
    given = {question["variable"] for question in SURVEYS["__buildfleet_awx_survey_configure"]["spec"] if question["default"]}
    assert given == {"buildfleet_hosts", "buildfleet_restart"}


def test_playbooks_are_there():
    for template in OBJECTS["__buildfleet_awx_templates"]:
        assert (TOP / template["playbook"]).is_file()


def test_the_credential_is_injected_as_the_playbooks_read_it():
    injectors = OBJECTS["__buildfleet_awx_credential_injectors"]
    fields = {field["id"]: field for field in OBJECTS["__buildfleet_awx_credential_inputs"]["fields"]}
    assert fields["password"]["secret"] is True
    text = "".join(path.read_text() for path in TOP.glob("playbooks/**/*.yml"))
    for name in [*injectors["env"], *injectors["extra_vars"]]:
        assert re.search(rf"\b{name}\b", text), name
    assert not any(name.startswith("ANSIBLE_") for name in injectors["env"])


@pytest.fixture
def awx():
    controller = Controller()
    controller.add("organizations", name="Default")
    controller.add("inventories", name="Fleet", organization=1)
    controller.add("credentials", name="Machine")
    yield controller
    controller.close()


def apply(awx: Controller, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CONTROLLER_", "TOWER_"))}
    environment |= {"CONTROLLER_HOST": awx.url, "CONTROLLER_OAUTH_TOKEN": "token-of-the-test", "CONTROLLER_VERIFY_SSL": "false"}
    command = ["ansible-playbook", "-i", "localhost,", "awx/apply.yml", "-e", "ansible_python_interpreter={{ ansible_playbook_python }}", *arguments]
    return subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False)


def test_apply_makes_everything_once_and_brings_it_up_to_date(awx):
    first = apply(awx)
    assert first.returncode == 0, first.stdout + first.stderr
    assert [found["name"] for found in awx.objects["job_templates"]] == ["buildfleet configure", "buildfleet verify", "buildfleet report", "buildfleet undo"]
    assert awx.objects["execution_environments"] == []
    configure = awx.named("job_templates", "buildfleet configure")
    assert configure["playbook"] == "playbooks/site.yml"
    assert "inventory" not in configure and "execution_environment" not in configure
    assert configure["ask_inventory_on_launch"] is True
    assert awx.survey("job_templates", "buildfleet configure") == SURVEYS["__buildfleet_awx_survey_configure"]
    assert awx.survey("job_templates", "buildfleet undo") == SURVEYS["__buildfleet_awx_survey_undo"]
    injected = awx.named("credential_types", "buildfleet proxy")["injectors"]
    assert injected["env"]["BUILDFLEET_PROXY_PASSWORD"] == injected["extra_vars"]["buildfleet_proxy_password"] == "{{ password }}"
    assert awx.objects["workflow_approval_templates"][0]["name"] == "Change the hosts"
    nodes = {node["identifier"]: node for node in awx.objects["workflow_job_template_nodes"]}
    assert nodes["configure"]["unified_job_template"] == configure["id"]
    assert followers(awx, nodes) == {("before", "always"): ["approval"], ("approval", "success"): ["configure"], ("configure", "success"): ["after"]}

    made, before = {kind: len(found) for kind, found in awx.objects.items()}, len(awx.changes)
    names = {"buildfleet_awx_inventory": "Fleet", "buildfleet_awx_credentials": ["Machine"], "buildfleet_awx_image": "registry.example.com/ee:1"}
    second = apply(awx, "-e", json.dumps(names))
    assert second.returncode == 0, second.stdout + second.stderr
    assert {kind: len(found) for kind, found in awx.objects.items()} == {**made, "execution_environments": 1}
    assert configure["inventory"] == awx.named("inventories", "Fleet")["id"]
    assert configure["execution_environment"] == awx.named("execution_environments", "buildfleet")["id"]
    assert awx.belongs[f"{configure['url']}credentials/"] == [awx.named("credentials", "Machine")["id"]]
    # The project, the credential type and the surveys are up to date, so they are not written again.
    written = {path[len("/api/v2/") :].partition("/")[0] for _method, path, _data in awx.changes[before:]}
    assert not written & {"projects", "credential_types"}
    assert not any("survey_spec" in path for _method, path, _data in awx.changes[before:])


def followers(awx: Controller, nodes: dict[str, dict[str, t.Any]]) -> dict[tuple[str, str], list[str]]:
    names = {node["id"]: name for name, node in nodes.items()}
    found = {(name, kind): awx.belongs.get(f"{node['url']}{kind}_nodes/", []) for name, node in nodes.items() for kind in ("always", "success", "failure")}
    return {key: [names[number] for number in numbers] for key, numbers in found.items() if numbers}
