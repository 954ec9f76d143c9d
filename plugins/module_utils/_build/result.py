# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The results of builds, as the module returns them."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._build.judge import Built, several
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import Verdict
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.candidate import Candidate

_OF_A_VERDICT = ("ok", "builder_used", "cause", "asked_by", "host", "reason", "reference", "cure", "proved")


class Outcome(t.NamedTuple):
    verdict: Verdict
    seconds: float = 0.0
    proved: t.Optional[t.Dict[str, str]] = None
    left: t.Tuple[str, ...] = ()  # what could not be removed, in sentences
    mirrors: t.Tuple[Candidate, ...] = ()  # the mirrors of the image of a failed build, checked for it


def shown(outcome: Outcome) -> t.Dict[str, t.Any]:
    verdict = outcome.verdict
    result = {
        "changed": False,
        "ok": verdict.cause == "ok",
        "msg": verdict.sentence,
        "builder_used": verdict.builder_used,
        "cause": verdict.cause,
        "asked_by": verdict.asked_by,
        "host": verdict.host,
        "reason": verdict.reason,
        "reference": verdict.reference,
        "cure": verdict.cure,
        "proved": outcome.proved,
        "log": list(verdict.lines),
        "seconds": outcome.seconds,
    }
    if outcome.mirrors:
        names = ("url", "usable", "problem", "message")
        result["mirrors"] = [
            {name: getattr(mirror, name) if name == "usable" else getattr(mirror, name) or None for name in names} for mirror in outcome.mirrors
        ]
    return result


def shown_together(images: t.Sequence[str], outcomes: t.Sequence[Outcome]) -> t.Dict[str, t.Any]:
    """Several builds: the first failure is the result for all."""
    built = [Built(image, outcome.verdict) for image, outcome in zip(images, outcomes)]
    verdict = several(built)
    first = next((outcome for outcome in outcomes if outcome.verdict.cause != "ok"), outcomes[0])
    total = round(sum(outcome.seconds for outcome in outcomes), 1)
    builds = [dict(shown(outcome), image=build.image, registry=build.registry) for build, outcome in zip(built, outcomes)]
    return dict(shown(first._replace(verdict=verdict, seconds=total)), builds=builds)


def not_built() -> t.Dict[str, t.Any]:
    """The result in check mode."""
    return dict(dict.fromkeys(_OF_A_VERDICT), changed=False, log=[], seconds=0.0, msg="Check mode: nothing was built.")
