# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verdict on the output of a build, and on several builds together. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.cures import CURES
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.diagnosis import diagnose
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.log import builder_used, read
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import Evidence, Verdict
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.candidate import Candidate
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import split_registry

_NO_BUILDER = re.compile(r'no builder "([^"]+)" found')
# Without the plugin the docker command itself reads the options of buildx.
_NO_BUILDX = re.compile(
    r"(?:\bunknown flag: --(?:builder|platform|load|push|tag|output|progress|cache-(?:from|to)|secret|ssh|provenance|sbom|driver(?:-opt)?|use|bootstrap)"
    r"|unknown shorthand flag: 't' in -t)\s+(?:See 'docker(?: (?:image )?build)? --help'|Usage:\s+docker (?:\[OPTIONS\] COMMAND|build \[OPTIONS\] PATH))"
    r"|unknown command: docker buildx\b"
)
_COMPOSE = re.compile(r"\bdocker compose\b")
_USED_BUILDER = re.compile(r'^#0 building with "([^"]+)" instance using .*$', re.M)
_BOOTING = re.compile(r"\[internal\] booting buildkit")
_BOOT_IMAGE = re.compile(r"^#\d+ pulling image (\S+)", re.M)
_FAILED = re.compile(r"ERROR|failed to solve|returned a non-zero code|^The command .* returned|Error response from daemon|^error(?:ing)?\b", re.M)
_WITHOUT_BUILDKIT = re.compile(r"removing the DOCKER_BUILDKIT=0")  # the option is one of BuildKit, and buildx was not asked
_PASSED = re.compile(r"^Successfully built [0-9a-f]+|^#\d+ (?:writing image|naming to|exporting (?:manifest|layers))\b.*\bdone\b", re.M)


def judge(log: str, evidence: t.Optional[Evidence] = None) -> Verdict:
    """Like diagnose, plus what buildx says about a builder that does not exist or does not start."""
    missing = _NO_BUILDER.search(log)
    if missing:
        name = missing.group(1)
        cure = f"Create the builder (docker buildx create --name {name}) as the user who builds, or name one that docker buildx ls shows."
        sentence = f"The user who builds has no builder {name}."
        return Verdict("buildx_missing", reason=f"no builder {name}", cure=cure, sentence=f"{sentence} {cure}", lines=(_line_of(log, missing),))
    without = _NO_BUILDX.search(log)
    if without and not _COMPOSE.search(log) and not _WITHOUT_BUILDKIT.search(log):
        cure = CURES["buildx_missing of a builder"].english
        sentence = f"The buildx plugin is missing or broken. {cure}"
        return Verdict("buildx_missing", cure=cure, cure_name="buildx_missing of a builder", sentence=sentence, lines=(_line_of(log, without),))
    used, image = _USED_BUILDER.search(log), _BOOT_IMAGE.search(log)
    if not used or not image or not _boot_failed(log):
        return diagnose(log, evidence)
    # The builder does not run yet: the daemon pulls its image, with the daemon's settings.
    known = (evidence or Evidence())._replace(image=image.group(1), daemon_token=True)
    verdict = diagnose(_USED_BUILDER.sub("", log), known)
    image_named = f"its image {image.group(1)}"
    why = f"although {image_named} was pulled" if verdict.cause == "unknown" else f"because {image_named} cannot be pulled"  # a failed pull has a cause
    sentence = f"The builder {used.group(1)} does not start, {why}."
    return verdict._replace(reference=image.group(1), sentence=f"{sentence} {verdict.sentence}")


def requested_by(log: str) -> str:
    """The part of the engine that requested the image: buildkit, legacy or pull; '' for a builder in a container, which reads no setting of the daemon."""
    instance = read(log).instance
    if instance and _BOOT_IMAGE.search(log) and _boot_failed(log):
        return "pull"
    return "" if instance else builder_used(log) or "buildkit"


def _boot_failed(log: str) -> bool:
    """Whether it failed before anything was built."""
    return _BOOTING.search(log) is not None and re.search(r"load build definition|load metadata", log) is None


def _line_of(log: str, match: t.Match[str]) -> str:
    return log[log.rfind("\n", 0, match.start()) + 1 :].partition("\n")[0]


def judge_text(log: str) -> Verdict:
    """A stored log: without an exit code it counts as successful if it ends like a successful build."""
    passed = _PASSED.search(log) and not _FAILED.search(log)
    return judge(log, Evidence(code=0 if passed else 1))


class Built(t.NamedTuple):
    """One image of several, and the result of its build."""

    image: str
    verdict: Verdict

    @property
    def registry(self) -> str:
        return split_registry(self.image)[0]


def several(builds: t.Sequence[Built]) -> Verdict:
    """The first failure is the verdict, and its sentence names the other failures and their registries."""
    failed = [built for built in builds if built.verdict.cause != "ok"]
    if not failed:
        return builds[0].verdict._replace(sentence=f"All {len(builds)} builds passed. {builds[0].verdict.sentence}")
    head = f"{len(failed)} of {len(builds)} builds failed."
    return failed[0].verdict._replace(sentence=" ".join([head, *(f"{built.image} ({built.registry}): {built.verdict.sentence}" for built in failed)]))


_CONTENT = {"status 404": "content missing", "layer cut off": "incomplete layers"}  # as the engine's own messages are read


def with_content(known: Evidence, asked: t.Sequence[Candidate]) -> Evidence:
    """Also which of the mirrors of the image serve its manifest and refuse its layers."""
    content = {mirror.url: _CONTENT.get(mirror.content, mirror.content) for mirror in asked}
    return known._replace(mirrors=tuple(mirror._replace(content=content.get(mirror.url, "")) for mirror in known.mirrors))


def blame(verdict: Verdict, mirrors: t.Sequence[Candidate]) -> Verdict:
    """What each of the mirrors of the image of a failed build answers for it."""
    if len(mirrors) < 2:
        return verdict
    answers = [f"{mirror.url} {'serves this image' if mirror.usable else 'does not: ' + mirror.message.rstrip('.')}" for mirror in mirrors]
    return verdict._replace(sentence=f"{verdict.sentence} Of the mirrors of this image, asked directly: {'; '.join(answers)}.")
