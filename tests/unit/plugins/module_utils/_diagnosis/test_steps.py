# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs say in a RUN step: the network's failures by cause and host, and the healthy twins that only sound like them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.diagnosis import diagnose

WORDS = json.loads((Path(__file__).parent / "steps.json").read_text())
NETWORK = WORDS["network"]  # what the step runs, what it prints, the cause, the host ("...": not asked)
HEALTHY = WORDS["healthy"]  # builds that fail for reasons of their own, with words of the network in them


def log_of(command: str, output: str, code: int = 1) -> str:
    said = "".join(f"#7 {3 + number / 10:.3f} {line}\n" for number, line in enumerate(output.split("\n")))
    failed = f'process "/bin/sh -c {command}" did not complete successfully: exit code: {code}'
    return f"#7 [2/3] RUN {command}\n{said}#7 ERROR: {failed}\n------\n > [2/3] RUN {command}:\n------\nERROR: failed to solve: {failed}\n"


def legacy_log_of(command: str, output: str, code: int = 1) -> str:
    said = "".join(f"{line}\n" for line in output.split("\n"))
    return f"Step 2/3 : RUN {command}\n ---> Running in 0123456789ab\n{said}The command '/bin/sh -c {command}' returned a non-zero code: {code}\n"


def terminal_log_of(command: str, output: str, code: int = 1) -> str:
    said = "".join(f"{3 + number / 10:.3f} {line}\n" for number, line in enumerate(output.split("\n")))
    return (
        f" => ERROR [2/3] RUN {command}   9.9s\n------\n > [2/3] RUN {command}:\n{said}------\nDockerfile:2\n--------------------\n   1 |     FROM a\n"
        f"   2 | >>> RUN {command}\n   3 |     \n--------------------\n"
        f'ERROR: failed to solve: process "/bin/sh -c {command}" did not complete successfully: exit code: {code}\n'
    )


def cut_log_of(command: str, output: str, code: int = 1) -> str:
    """A post that holds the step's output alone."""
    return "".join(f"#7 {3 + number / 10:.3f} {line}\n" for number, line in enumerate(output.split("\n")))


FORMATS = {"plain": log_of, "legacy": legacy_log_of, "terminal": terminal_log_of, "cut": cut_log_of}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("command", "output", "cause", "host"), NETWORK, ids=[f"{row[2]}: {row[1][:70]}" for row in NETWORK])
def test_a_step_that_was_stopped_by_the_network(command, output, cause, host, form):
    if form == "cut" and cause == "proxy_unreachable" and "curl" in output:
        pytest.skip("only the command tells that another host was wanted")
    found = diagnose(FORMATS[form](command, output))
    assert (found.cause, found.asked_by) == (cause, "step" if cause != "disk_full" else None)
    if host != "..." and form != "cut":
        assert found.host == host
    assert "docker_daemon_proxy" not in found.sentence
    assert "the registry" not in found.sentence


@pytest.mark.parametrize("form", ["plain", "legacy", "terminal"])
@pytest.mark.parametrize(("command", "output"), HEALTHY, ids=[row[1][:70] for row in HEALTHY])
def test_a_step_that_failed_by_itself_is_not_blamed_on_the_network(command, output, form):
    found = diagnose(FORMATS[form](command, output, 2))
    assert (found.cause, found.asked_by, found.host, found.cure) == ("step_failed", None, None, "Correct the RUN step: it ended with exit code 2.")


@pytest.mark.parametrize(("command", "output"), HEALTHY, ids=[row[1][:70] for row in HEALTHY])
def test_nor_is_its_output_alone(command, output):
    assert diagnose(cut_log_of(command, output)).cause in ("step_failed", "unknown")


# The command, its output, the exit code -> the cause, the process and the host: curl -s prints nothing, and only its exit status tells what happened.
SILENT = {
    "one file": ("curl -fsL https://files.example.org/x -o x", "", 56, ("reset", "step", "files.example.org")),
    "piped": ("set -o pipefail; curl -s https://files.example.org/x | tar -xz", "", 6, ("dns", "step", "files.example.org")),
    "long option": ("curl --silent https://files.example.org/x", "", 7, ("refused", "step", "files.example.org")),
    "packages before": ("apk add curl && curl -sL https://files.example.org/x", "OK: 9 MiB in 20 packages", 60, ("tls", "step", "files.example.org")),
    "no end": ("curl -sL https://files.example.org/x", "", 28, ("timeout", "step", "files.example.org")),
    "two hosts": ("curl -s https://a.example.org/x && curl -s https://b.example.org/x", "", 35, ("reset", "step", None)),
    "the proxy's name": ("curl -s https://files.example.org/x", "", 5, ("proxy_unreachable", "step", None)),
    "an answer of the server": ("curl -fs https://files.example.org/x", "", 22, ("step_failed", None, None)),
    "it prints errors": ("curl -fsSL https://files.example.org/x", "", 56, ("step_failed", None, None)),
    "it prints errors, apart": ("curl -fs -S https://files.example.org/x", "", 56, ("step_failed", None, None)),
    "another program": ("curl -s https://files.example.org/x -o x && ./x", "no table 7", 7, ("step_failed", None, None)),
    "a service of the step": ("./server & curl -s http://localhost:8080/health", "", 7, ("step_failed", None, None)),
    "no curl": ("wget -q https://files.example.org/x", "", 56, ("step_failed", None, None)),
}


@pytest.mark.parametrize("form", [log_of, legacy_log_of])
@pytest.mark.parametrize(("command", "output", "code", "verdict"), SILENT.values(), ids=SILENT)
def test_a_silent_curl_is_judged_by_its_exit_code(command, output, code, verdict, form):
    found = diagnose(form(command, output, code))
    assert (found.cause, found.asked_by, found.host) == verdict


TRACE = """ERROR: Exception:
Traceback (most recent call last):
  File "/usr/lib/python3.10/site-packages/pip/_vendor/urllib3/response.py", line 438, in _error_catcher
    yield
  File "/usr/lib/python3.10/ssl.py", line 1307, in recv_into
"""


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        pytest.param(TRACE, "unknown", id="the exception is missing"),
        pytest.param(TRACE + "KeyError: 'name'", "step_failed", id="an error of its own"),
        pytest.param(
            TRACE + 'ValueError: one\nTraceback (most recent call last):\n  File "/app/main.py", line 3, in main\n    run()',
            "step_failed",
            id="another trace",
        ),
    ],
)
def test_a_trace_of_a_download_without_its_end(output, cause):
    assert diagnose(terminal_log_of("pip install tool", output)).cause == cause


def test_an_answer_without_tls_is_the_host_s_if_nothing_names_a_proxy():
    found = diagnose(log_of("git clone https://git.example.org/a", "fatal: unable to access 'https://git.example.org/a/': wrong version number"))
    assert (found.cause, found.reason, found.host) == ("tls", "http answer", "git.example.org")


def test_a_download_that_was_answered_is_the_step_s():
    output = 'The "https://php.example.org/packages.json" file could not be downloaded (HTTP/1.1 404 Not Found)'
    assert diagnose(log_of("composer install", output)).sentence == "A RUN step failed (exit code 1). Correct the RUN step: it ended with exit code 1."
