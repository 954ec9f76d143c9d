# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as one HTML file that needs no network and no other file.

The template engine escapes all output of hosts by default. If that ever fails, the security policy of the page
still allows only the one script whose digest it contains.
"""

from __future__ import annotations

import base64
import typing as t
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ansible_collections.buildfleet.docker.plugins.plugin_utils._report import PROCESSES, STATES, VERSIONS, WORDS, Tree, summary, words

FOLDER = Path(__file__).parent / "page"
MOST_CAUSES = 12
# What a large fleet's details may weigh together, so that the page stays below 2 MiB; the JSON has them all.
_DETAILS = 800_000


def page(shown: Tree) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, loader=FileSystemLoader(FOLDER), trim_blocks=True, lstrip_blocks=True)
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    causes = [dict(cause, tag=f"cause:{number}") for number, cause in enumerate(shown["causes"])]
    share = _share(shown["hosts"])
    findings = [dict(finding, tag=f"finding:{number}") for number, finding in enumerate(shown["findings"])]
    return environment.get_template("page.html.j2").render(
        report=shown,
        summary=summary(shown),
        causes=causes,
        findings=findings,
        hosts=[_row(host, tags, share) for host, tags in zip(shown["hosts"], _tags(shown["hosts"], causes, findings))],
        processes=PROCESSES,
        states=STATES,
        state_words=WORDS,
        words=words,
        most_causes=MOST_CAUSES,
        style=style,
        script=script,
        style_digest=_digest(style),
        script_digest=_digest(script),
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(sha256(text.encode()).digest()).decode()


def _tags(hosts: t.Sequence[Tree], causes: t.Sequence[Tree], findings: t.Sequence[Tree]) -> t.Iterator[str]:
    """The tags by which a host can be filtered."""
    named: t.Dict[str, t.List[str]] = {}
    for group in (*causes, *findings):
        for name in group["hosts"]:
            named.setdefault(name, []).append(group["tag"])
    for host in hosts:
        processes = [f"{process}:{state}" for process, state in host["processes"].items()]
        yield " ".join([f"state:{host['state']}", *processes, *(["pending"] if host["restart_pending"] else []), *named.get(host["name"], [])])


def _row(host: Tree, tags: str, share: int) -> Tree:
    known = host["versions"]
    versions = [f"{name} {known[name]}" for name in VERSIONS if known.get(name) and not (name == "cli" and known["cli"] == known.get("engine"))]
    shown: Tree = {"findings": [], "log": [], "settings": {process: [] for process in PROCESSES}, "cut": False}
    for kind, item, weight in _details(host):
        share -= weight
        if share < 0:
            shown["cut"] = True
            break
        if kind == "findings":
            shown["findings"].append(item)
        elif kind == "log":
            shown["log"].insert(0, item)
        else:
            shown["settings"][kind] = item
    return dict(host, tags=tags, version_words=versions, **shown)


def _details(host: Tree) -> t.Iterator[t.Tuple[str, t.Any, int]]:
    """The details of a host and their weights; the most important first: the end of a log, then its start."""
    for finding in host["findings"]:
        yield "findings", finding, 90 + sum(_weight(str(finding.get(name) or "")) for name in ("message", "cure"))
    for line in reversed(host["log"]):
        yield "log", line, 1 + _weight(line)
    for process, users in host["settings"].items():
        yield process, users, sum(90 + sum(_weight(str(value or "")) for value in setting.values()) for user in users for setting in user["settings"])


def _share(hosts: t.Sequence[Tree]) -> int:
    """How much each host may show so that all fit: a host that needs less leaves the rest to others."""
    weights = sorted(sum(weight for _kind, _item, weight in _details(host)) for host in hosts)
    left = _DETAILS
    for number, weight in enumerate(weights):
        if weight * (len(weights) - number) > left:
            return left // (len(weights) - number)
        left -= weight
    return max(weights, default=0)


def _weight(text: str) -> int:
    """Bytes of the text in the page: '<' becomes '&lt;'."""
    return len(text.encode()) + 4 * sum(text.count(sign) for sign in "<>&\"'")
