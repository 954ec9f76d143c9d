# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the output of a build to the process that failed, the reason, and the setting that fixes it.

Pure: the log and facts about the host in, a verdict out. The log alone is enough.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis import hosts
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.classify import decide, named_in, reference_of
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.cures import CURES, PROCESS, WHERE, cure_name
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.log import PUSH, read
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.proof import MOST_LINES, proof_lines
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import UNREACHED, Evidence, Verdict

_HINT = re.compile(r"rror|ailed|enied|not found|refused|timeout|Get \"|Head \"|returned a non-zero|unable to|no space|Cannot|toomany", re.I)

# docker compose 2.40, which then uses its legacy builder.
_BAKE_WITHOUT_BUILDKIT = re.compile(r"configured to build using Bake, but buildkit isn't enabled")


def diagnose(log: str, evidence: t.Optional[Evidence] = None) -> Verdict:
    """The verdict on the output of a build, from the text alone or with additional facts about the host."""
    known = evidence or Evidence()
    seen = read(log)
    image = reference_of(seen, known)
    if known.code == 0 and not known.cannot:
        return Verdict("ok", seen.builder, reference=image, lines=tuple(proof_lines(seen.lines)), sentence="The build passed.")
    if any(map(_BAKE_WITHOUT_BUILDKIT.search, seen.lines)):
        known = known._replace(upper_case_proxies=True)
    verdict = decide(seen, known)
    where = named_in(seen, known, image)
    verdict = verdict._replace(builder_used=seen.builder, reference=image, named_in=where, lines=tuple(_decisive(seen.lines, verdict)))
    name = cure_name(verdict, known, anonymous=any("anonymous token" in line for line in seen.engine))
    cure = cure_text(name, verdict)
    return verdict._replace(cure=cure, cure_name=name, sentence=" ".join(part for part in (_what(verdict, known), _why(verdict, known), cure) if part))


def reference(log: str, evidence: t.Optional[Evidence] = None) -> t.Optional[str]:
    """The image that was requested last before the failure, as written in a Dockerfile."""
    return reference_of(read(log), evidence or Evidence())


def cure_text(name: str, found: Verdict, chinese: bool = False) -> str:
    """The fix as a sentence; names that the log does not contain are replaced by descriptions."""
    unnamed = ("镜像仓库", "错误", "镜像") if chinese else ("the registry", "an error", "the image")
    if found.asked_by == "step":
        unnamed = ("网络" if chinese else "the network", *unnamed[1:])
    text = CURES[name].chinese if chinese else CURES[name].english
    host = found.host or unnamed[0]
    without_tls = re.search(rf"http://{re.escape(host)}[:/]", "\n".join(found.lines))
    return text.format(
        host=host,
        scheme="http" if without_tls else "https",
        reason=found.reason or unnamed[1],
        reference=found.reference or unnamed[2],
        process=PROCESS[found.asked_by or "daemon"],
        builder=found.instance,
        file=found.mirror_named_by if found.mirror_named_by.startswith("/") else f"{found.mirror_named_by} registries",
        registry=_registry(found, host),
        where=WHERE[found.named_in].chinese if chinese else WHERE[found.named_in].english,
    )


def _registry(found: Verdict, host: str) -> str:
    """The registry that a configuration names for the host: the mirror itself, or the one that sends to the host for tokens and layers."""
    if found.role != "mirror" and found.reference and hosts.registry_of(found.reference) != host:
        host = hosts.registry_of(found.reference)
    return "docker.io" if hosts.is_hub(host) else _with_port(found, host)


def _with_port(found: Verdict, host: str) -> str:
    """The host as written in daemon.json, with its port."""
    named = re.search(rf"{re.escape(host)}:\d+", " ".join((found.reference or "", *found.lines)))
    return named.group(0) if named else host


def _what(found: Verdict, known: Evidence) -> str:
    asker = {"daemon": "The daemon", "client": "The client", "step": "A RUN step"}.get(found.asked_by or "", "The build")
    if found.instance and found.asked_by == "daemon":
        asker = f"The builder {found.instance}"
    host = found.host or ("the network" if found.asked_by == "step" else "the registry")
    cause, reason, image = found.cause, found.reason or "no reason given", found.reference or "the image"
    if cause == "mirror_sends_token_elsewhere":
        mirrors = [mirror.host for mirror in known.mirrors if mirror.sends_elsewhere] or [hosts.registry_of(image)]
        return f"The mirror {mirrors[0]} sends {_low(asker)} to {host} for a token, which could not be reached ({reason})."
    if cause.startswith("proxy_"):
        return _what_of_proxy(found, asker, reason)
    if cause in UNREACHED:
        return _what_of_unreached(found, asker, host, reason)
    if cause == "unknown":
        return _what_of_unknown(found, reason)
    return {
        "token_unreachable": f"{asker} could not fetch a token from {host} ({reason}).",
        "token_denied": f"The token server {found.host or ''} refused the request of {_low(asker)} ({reason}).".replace("  ", " "),
        "mirror_error": f"The mirror {found.host or 'in use'} answers with an error ({reason}).",
        "rate_limited": f"{host} limits the number of requests ({reason}).",
        "denied": f"{host} denies {image} ({reason}).",
        "not_found": f"{host} has {image}, but not for this platform." if reason == "platform" else f"{host} does not have {image} ({reason}).",
        "engine_down": f"The engine cannot be used ({reason}).",
        "disk_full": "The engine's disk is full.",
        "buildx_missing": "The buildx plugin is too old for this docker compose." if found.reason else "The buildx plugin is missing or broken.",
        "legacy_cannot": f"The legacy builder does not support what the Dockerfile uses ({reason}).",
        "bad_dockerfile": "The Dockerfile or the context is wrong.",
    }.get(cause, f"A RUN step failed ({reason}).")


def _low(asker: str) -> str:
    return asker[0].lower() + asker[1:]


def _what_of_proxy(found: Verdict, asker: str, reason: str) -> str:
    cause, host = found.cause, found.host or ""
    proxy = f"proxy {host}" if found.role == "proxy" else "proxy"
    if cause == "proxy_unreachable":
        return f"{asker} could not use its {proxy} ({reason})." if reason in ("tls", "malformed URL") else f"{asker} could not reach its {proxy} ({reason})."
    if cause == "proxy_auth":
        return f"The {proxy} rejected the credentials of {_low(asker)} ({reason})."
    if reason == "html page":
        return f"A server on the way answered {_low(asker)} in the name of {host or 'the registry'} with an {reason}."
    if found.role != "proxy" and host:
        return f"The proxy of {_low(asker)} denied access to {host} ({reason})."
    return f"The {proxy} refused the request of {_low(asker)} ({reason})."


def _what_of_unreached(found: Verdict, asker: str, host: str, reason: str) -> str:
    if reason.startswith("no end within"):
        return f"The build was stopped ({reason}) while {_low(asker)} waited." if found.asked_by else f"The build was stopped ({reason})."
    if found.cause == "tls" and reason != "tls":
        return (
            f"{asker} reached {host} and did not accept its answer ({reason})." if found.asked_by == "step" else f"{asker} could not reach {host} ({reason})."
        )
    return f"{asker} could not reach {host} ({reason})."


def _what_of_unknown(found: Verdict, reason: str) -> str:
    if found.host:
        return f"{found.host} answers with an error ({reason})."
    if found.cure_name or reason.startswith("exit code"):
        return f"The build failed for an unknown reason ({reason})."
    return f"The build failed ({reason})."


def _why(found: Verdict, known: Evidence) -> str:
    not_reached = found.cause in ("token_unreachable", "mirror_sends_token_elsewhere") and found.reason in ("reset", "refused", "timeout", "dns", "no route")
    if found.asked_by == "client" and not_reached and known.daemon_proxy and not found.instance:
        return "The daemon's proxy does not reach it."  # the client does not use it
    return ""


def _decisive(lines: t.Sequence[str], found: Verdict) -> t.List[str]:
    chosen: t.List[str] = []
    for line in lines:
        if (_HINT.search(line) or PUSH.search(line)) and line not in chosen and not line.startswith(("DEPRECATED", "------")):
            chosen.append(line)
    if found.cause in ("unknown", "step_failed") or not chosen or found.asked_by == "step":
        chosen = [line for line in lines if line.strip()]
    return chosen[-MOST_LINES:]
