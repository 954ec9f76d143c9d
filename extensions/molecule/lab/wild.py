# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real configurations on the engines of the lab: each is configured and undone exactly, or refused before anything is written.

    wild.py [--cases FILE] [--hosts NAME,...] [--sample COUNT] [--only NAME,...] [--report FILE]

Hosts with the same engine share the work. Without --hosts it creates three of its own and removes them.
"""

from __future__ import annotations

import argparse
import collections
import functools
import json
import os
import queue
import random
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

import doomed
import table

HERE = Path(__file__).resolve().parent
CASES = HERE.parents[2] / "tests" / "field" / "hosts.jsonl"
OWN_HOSTS = {"wild20": "bookworm", "wild26": "trixie", "wild28": "forky"}
NO_PROXY = ["localhost", ".lab"]
PROXY = {"http_proxy": table.HTTP_PROXY, "https_proxy": table.HTTP_PROXY, "no_proxy": NO_PROXY, "timeout": 90}
TRIALS: dict[str, dict[str, Any]] = {
    "proxy": PROXY,
    "proxy taken over": {**PROXY, "adopt": True},  # only if the first is refused because of a setting of others
    "mirror": {"registry_mirrors": [table.MIRROR], "timeout": 90},
}
RECORD = "/var/lib/buildfleet"
# Findings that are wrong for a daemon that just started with its files, or that we just configured.
NEVER = (
    "restart_pending", "daemon_reload_needed", "config_newer_than_engine", "engine_down", "unit_refused", "overruled",
)  # fmt: skip
# For a daemon that runs with its file these can only be warnings: 20.10 reads the first object and ignores the rest.
NEVER_AN_ERROR = ("config_not_json", "key_stops_start", "mirror_refused", "mirror_without_scheme", "client_keys_in_daemon_json")
TRUE_IF_WRITTEN = ("engine_down", "restart_pending")  # Docker was stopped, or its unit refuses a restart
LISTED = re.compile(r"(?i)(?:http|https|no)[_-]proxy")
PLACE = re.compile(r"/(?:etc|lib|usr|run)/\S+, line \d+")

Case = Mapping[str, Any]


class Verdict(NamedTuple):
    case: str
    engine: str
    trial: str
    end: str  # held, refused, repaired, left, written, or what went wrong: rolled back, wrong refusal, fault
    sentence: str  # of the module, or what is wrong
    seconds: float = 0


GOOD = ("held", "refused", "repaired", "left", "written")


def cases(path: Path = CASES) -> list[Case]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sample(rows: Sequence[Case], count: int, seed: str) -> list[Case]:
    return sorted(rows, key=lambda row: random.Random(f"{seed}{row['name']}").random())[:count]


# --- judging --------------------------------------------------------------------------------------


def reasons(case: Case, trial: str) -> list[str]:
    """Why a running daemon with this configuration may be refused, by this program's own rules."""
    found = []
    texts = [case["daemon_json"] or "", *case["files"].values()]
    lines = [line for text in texts for line in text.splitlines() if not line.lstrip().startswith("#")]
    if trial == "proxy" and any(LISTED.search(line) for line in lines):
        found.append("a proxy of others")
    flag = "-registry-mirror" if trial == "mirror" else "-proxy"
    if any(flag in line and "--" in line for line in lines):
        found.append("a flag of the unit")
    if not strict(case["daemon_json"]):
        found.append("no JSON, or a key twice")
    return found + ([case["refused"]] if "refused" in case else [])


def strict(text: str | None) -> bool:
    """Whether this is one JSON object without duplicate keys."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        return text is None or not text.strip() or isinstance(json.loads(text, object_pairs_hook=once), dict)
    except ValueError:
        return False


def in_force(info: Mapping[str, Any], trial: str) -> bool:
    """Whether /info shows what the trial requested, in Docker's own spelling."""
    if trial == "mirror":
        return bool(info.get("mirrors") == [f"{table.MIRROR}/"])
    exceptions = {one.strip() for one in (info.get("NO_PROXY") or "").split(",")}
    return info.get("HTTP_PROXY") == info.get("HTTPS_PROXY") == table.HTTP_PROXY and exceptions == set(NO_PROXY)


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Files and folders that differ from before."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def untouched(before: Mapping[str, Any], step: Mapping[str, Any], name: str) -> Iterator[str]:
    after = step["after"]
    for path in changed(before["files"], after["files"]):
        yield f"{name}: {path} is not as it was"
    if after["starts"] and before["unit"]["ActiveState"] != "activating":  # systemd was about to start it again by itself
        yield f"{name}: {after['starts']} starts"


def started(trial: str, first: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a run that restarts the daemon."""
    if not in_force(first["after"]["info"], trial):
        yield f"run: not in force: {json.dumps(first['after']['info'])}"
    if first["after"]["starts"] > 1:
        yield f"run: {first['after']['starts']} starts"
    if first["result"]["restart_pending"] or first["result"].get("restarted") != bool(first["after"]["starts"]):
        yield f"run: restarted {first['result'].get('restarted')}, pending {first['result'].get('pending_reason')}, {first['after']['starts']} starts"


def written(case: Case, row: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a run that only writes: Docker was stopped, or its unit refuses a restart."""
    for name in ("run", "again", "undo"):
        if row[name]["after"]["starts"]:
            yield f"{name}: {row[name]['after']['starts']} starts"
    if bool(case.get("postponed")) != row["run"]["result"]["restart_pending"]:
        yield f"run: pending {row['run']['result'].get('pending_reason')}"


def only_written(case: Case, row: Mapping[str, Any]) -> bool:
    return bool(case.get("postponed")) or (not row["before"]["info"] and row["before"]["unit"]["ActiveState"] == "inactive")


def configured(case: Case, trial: str, row: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a run that succeeded."""
    before, first, again, undo = row["before"], row["run"], row["again"], row["undo"]
    yield from written(case, row) if only_written(case, row) else started(trial, first)
    if again["result"].get("failed") or again["result"]["changed"]:
        yield f"second run: {again['result'].get('msg') or 'it changes something'}"
    yield from untouched(first["after"], again, "second run")
    for finding in row["info"]["findings"] or []:
        if false_finding(finding, case) and not (finding["id"] in TRUE_IF_WRITTEN and only_written(case, row)):
            yield f"false finding: {finding['message']}"
    if row["info"]["failed"]:
        yield f"docker_build_info: {row['info']['msg']}"
    if undo["result"].get("failed"):
        yield f"undo: {undo['result']['msg']}"
        return
    for path in changed(before["files"], undo["after"]["files"]):
        yield f"undo: {path} is not as it was"
    waits = "restart_pending" in case.get("findings", ())  # its files had other settings than it used
    if before["info"] and undo["after"]["info"] != before["info"] and not waits:  # a daemon that did not start before stays running
        yield f"undo: the daemon does not use what it used: {json.dumps(undo['after']['info'])}"
    if undo["after"]["starts"] > 1:
        yield f"undo: {undo['after']['starts']} starts"


def judge(case: Case, engine: str, trial: str, row: Mapping[str, Any]) -> Iterator[Verdict]:
    result, up = row["run"]["result"], bool(row["before"]["info"])
    seconds = sum(step["seconds"] for step in row.values() if "seconds" in step)

    def verdict(end: str, sentence: str) -> Verdict:
        return Verdict(case["name"], engine, trial, end, sentence, seconds)

    if not result.get("failed"):
        faults = list(configured(case, trial, row))
        yield from (verdict("fault", fault) for fault in faults)
        if not faults:
            yield verdict("written" if only_written(case, row) else "held" if up else "repaired", "")
        return
    message = result["msg"]
    if result.get("rolled_back"):
        yield verdict("rolled back", message)
        return
    faults = [*untouched(row["before"], row["check"], "check"), *untouched(row["before"], row["run"], "refused")]
    if not row["check"]["result"].get("failed"):
        faults.append(f"check says ok, and the run says: {message}")
    if not result.get("msg") or "Internal error" in message:
        faults.append(f"no sentence: {message}")
    if up and not PLACE.search(message) and "refused" not in case:
        faults.append(f"names no file and line: {message}")
    yield from (verdict("fault", fault) for fault in faults)
    if not faults:
        yield verdict("left" if not up else "refused" if reasons(case, trial) else "wrong refusal", message)


def false_finding(finding: Mapping[str, Any], case: Case) -> bool:
    """Whether docker_build_info reports something about a running daemon that cannot be true."""
    never = finding["id"] in NEVER or (finding["id"] in NEVER_AN_ERROR and finding["severity"] == "error")
    return never and finding["id"] not in case.get("findings", ())


def verdicts(case: Case, engine: str, answer: Mapping[str, Any]) -> Iterator[Verdict]:
    if "error" in answer:
        yield Verdict(case["name"], engine, "", "fault", f"the trial itself: {answer['error']}")
        return
    for finding in answer["info"]["findings"] or []:
        if false_finding(finding, case) and answer["before"]["info"]:
            yield Verdict(case["name"], engine, "", "fault", f"false finding before any run: {finding['message']}")
    for trial, row in answer["trials"].items():
        yield from judge(case, engine, trial, row)


# --- running --------------------------------------------------------------------------------------


def engine_of(host: str) -> str:
    return doomed.inside(host, "dockerd", "--version").split()[2].rstrip(",")  # it may be down


Seen = tuple[str, Case, dict[str, Any]]  # engine, configuration, observations


def work(host: str, engine: str, waiting: queue.SimpleQueue[Case], seen: Callable[[Seen], None]) -> None:
    """One process on the host runs one configuration after the other."""
    doomed.install(host)
    script = (HERE / "inside" / "wild_host.py").read_bytes()
    subprocess.run(["docker", "exec", "-i", host, "sh", "-c", f"cat > {doomed.TREE}/wild_host.py"], input=script, check=True)
    process = subprocess.Popen(
        ["docker", "exec", "-i", host, "/usr/bin/python3", "-B", f"{doomed.TREE}/wild_host.py", doomed.TREE],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    assert process.stdin and process.stdout
    while True:
        try:
            case = waiting.get_nowait()
        except queue.Empty:
            break
        process.stdin.write(json.dumps({"trials": TRIALS, **case}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the process in the host ended"}
        seen((engine, case, answer))
        if not line:
            break
    process.stdin.close()
    process.wait()


def run(hosts: Sequence[str], rows: Sequence[Case], say: Callable[[Seen], None] = lambda _seen: None) -> list[Seen]:
    """Every configuration on every engine of these hosts; prints each when it is done."""
    engines = {host: engine_of(host) for host in hosts}
    waiting: dict[str, queue.SimpleQueue[Case]] = {engine: queue.SimpleQueue() for engine in engines.values()}
    for engine, one in waiting.items():
        for row in rows:
            if engine.partition(".")[0] in row.get("engines", [engine.partition(".")[0]]):
                one.put(row)
    answers: list[Seen] = []

    def seen(one: Seen) -> None:
        answers.append(one)
        say(one)

    threads = [threading.Thread(target=work, args=(host, engine, waiting[engine], seen)) for host, engine in engines.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def say(one: Seen, report: Path | None) -> None:
    engine, case, answer = one
    ends = [f"{found.trial}: {found.end}" + (f" ({found.sentence})" if found.end not in GOOD else "") for found in verdicts(case, engine, answer)]
    print(f"{engine} {case['name']}: {'; '.join(ends)}", flush=True)
    if report:
        with report.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"engine": engine, **answer}) + "\n")


def summary(answers: Sequence[Seen], found: Sequence[Verdict]) -> Iterator[str]:
    """The figures of each engine."""
    for engine in sorted({engine for engine, _case, _answer in answers}):
        rows = [answer for other, _case, answer in answers if other == engine]
        ends = collections.Counter(one.end for one in found if one.engine == engine)
        up = sum(bool(row.get("before", {}).get("info")) for row in rows)
        trials = sum(len(row.get("trials", ())) for row in rows)
        yield (
            f"{engine}: {len(rows)} configurations, {up} start; {trials} trials: {ends['held']} held, {ends['refused']} refused rightly, "
            f"{ends['left']} left as they are, {ends['repaired']} repaired, {ends['written']} only written; "
            f"{ends['rolled back']} rollbacks, {ends['wrong refusal']} wrong refusals, "
            f"{ends['fault']} other faults"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", help="hosts of the lab that exist; their Docker is stopped and their configuration replaced")
    parser.add_argument("--cases", type=Path, default=CASES, help="configurations, one a line")
    parser.add_argument("--sample", type=int, help="so many of them")
    parser.add_argument("--seed", default=os.environ.get("BUILDFLEET_SEED", "1"), help="which ones")
    parser.add_argument("--only", help="names of configurations")
    parser.add_argument("--report", type=Path, help="add everything that was seen to this file, one JSON object a line")
    options = parser.parse_args()

    rows = cases(options.cases)
    if options.only:
        rows = [row for row in rows if row["name"] in options.only.split(",")]
    if options.sample:
        rows = sample(rows, options.sample, options.seed)
    hosts = options.hosts.split(",") if options.hosts else list(OWN_HOSTS)
    lab = [sys.executable, str(HERE / "lab.py"), "up", "--hosts", ",".join(f"{name}={suite}" for name, suite in OWN_HOSTS.items())]
    if not options.hosts:
        subprocess.run(lab, check=True)
    try:
        answers = run(hosts, rows, functools.partial(say, report=options.report))
    finally:
        if not options.hosts:
            subprocess.run(["docker", "rm", "--force", "--volumes", *OWN_HOSTS], check=True, capture_output=True)
    found = [verdict for engine, case, answer in answers for verdict in verdicts(case, engine, answer)]
    said = collections.Counter((one.end, re.sub(r"'[^']*'|/\S+|\d+", "…", one.sentence)) for one in found if one.sentence)
    for (end, sentence), count in sorted(said.items()):
        print(f"{count:4} {end}: {sentence}")
    for line in summary(answers, found):
        print(line)
    return 0 if all(one.end in GOOD for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
