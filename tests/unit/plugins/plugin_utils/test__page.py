# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import hashlib
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ansible_collections.buildfleet.docker.plugins.plugin_utils._page import _tags, page
from ansible_collections.buildfleet.docker.plugins.plugin_utils._report import PROCESSES, WORDS, Observed, report

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "browser"))

import fleet

NOW = "2026-11-24T14:55:00Z"
HOSTILE = '</script></pre><img src=x onerror="alert(1)"><script>alert(2)</script>\' " & <!-- {{ 7 * 7 }} {% raw %} \u2028 ]]>'
VOID = {"meta", "link", "input", "wbr", "rect"}


class Hosts(HTMLParser):
    """What a reader sees of each host, and every tag with its attributes' names."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.hosts, self.tags, self.open, self.external = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, tuple(values)))
        self.external += [value for name, value in attrs if name in ("src", "href", "action", "srcset") and not value.startswith("data:")]
        if tag not in VOID:
            self.open.append((tag, (values.get("class") or "").split()))
        if tag == "li" and "host" in (values.get("class") or "").split():
            self.hosts.append({"name": "", "badge": "", "who": "", "why": [], "cure": [], "pending": [], "versions": "", "log": ""})
        if self.hosts and tag == "p" and any("what" in classes for _tag, classes in self.open) and not self.inside("details"):
            self.hosts[-1][{"cure": "cure", "pending": "pending"}.get(values.get("class"), "why")].append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def inside(self, *names):
        return any(tag in names or set(classes) & set(names) for tag, classes in self.open)

    def handle_data(self, data):
        if not self.hosts or not self.inside("host"):
            return
        host = self.hosts[-1]
        for field, where in (("name", "h3"), ("badge", "badge"), ("who", "who"), ("versions", "versions"), ("log", "pre")):
            if self.inside(where) and not self.inside("i"):
                host[field] += data
        if self.inside("what") and self.open[-1][0] == "p" and not self.inside("details"):
            host["cure" if "cure" in self.open[-1][1] else "pending" if "pending" in self.open[-1][1] else "why"][-1] += data


def words(text):
    return " ".join(text.split())


@pytest.mark.slow
@pytest.mark.parametrize("observed", [fleet.three(), fleet.many(200)], ids=["three", "many"])
def test_the_page_says_what_the_json_says(observed):
    shown = report(observed, NOW)
    parsed = Hosts(page(shown)).hosts
    assert [host["name"] for host in parsed] == [host["name"] for host in shown["hosts"]]
    for seen, host in zip(parsed, shown["hosts"]):
        assert words(seen["badge"]) == WORDS[host["state"]]
        said = {"ok": "works", "failed": "fails", "unknown": "not known"}
        assert words(seen["who"]) == ", ".join(f"{process} {said[host['processes'][process]]}" for process in PROCESSES)
        assert seen["why"] == host["why"]
        assert seen["cure"] == host["cure"]
        assert [words(pending) for pending in seen["pending"]] == host["restart_pending"]
        assert all(f"{name} {host['versions'][name]}" in words(seen["versions"]) for name in ("engine", "buildx", "compose") if host["versions"].get(name))
        assert host["log"] == [] or "\n".join(host["log"]).endswith(seen["log"])


def hostile(value):
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, dict):
        return {name: item if name in ("severity", "cause", "asked_by", "diff", "builder_used") else hostile(item) for name, item in value.items()}
    return [hostile(item) for item in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("check", [fleet.FAILURES[0], fleet.PASSED], ids=["red", "green"])
def test_nothing_that_a_host_says_becomes_html(check):
    info = fleet.info(1, [0, 1, 2], pending=True)
    plain = Hosts(page(report({"name": Observed(check, info)}, NOW)))
    evil = Hosts(page(report({HOSTILE.replace(".", ""): Observed(dict(hostile(check), msg=f"{HOSTILE}!"), hostile(info))}, NOW)))
    assert set(evil.tags) <= set(plain.tags) | {("b", ()), ("wbr", ())}
    assert evil.hosts[0]["name"] == HOSTILE.replace(".", "")
    assert HOSTILE in evil.hosts[0]["log"]
    assert HOSTILE in "".join(evil.hosts[0]["why"]) or check is fleet.PASSED
    assert evil.external == []


def test_the_page_asks_for_nothing():
    text = page(report(fleet.three(), NOW))
    assert Hosts(text).external == []
    assert "@import" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text


def test_the_policy_names_the_one_script_and_the_one_style():
    text = page(report(fleet.three(), NOW))
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{rule} &#39;sha256-{digest}&#39;" in text or f"{rule} 'sha256-{digest}'" in text
    assert not re.search(r"<[^>]*\son\w+=|<[^>]*\sstyle=", text)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "of"), [(1000, fleet.many), (1000, fleet.worst), (100, fleet.worst)])
def test_a_page_of_a_thousand_hosts_is_below_2_mib(count, of):
    shown = report(of(count), NOW)
    text = page(shown)
    assert len(text.encode()) < 2 * 1024 * 1024
    assert text.count('<li class="host ') == count
    assert ("More of this host is in the JSON file." in text) is (of is fleet.worst)


def test_a_small_fleet_is_shown_whole():
    assert "More of this host is in the JSON file." not in page(report(fleet.worst(10), NOW))


def test_no_host_at_all_has_a_page_too():
    assert Hosts(page(report({}, NOW))).hosts == []


def test_a_host_is_filtered_by_its_state_its_processes_and_what_it_shares_with_others():
    host = {"name": "a", "state": "failed", "processes": {"daemon": "ok", "client": "failed"}, "restart_pending": True}
    causes, findings = [{"hosts": ["a", "b"], "tag": "cause:x"}], [{"hosts": ["b"], "tag": "finding:y"}]
    assert list(_tags([host], causes, findings)) == ["state:failed daemon:ok client:failed pending cause:x"]


def test_the_caches_have_a_section_of_their_own():
    text = page(report(fleet.three(), NOW, {"cache1": {"docker.io": {"text": HOSTILE}}}))
    assert re.findall(r"<p>(The cache cache1 of docker.io: .*)</p>", text)
    assert HOSTILE not in text
    assert 'id="caches"' not in page(report(fleet.three(), NOW))
