# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs once, on the controller: writes the results of the hosts to a page, a JSON file, the terminal and the artifacts of AWX."""

from __future__ import annotations

import json
import os
import re
import tempfile
import typing as t
from collections.abc import Mapping
from datetime import UTC, datetime

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import Secrets
from ansible_collections.buildfleet.docker.plugins.plugin_utils._page import page
from ansible_collections.buildfleet.docker.plugins.plugin_utils._report import Observed, artifacts, of_a_loop, report, summary, table

_WANTED = (
    "registry_mirror_info", "proxy_ca", "proxy_relay", "docker_daemon_proxy", "docker_registry_hosts", "docker_build_env", "docker_builder",
    "dockerfile_mirror",
)  # fmt: skip
_PASSWORDS = ("buildfleet_proxy_password", "docker_daemon_proxy_proxy_password", "ansible_password", "ansible_become_password")
# Output of a host must not control a terminal or break a file: control characters, and bytes that are not text.
_NOT_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class ActionModule(ActionBase):
    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("caches", "dest", "json", "table"))

    def run(self, tmp: t.Any = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> t.Dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        _unused, options = self.validate_argument_spec(
            {"caches": {"type": "dict"}, "dest": {"type": "path"}, "json": {"type": "path"}, "table": {"type": "bool", "default": True}}
        )
        everything = task_vars or {}
        hostvars = everything["hostvars"]
        names = [str(name) for name in everything["ansible_play_hosts_all"]]
        variables = {name: hostvars[name] for name in names}
        created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        shown = _passwords(variables).tree(report({name: _observed(found) for name, found in variables.items()}, created, _plain(options["caches"])))
        files = {} if self._task.check_mode else self._files(options["dest"], options["json"], shown)
        for path, text in files.items():
            _write(path, text)
        if options["table"]:
            self._display.display("\n".join(["", table(shown), *(f"Written: {path}" for path in files)]))
        return dict(
            result,
            changed=False,
            msg=summary(shown),
            counts=shown["counts"],
            files=list(files),
            ansible_stats={"data": artifacts(shown), "per_host": False, "aggregate": True},
        )

    def _files(self, dest: t.Optional[str], beside: t.Optional[str], shown: t.Dict[str, t.Any]) -> t.Dict[str, str]:
        if not dest:
            return {}
        pages = os.path.abspath(dest)
        data = os.path.abspath(beside or os.path.splitext(pages)[0] + ".json")
        if data == pages:
            raise AnsibleActionFail(f"dest: {dest} is also the name of the JSON file. Use another name for the page, such as report.html.")
        return {pages: page(shown), data: json.dumps(shown, ensure_ascii=False, indent=1) + "\n"}


def _observed(variables: t.Mapping[str, t.Any]) -> Observed:
    def result(module: str) -> t.Dict[str, t.Any]:
        found = _plain(variables.get(f"{module}_result"))
        return {} if not isinstance(found, dict) or found.get("skipped") else of_a_loop(found)

    return Observed(
        check=result("docker_build_check"),
        info=result("docker_build_info"),
        wanted={module: result(module) for module in _WANTED},
    )


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, str):
        return _NOT_TEXT.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float)) else _plain(str(value))


def _passwords(fleet: t.Mapping[str, t.Mapping[str, t.Any]]) -> Secrets:
    """Modules mask their own output; this is for output of Ansible and others."""
    secrets = Secrets()
    secrets.learn(os.environ.get("BUILDFLEET_PROXY_PASSWORD", ""))
    for variables in fleet.values():
        for name in _PASSWORDS:
            try:
                secrets.learn(str(variables.get(name) or ""))
            except AnsibleError:
                continue  # a variable that cannot be evaluated was never used
    return secrets


def _write(path: str, text: str) -> None:
    """For its owner alone, whole or not at all."""
    try:
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".buildfleet-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise AnsibleActionFail(f"dest: {path} cannot be written: {error.strerror}. Set dest to a file in a directory that you can write to.") from None
