# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a successful build proves, and what it does not."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.log import builder_used

MOST_LINES = 20


def proof_lines(lines: t.Sequence[str]) -> t.List[str]:
    return [line for line in lines if re.search(r"load metadata for|\[auth\]|^#\d+ resolve |^Step |^Status: |^Successfully |naming to", line)][:MOST_LINES]


def proved(log: str, pull: bool, stored: bool) -> t.Dict[str, str]:
    """What a successful build proves: fresh (fetched over the network now), cached, or unknown.

    ``stored``: the image was in the engine's store before. BuildKit caches tokens in the daemon
    and does not report when it uses one, so only its '[auth]' line proves a fresh one.
    """
    if builder_used(log) == "legacy":
        fetched = re.search(r"^Status: Downloaded newer image", log, re.M) is not None
        asked = fetched or re.search(r"^Status: Image is up to date", log, re.M) is not None
        return {"manifest": _fresh(asked), "token": _fresh(asked), "layers": _fresh(fetched)}
    asked = pull or not stored
    fetched = re.search(r"^#\d+ extracting sha256:", log, re.M) is not None
    token = "fresh" if "[auth]" in log else "unknown" if asked else "cached"
    return {"manifest": _fresh(asked), "token": token, "layers": _fresh(fetched)}


def passed(proof: t.Mapping[str, str]) -> str:
    """A sentence about a successful build, which names what it does not prove."""
    kinds: t.Dict[str, t.List[str]] = {kind: [f"the {name}" for name in proof if proof[name] == kind] for kind in ("fresh", "cached", "unknown")}
    listed = {kind: " and ".join([", ".join(names[:-1])] * (len(names) > 1) + names[-1:]) for kind, names in kinds.items()}
    parts = [f"Fetched now: {listed['fresh']}." if listed["fresh"] else "Nothing was fetched now, so it proves nothing about the network."]
    if listed["cached"]:
        parts.append(f"Stored already, so not proved: {listed['cached']}.")
    if listed["unknown"]:
        parts.append(f"Unknown from the output: {listed['unknown']}.")
    return " ".join(["The build passed.", *parts])


def _fresh(value: bool) -> str:
    return "fresh" if value else "cached"
