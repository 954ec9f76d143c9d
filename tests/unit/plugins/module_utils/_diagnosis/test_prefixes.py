# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What CI systems, loggers and terminals add to a log changes no verdict."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.diagnosis import diagnose
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.log import clean
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import Evidence
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Mirror

FIELD = Path(__file__).parents[4] / "field"
LOGS = [json.loads(line) for name in ("kinds", "logs", "later") for line in (FIELD / f"{name}.jsonl").read_text().splitlines()]


def clock(number):
    return f"2026-03-04T05:{number // 60 % 60:02d}:{number % 60:02d}"


# What is before a line, by its number: forms that are known.
KNOWN = {
    "GitHub's raw log": lambda number: f"{clock(number)}.1234567Z ",
    "gh run view": lambda number: f"build\tBuild and push\t{clock(number)}.1234567Z ",
    "GitLab's raw log": lambda number: f"{clock(number)}.123456Z 01O ",
    "GitLab's raw log, continued": lambda number: f"{clock(number)}.123456Z 01O+",
    "Jenkins' clock": lambda number: f"05:06:{number % 60:02d}  ",
    "Jenkins' timestamps": lambda number: f"[{clock(number)}.123Z] ",
    "CodeBuild": lambda number: f"[Container] 2026/03/04 05:06:{number % 60:02d} ",
    "Cloud Build": lambda number: 'Step #1 - "build": ',
    "Cloud Build without a name": lambda number: "Step #1: ",
    "TeamCity": lambda number: f"[05:06:{number % 60:02d}] [Step 1/2] ",
    "TeamCity's errors": lambda number: f"[05:06:{number % 60:02d}]W:\t [Step 1/2] ",
    "Drone": lambda number: f"[build:{number}] ",
    "systemd's journal": lambda number: f"Mar 04 05:06:{number % 60:02d} ci-7 runner[4321]: ",
    "a day and a clock": lambda number: f"Mar  4 05:06:{number % 60:02d} ",
    "SSHKit": lambda number: "DEBUG [e4a8b2c1] \t",
    "Heroku and Dokku": lambda number: "remote: ",
    "Coolify": lambda number: f"[2026-Mar-04 05:06:{number % 60:02d}.123456] ",
    "Maven": lambda number: "[INFO] DOCKER> ",
    "a quotation": lambda number: "> ",
    "Buildkite": lambda number: f"\x1b_bk;t=17726007{number % 1000:05d}\x07",
    "grep -n": lambda number: f"build.log:{number + 1}:",
}
# Forms of which nothing is known but that they are before each line.
ANY = {
    "a parallel branch of Jenkins": lambda number: "[image: amd64] ",
    "Tekton": lambda number: "[image : build-and-push] ",
    "kubectl logs --prefix": lambda number: "[pod/image-7d9c5/build] ",
    "docker compose logs": lambda number: "runner-1  | ",
    "DigitalOcean": lambda number: f"[2026-03-04 05:06:{number % 60:02d}] │ ",
    "act": lambda number: "[CI/image]   | ",
}
# Forms without a mark at their end: they are known by the start of a build's lines behind them.
UNMARKED = {
    "Terraform": lambda number: "null_resource.image (local-exec): ",
    "Vagrant": lambda number: "    default: ",
    "a logger": lambda number: f"2026-03-04 05:06:{number % 60:02d},123 INFO ",
    "pnpm and turbo": lambda number: "web:image: ",
}


def lines_of(log):
    return log[:-1].split("\n") if log.endswith("\n") else log.split("\n")


def prefixed(log, prefix):
    return "".join(f"{prefix(number)}{line}\n" for number, line in enumerate(lines_of(log)))


WHOLE = {
    "nothing": lambda log: log,
    "colours": lambda log: "".join(f"\x1b[31m{line}\x1b[0m\n" for line in lines_of(log)),
    "colours as text": lambda log: "".join(f"\\u001b[31m{line}\\u001b[0m\n" for line in lines_of(log)),
    "Windows' line ends": lambda log: log.replace("\n", "\r\n"),
    "a blank line behind each": lambda log: log.replace("\n", "\n\n"),
    "blanks at the end of lines": lambda log: log.replace("\n", "   \n"),
    "four blanks before each line": lambda log: prefixed(log, lambda number: "    "),
    "a stream of JSON": lambda log: "".join(json.dumps({"stream": f"{line}\n"}) + "\n" for line in lines_of(log)) if "\\u001b" not in log else log,
    "a fence of Markdown": lambda log: f"```\n{log}```\n",
    "a command before and an exit code behind": lambda log: f"+ make image\n{log}##[error]Process completed with exit code 1.\n",
    "a job that failed": lambda log: f"$ docker info > /dev/null\n{log}ERROR: Job failed: exit code 1\n",
    "GitHub's annotation": lambda log: f"{log}Error: Process completed with exit code 17.\n",
    "Jenkins' end": lambda log: f"{log}script returned exit code 1\nFinished: FAILURE\n",
    "make's end": lambda log: f"{log}make: *** [Makefile:12: image] Error 1\n",
}


def verdict_on(entry, log):
    fields = entry["evidence"]
    found = diagnose(log, Evidence(**dict(fields, mirrors=tuple(Mirror(**mirror) for mirror in fields.get("mirrors", ())))))
    return found.cause, found.asked_by, found.host


def name_of(entry):
    return entry.get("id") or entry["title"]


@pytest.fixture(scope="module", name="plain")
def verdicts_on_the_logs_themselves():
    return [verdict_on(entry, entry["log"]) for entry in LOGS]


START = re.compile(r"^(?:#\d+ \[|Step \d|[ ]=> \[|[ ]> \[)", re.M)


def changed(plain, form, having=lambda log: True):
    found = [(name_of(entry), before, verdict_on(entry, form(entry["log"])), entry["log"]) for entry, before in zip(LOGS, plain) if having(entry["log"])]
    return [row[:3] for row in found if row[1] != row[2] and not blames_nobody(*row[1:])]


def blames_nobody(before, after, log):
    """An excerpt without a line of a build: one line more can show or hide that a program failed, but blames nothing on the network."""
    return START.search(log) is None and {before[0], after[0]} == {"unknown", "step_failed"}


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_prefix_changes_no_verdict(name, plain):
    assert changed(plain, lambda log: prefixed(log, KNOWN[name])) == []


@pytest.mark.parametrize("name", ANY)
def test_nor_does_a_prefix_that_all_lines_of_a_log_have(name, plain):
    assert changed(plain, lambda log: prefixed(log, ANY[name]), lambda log: log.count("\n") > 2) == []


@pytest.mark.parametrize("name", UNMARKED)
def test_nor_does_one_before_the_start_of_a_build_s_lines(name, plain):
    assert changed(plain, lambda log: prefixed(log, UNMARKED[name]), lambda log: log.count("\n") > 2 and START.search(log)) == []


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_around_a_log_changes_no_verdict(name, plain):
    assert changed(plain, WHOLE[name]) == []


KEPT = [
    ["[ERROR] Failed to execute goal org.example:plugin", "[ERROR] could not be resolved", "[ERROR] at a.b.c"],
    ["   1 | >>> FROM busybox", "   2 |     RUN true", "   3 |     CMD true"],
    [" => [internal] load build definition", " => [internal] load .dockerignore", " => [internal] load metadata for docker.io/library/a:1"],
    ["#5 [2/3] RUN make", "#5 0.123 cc -c a.c", "#5 0.456 cc -c b.c"],
    ["npm ERR! code E404", "npm ERR! 404 Not Found", "npm ERR! 404 no such package"],
    ["> web@1.0.0 build", "> next build", "done"],
]


@pytest.mark.parametrize("lines", KEPT, ids=[rows[0] for rows in KEPT])
def test_what_looks_like_a_prefix_and_is_none_stays(lines):
    text = "\n".join(lines)
    kept = text if "|" in text else textwrap.dedent(text)
    assert clean(text) == tuple(kept.split("\n"))


def test_prefixes_behind_each_other_are_removed():
    assert clean("[ci] [image] [web] one\n[ci] [image] [web] two\n[ci] [image] [web] three\n") == ("one", "two", "three", "")


ROW = "\\u001b[1A#5 [2/2] RUN make\\r\\n#5 0.123 cc -c a.c\\r\\n"
BROKEN = {
    "a command that a terminal broke": (
        'ERROR: failed to solve: process "/bin/sh -c apt-get update && apt-get ins\ntall -y cu\nrl" did not complete successfully: exit code: 100\nend',
        ['ERROR: failed to solve: process "/bin/sh -c apt-get update && apt-get install -y curl" did not complete successfully: exit code: 100', "end"],
    ),
    "the same of an older BuildKit": (
        "executor failed running [/bin/sh -c ma\nke]: exit code: 2\nend",
        ["executor failed running [/bin/sh -c make]: exit code: 2", "end"],
    ),
    "a command without its end": ('ERROR: failed to solve: process "/bin/sh -c make\nend', ['ERROR: failed to solve: process "/bin/sh -c make', "end"]),
    "rows without a line end": ("#5 [2/2] RUN make #5 0.123 cc #5 0.456 ld\nend", ["#5 [2/2] RUN make", "#5 0.123 cc", "#5 0.456 ld", "end"]),
    "a terminal's rows in one line of JSON": (
        f"one\ntwo\nthree\n{ROW}\nend",
        ["one", "two", "three", "#5 [2/2] RUN make", "", "#5 0.123 cc -c a.c", "", "", "end"],
    ),
    "a blank line inside a URL": (
        'Head "https://registry.example.com/v2/\n\napp/manifests/1": EOF',
        ['Head "https://registry.example.com/v2/app/manifests/1": EOF'],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_lines_that_a_terminal_or_a_form_broke(name):
    text, lines = BROKEN[name]
    assert clean(text) == tuple(lines)
