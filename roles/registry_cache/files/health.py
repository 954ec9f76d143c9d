# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one cache did, counted from the log of its service, and what it has stored. Prints JSON.

The counters that the registry itself publishes (2.8, /debug/vars) count a layer that is stored as one that is not. Its log has the truth:
one line for each response, and one when a layer is stored. A layer that nginx sends has a line of nginx: it was stored, or the client waited
while the registry downloaded it for another one.
"""

from __future__ import annotations

import argparse
import calendar
import json
import re
import subprocess
import time
import typing as t
from pathlib import Path

import serve
import storage

FIELD = re.compile(r'(\S+?)=("(?:[^"\\]|\\.)*"|\S*)')
BLOB = re.compile(r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})(?:\?.*)?")  # BuildKit and containerd add ?ns=docker.io
STORED = re.compile(r'time="([^"]+)" level=info msg="Adding new scheduler entry for (\S+) with ttl')
SHARED = re.compile(r"buildfleet: shared (\d+) /v2/.+/blobs/sha256:[0-9a-f]{64}")
OF_ONE_DOWNLOAD = re.compile(r" version=\"?v?[3-9]")  # from 3.0 the first client and the storage share a download
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
STORED_SECONDS = 5.0  # the registry sends a layer to a client and stores it at the same time, by two downloads
MOST_LINES = 200_000


class Sent(t.NamedTuple):
    key: str  # repository@digest
    start: float
    end: float
    size: int


def fields(line: str) -> t.Dict[str, str]:
    return {name: value[1:-1].replace('\\"', '"') if value.startswith('"') else value for name, value in FIELD.findall(line)}


def moment(text: str) -> float:
    """Of 2026-11-27T08:22:02.941525127Z."""
    whole, _dot, rest = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{rest or 0}")


def seconds(duration: str) -> float:
    """Of 1m2.5s."""
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([0-9.]+)(h|ms|m|s|µs|ns)", duration))


def count(lines: t.Iterable[str]) -> t.Dict[str, t.Any]:
    """Layers (and configurations) that clients got, those that were not stored before, and errors of the upstream."""
    sent: t.List[Sent] = []
    shared: t.List[int] = []
    stored: t.Dict[str, t.List[float]] = {}
    for_storage: t.List[str] = []
    found: t.Dict[str, t.Any] = {"online": None, "offline": 0, "errors": 0, "rate_limited": 0, "last_error": ""}
    first = ""
    for line in lines:
        first = first or fields(line).get("time", "")
        added = STORED.match(line)
        if added:
            stored.setdefault(added.group(2), []).append(moment(added.group(1)))
            for_storage += [] if OF_ONE_DOWNLOAD.search(line) else [added.group(2)]
        elif line.startswith("buildfleet: "):
            shared += map(int, SHARED.findall(line))
            _note_state(found, line)
        elif line.startswith('time="') and 'msg="response completed' in line:
            _note_response(found, sent, fields(line))
    missed = [one for one in sent if _was_missing(one, stored.get(one.key, []))]
    sizes = {one.key: one.size for one in sent}
    return {
        **found,
        "since": first.partition(".")[0].rstrip("Z").replace("T", " "),
        "layers": len(sent) + len(shared),
        "from_storage": len(sent) - len(missed) + len(shared),
        "sent_bytes": sum(one.size for one in sent) + sum(shared),
        "downloaded_bytes": sum(one.size for one in missed) + sum(sizes.get(key, 0) for key in for_storage),
    }


def _note_state(found: t.Dict[str, t.Any], line: str) -> None:
    if line.startswith("buildfleet: online"):
        found["online"] = True
    elif line.startswith("buildfleet: OFFLINE"):
        found["online"] = False
        found["offline"] += 1


def _note_response(found: t.Dict[str, t.Any], sent: t.List[Sent], response: t.Dict[str, str]) -> None:
    status = response.get("http.response.status", "")
    blob = BLOB.fullmatch(response.get("http.request.uri", ""))
    if status >= "500" or status == "429":
        message = response.get("err.detail") or response.get("err.message") or f"status {status}"
        found["errors"] += 1
        found["rate_limited"] += status == "429" or "toomanyrequests" in f"{response.get('err.code')} {message}".lower()
        found["last_error"] = shown(message)
    elif blob and status in ("200", "206") and response.get("http.request.method") == "GET":
        end = moment(response["time"])
        start = end - seconds(response.get("http.response.duration", ""))
        sent.append(Sent("@".join(blob.groups()), start, end, int(response.get("http.response.written") or 0)))


def _was_missing(one: Sent, stored: t.List[float]) -> bool:
    """It was stored while it was sent, or shortly after."""
    latest = one.end + max(STORED_SECONDS, one.end - one.start)
    return any(one.start <= when <= latest for when in stored)


def shown(error: str) -> str:
    """Without passwords, and without the signatures in the URLs of a content delivery network."""
    return re.sub(r"\?[^\s\"]*", "", serve.masked(error))[:300]


def stored_now(root: str, now: float) -> t.Dict[str, t.Any]:
    found = map(_stored_at, Path(root).glob("docker/registry/v2/blobs/sha256/*/*/data"))
    times = [moment for moment in found if moment is not None]
    return {"stored_bytes": storage.Storage(root).size(), "oldest_days": round((now - min(times)) / 86400, 1) if times else 0.0}


def _stored_at(file: Path) -> t.Optional[float]:
    try:
        return file.stat().st_mtime
    except OSError:
        return None  # removed meanwhile


def size(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def sentence(health: t.Mapping[str, t.Any]) -> str:
    state = {True: "online", False: "OFFLINE, its registry does not answer", None: "its log does not say whether its registry answers"}[health["online"]]
    limit = f" of at most {size(health['limit_bytes'])}" if health["limit_bytes"] else ""
    oldest = f", the oldest {health['oldest_days']:g} days ago" if health["stored_bytes"] else ""
    parts = [
        state,
        f"{size(health['stored_bytes'])}{limit} stored{oldest}",
        f"since {health['since']}: {health['from_storage']} of {health['layers']} layers from its storage, "
        f"{size(health['sent_bytes'])} sent, {size(health['downloaded_bytes'])} downloaded"
        if health["since"]
        else "nothing in its log",
    ]
    if health["offline"]:
        parts.append(f"{health['offline']} times offline")
    if health["errors"]:
        limited = f", {health['rate_limited']} by the rate limit" if health["rate_limited"] else ""
        parts.append(f"{health['errors']} errors{limited}, the last: {health['last_error']}")
    return "; ".join(parts) + "."


def main(arguments: t.Optional[t.List[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("unit")
    parser.add_argument("storage", help="rootdirectory of the registry")
    parser.add_argument("--max-size", type=serve.size, default=0)
    parser.add_argument("--hours", type=int, default=24)
    options = parser.parse_args(arguments)
    command = ["journalctl", f"--unit={options.unit}", f"--since=-{options.hours}h", f"--lines={MOST_LINES}", "--output=cat", "--no-pager", "--quiet"]
    log = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    health = {**count(log.decode(errors="replace").splitlines()), **stored_now(options.storage, time.time()), "limit_bytes": options.max_size}
    print(json.dumps({**health, "text": sentence(health)}))


if __name__ == "__main__":
    main()
