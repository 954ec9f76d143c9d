# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet in one structure, from the results of each host: the page, the JSON, the terminal and AWX all show it.

Pure, and run only on the controller.
"""

from __future__ import annotations

import re
import typing as t
from hashlib import sha256

FORMAT = 1
PROCESSES = ("daemon", "client", "step")
# In the order of importance to the reader.
STATES = ("failed", "unreachable", "drifted", "unproved", "ok")
WORDS = {"failed": "fails", "unreachable": "unreachable", "drifted": "drifted", "unproved": "not proved", "ok": "works"}
VERSIONS = ("engine", "buildx", "compose", "cli")

Result = t.Mapping[str, t.Any]
Tree = t.Dict[str, t.Any]

# Failures without a network request, so without a process.
_PROCESS_OF = {"engine_down": "daemon", "disk_full": "daemon", "buildx_missing": "client", "legacy_cannot": "client", "step_failed": "step"}
_SETTINGS_OF = {
    "proxy_ca": "The trusted certificates differ",
    "proxy_relay": "The relay's settings differ",
    "docker_daemon_proxy": "The daemon's settings differ",
    "docker_registry_hosts": "The mirrors of other registries differ",
    "docker_build_env": "The client's and the steps' settings differ",
    "docker_builder": "The builders differ",
    "dockerfile_mirror": "The sources differ",
}
_RELAY_FILE = "/etc/buildfleet-relay.conf"  # Ansible's copy does not name it in check mode
_LONGEST = 600  # of a sentence from another source
_NO_SUDO = re.compile(r"\bsudo: (?:command )?not found")
_WITHOUT_SUDO = "Set ansible_user: root if Ansible logs in as root there; it then needs no sudo. Otherwise install sudo."
_SITE = "Run the playbook buildfleet.docker.site."


class Observed(t.NamedTuple):
    """The registered results of one host."""

    check: Result = {}
    info: Result = {}
    wanted: t.Mapping[str, Result] = {}  # by module, of a run in check mode


def of_a_loop(result: Result) -> Tree:
    """The builders are configured in a loop: the reason of the first that failed, and the diffs of all."""
    rows = result.get("results")
    if not isinstance(rows, list):
        return dict(result)
    failed = next((row for row in rows if row.get("failed")), result)
    return {**result, "msg": failed.get("msg"), "diff": [one for row in rows for one in row.get("diff") or []]}


def report(fleet: t.Mapping[str, Observed], created: str, caches: t.Optional[t.Mapping[str, t.Mapping[str, Result]]] = None) -> Tree:
    hosts = sorted((_host(name, observed) for name, observed in fleet.items()), key=lambda host: (STATES.index(host["state"]), _natural(host["name"])))
    return {
        "format": FORMAT,
        "created": created,
        "counts": _counts(hosts),
        "processes": {process: _tally([host["processes"][process] for host in hosts], ("ok", "failed", "unknown")) for process in PROCESSES},
        "causes": _causes(hosts),
        "findings": _findings(hosts),
        "hosts": hosts,
        "caches": [{"host": host, "caches": dict(counted), "sentences": _of_a_cache(host, counted)} for host, counted in (caches or {}).items()],
    }


def _of_a_cache(host: str, counted: t.Mapping[str, Result]) -> t.List[str]:
    """What the host's own program of the role registry_cache says about each of its caches."""
    if not counted:
        return [f"The cache {host} was not asked: it is unreachable, or site has not set it up."]
    return [f"The cache {host} of {registry}: {_short(str(health.get('text')))}" for registry, health in counted.items()]


def artifacts(shown: Tree) -> Tree:
    """What a workflow can use. AWX merges the artifacts of slices in no order, so each slice, which has its own hosts, gets its own key."""
    names = sorted(host["name"] for host in shown["hosts"])
    key = "buildfleet_report_" + sha256("\n".join(names).encode()).hexdigest()[:12]
    return {key: {"counts": shown["counts"], "not_ok": {host["name"]: host["cause"] or host["state"] for host in shown["hosts"] if host["state"] != "ok"}}}


def table(shown: Tree, most: int = 20) -> str:
    """A few lines for a terminal: each host of a small fleet, each cause in a large one."""
    caches = [sentence for cache in shown["caches"] for sentence in cache["sentences"]]
    return "\n".join([*(_by_host(shown["hosts"]) if len(shown["hosts"]) <= most else _by_cause(shown["causes"], most)), *caches, summary(shown)])


def summary(shown: Tree) -> str:
    counts = shown["counts"]
    states = ", ".join(f"{counts[state]} {words(state, counts[state])}" for state in STATES if counts[state])
    pending = counts["restart_pending"]
    return f"{_many(counts['hosts'], 'host')}: {states or 'none'}." + (f" {_many(pending, 'restart')} pending." if pending else "")


def words(state: str, count: int) -> str:
    return {"fails": "fail", "works": "work"}.get(WORDS[state], WORDS[state]) if count != 1 else WORDS[state]


def _by_host(hosts: t.Sequence[Tree]) -> t.List[str]:
    rows = [("HOST", *(process.upper() for process in PROCESSES), "")] if hosts else []
    for host in hosts:
        sentences = [*host["why"], *host["cure"], *_remarks(host)] or [""]
        rows.append((host["name"], *({"ok": "works", "failed": "FAILS", "unknown": "-"}[host["processes"][process]] for process in PROCESSES), sentences[0]))
        rows += [("", *("" for _process in PROCESSES), more) for more in sentences[1:]]
    return _aligned(rows)


def _by_cause(causes: t.Sequence[Tree], most: int) -> t.List[str]:
    rows = []
    for cause in causes[:most]:
        names, count = cause["hosts"][:3], len(cause["hosts"])
        others = f" and {count - len(names)} more" if count > len(names) else ""
        sentences = [*cause["why"], *cause["cure"], ", ".join(names) + others]
        rows += [(str(count), words(cause["state"], count), sentences[0]), *(("", "", more) for more in sentences[1:])]
    left = [f"and {_many(len(causes) - most, 'rarer cause')}"] if len(causes) > most else []
    return _aligned(rows) + left


def _aligned(rows: t.Sequence[t.Tuple[str, ...]]) -> t.List[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)] if rows else []
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]).rstrip() for row in rows]


def _host(name: str, observed: Observed) -> Tree:
    check, info = observed.check, observed.info
    drift = _drift(observed.wanted)
    state = _state(observed, drift)
    cause, why, cure = _verdict(state, observed, drift)
    return {
        "name": name,
        "state": state,
        "processes": _processes(state, observed),
        "cause": cause,
        "asked_by": check.get("asked_by"),
        "host": check.get("host"),
        "reason": check.get("reason"),
        "reference": check.get("reference"),
        "why": why,
        "cure": cure,
        "builder": check.get("builder_used"),
        "proved": check.get("proved") or {},
        "seconds": check.get("seconds"),
        "versions": {component: version for component, version in (info.get("versions") or {}).items() if version},
        "restart_pending": _pending(observed),
        "drift": drift,
        "settings": {process: _settings(info, key) for process, key in zip(PROCESSES, ("daemon", "clients", "steps"))},
        "mirrors": info.get("mirrors") or [],
        "findings": info.get("findings") or [],
        "unreadable": _unreadable(info),
        "log": check.get("log") or [],
    }


def _state(observed: Observed, drift: t.Sequence[str]) -> str:
    check = observed.check
    if any(result.get("unreachable") for result in (observed.info, check, *observed.wanted.values())):
        return "unreachable"
    if check.get("failed") or check.get("ok") is False or _lacks_sudo(observed):
        return "failed"
    if drift:
        return "drifted"
    return "ok" if check.get("ok") else "unproved"


def _lacks_sudo(observed: Observed) -> bool:
    """Ansible itself reports only what the shell printed."""
    return any(_NO_SUDO.search(f"{result.get('msg')} {result.get('module_stderr')}") for result in (observed.info, observed.check) if not result.get("ok"))


def _verdict(state: str, observed: Observed, drift: t.List[str]) -> t.Tuple[t.Optional[str], t.List[str], t.List[str]]:
    """The id of the cause, what is wrong, and the fix."""
    check = observed.check
    site = [_SITE] if any(result.get("changed") and not result.get("failed") for result in observed.wanted.values()) else []
    text = _short(str(check.get("msg") or "").strip())
    if state == "unreachable":
        told = next(str(result.get("msg") or "") for result in (observed.info, check, *observed.wanted.values()) if result.get("unreachable"))
        why = f"Ansible could not reach the host: {_first_line(told).removeprefix('Task failed: ').partition('. ')[0].rstrip('.')}."
        return "unreachable", [why], ["Start the host, or correct how Ansible connects to it."]
    if _lacks_sudo(observed):
        return "module_failed", ["sudo is not installed on this host."], [_WITHOUT_SUDO]
    if state == "failed":
        cure = str(check.get("cure") or "")
        why = text[: -len(cure)].rstrip() if cure and text.endswith(cure) else text
        return str(check.get("cause") or "module_failed"), [why or "The test build failed without a message.", *drift], [*([cure] if cure else []), *site]
    if state == "drifted":
        return "drift", list(drift), site
    if state == "unproved":
        return None, [text or "Nothing was built."], []
    return "ok", [], []


def _processes(state: str, observed: Observed) -> t.Dict[str, str]:
    check = observed.check
    states = dict.fromkeys(PROCESSES, "unknown")
    if state == "unreachable":
        return states
    if check.get("ok"):
        return {**states, "daemon": "ok", "client": "ok", "step": "ok" if (check.get("proved") or {}).get("step") else "unknown"}
    failed = check.get("asked_by") or _PROCESS_OF.get(str(check.get("cause")))
    if failed == "step":
        states.update(daemon="ok", client="ok")  # the step ran, so its image came
    if failed in states:
        states[failed] = "failed"
    return states


def _drift(wanted: t.Mapping[str, Result]) -> t.List[str]:
    sentences = []
    for module, result in wanted.items():
        if result.get("unreachable"):
            continue
        if result.get("failed"):
            sentences.append(f"{module} refuses: {_first_line(str(result.get('msg') or 'no reason given.'))}")
        elif result.get("changed"):
            sentences.append(f"{_SETTINGS_OF.get(module, module)} from the variables: {_difference(module, result)}.")
    return sentences + _dead_mirrors(wanted.get("registry_mirror_info") or {})


def _dead_mirrors(tried: Result) -> t.List[str]:
    """Mirrors in use that no longer work, and a candidate that works."""
    in_use, usable = tried.get("in_use") or [], tried.get("usable") or []
    kind = "candidate" if any(mirror.get("url") not in in_use for mirror in tried.get("mirrors") or []) else "mirror"
    others = f"The {kind} {usable[0]} works." if usable else f"No {kind} works."
    dead = [mirror for mirror in tried.get("mirrors") or [] if mirror.get("url") in in_use and not mirror.get("usable")]
    return [_short(f"The mirror {mirror['url']}, which the daemon uses, does not work: {mirror.get('message')} {others}") for mirror in dead]


def _difference(module: str, result: Result) -> str:
    diffs = result.get("diff") or []
    headers = [str(diff.get("after_header") or "") for diff in (diffs if isinstance(diffs, list) else []) if isinstance(diff, t.Mapping)]
    paths = [header.partition(" (")[0] for header in headers if header]
    if paths:
        return ", ".join(paths)
    edits = (result.get("counts") or {}).get("edits")
    if edits:
        return _many(edits, "image reference")
    return _RELAY_FILE if module == "proxy_relay" else "a restart is due"


def _pending(observed: Observed) -> t.List[str]:
    """What waits for a restart: the daemon's settings, and services that build; only settings that are already written."""
    written = {module: result for module, result in observed.wanted.items() if not result.get("changed")}
    waiting_for_daemon = [result for result in written.values() if result.get("restart_pending")]
    waiting = []
    if observed.info.get("restart_pending") or waiting_for_daemon:
        names = ", ".join(str(name) for name in observed.info.get("pending") or [])
        reason = next((str(result["pending_reason"]) for result in waiting_for_daemon if result.get("pending_reason")), "")
        waiting.append("docker" + (f" ({names or reason})" if names or reason else ""))
    return waiting + [str(service) for service in written.get("docker_build_env", {}).get("pending") or []]


def _settings(info: Result, key: str) -> t.List[Tree]:
    """The effective settings of a process and their sources; unset ones are omitted."""
    users = info.get(key) or []
    return [
        {
            "who": user.get("who"),
            "user": user.get("user"),
            "settings": [
                {name: setting.get(name) for name in ("name", "value", "in_force", "source") if name in setting}
                for setting in user.get("settings") or []
                if setting.get("value") or setting.get("in_force")
            ],
        }
        for user in ([users] if isinstance(users, t.Mapping) else users)
    ]


def _unreadable(info: Result) -> t.List[str]:
    if "versions" in info or not info.get("msg") or info.get("unreachable"):
        return list(info.get("unreadable") or [])
    return [f"docker_build_info: {_first_line(str(info['msg']))}"]


def _remarks(host: Tree) -> t.List[str]:
    errors = [finding["id"] for finding in host["findings"] if finding.get("severity") == "error"]
    return [f"restart pending: {pending}" for pending in host["restart_pending"]] + [f"found: {name}" for name in errors]


def _counts(hosts: t.Sequence[Tree]) -> t.Dict[str, int]:
    return {
        "hosts": len(hosts),
        **_tally([host["state"] for host in hosts], STATES),
        "restart_pending": sum(bool(host["restart_pending"]) for host in hosts),
        "with_errors": sum(_severest(host["findings"]) == "error" for host in hosts),
        "with_warnings": sum(_severest(host["findings"]) == "warning" for host in hosts),
    }


def _severest(findings: t.Sequence[Result]) -> t.Optional[str]:
    present = {finding.get("severity") for finding in findings}
    return next((severity for severity in ("error", "warning", "info") if severity in present), None)


def _causes(hosts: t.Sequence[Tree]) -> t.List[Tree]:
    """One entry for all failures with the same fix, the most frequent first."""
    groups: t.Dict[t.Tuple[t.Any, ...], Tree] = {}
    for host in hosts:
        if host["state"] not in ("ok", "unproved"):
            key = (host["state"], *((host["cause"],) if host["state"] == "unreachable" else (*host["why"], *host["cure"])))
            group = {"state": host["state"], "cause": host["cause"], "why": host["why"], "cure": host["cure"], "hosts": []}
            groups.setdefault(key, group)["hosts"].append(host["name"])
    return sorted(groups.values(), key=lambda group: -len(group["hosts"]))


def _findings(hosts: t.Sequence[Tree]) -> t.List[Tree]:
    """Errors and warnings of hosts; the first host's sentence is used for all of one kind."""
    groups: t.Dict[str, Tree] = {}
    for host in hosts:
        for finding in host["findings"]:
            if finding.get("severity") in ("error", "warning"):
                kept = {name: finding.get(name) for name in ("id", "severity", "process", "message", "cure")}
                names = groups.setdefault(str(finding.get("id")), {**kept, "hosts": []})["hosts"]
                if host["name"] not in names[-1:]:
                    names.append(host["name"])
    return sorted(groups.values(), key=lambda group: (group["severity"] != "error", -len(group["hosts"])))


def _tally(values: t.Sequence[str], names: t.Sequence[str]) -> t.Dict[str, int]:
    return {name: values.count(name) for name in names}


def _natural(name: str) -> t.List[t.Tuple[int, str]]:
    """web2 before web10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"([0-9]+)", name)]


def _first_line(text: str) -> str:
    return _short(next((line.strip() for line in text.splitlines() if line.strip()), ""))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
