# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a mirror can serve builds: sends the requests that Docker would send and reads the answers. The caller passes the function that sends them."""

from __future__ import annotations

import json
import re
import typing as t
from urllib.parse import SplitResult, quote, urljoin

from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import split_registry
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_probe import MANIFESTS, manifest_url
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import challenge, host_of, split_url

_HUB_TOKEN_SERVER = "auth.docker.io"
_LARGEST_DOCUMENT = 4 * 1024 * 1024  # BuildKit accepts no larger manifest
_FIRST_BYTES = 1024  # of the layers of all images but the first, which is timed
_REDIRECTS = 5
_USER_AGENT = "docker (buildfleet.docker registry_mirror_info)"  # mirrors block User-Agents of libraries
_PORTS = {"http": 80, "https": 443}
_SHOWN = ("url", "usable", "problem", "reason", "host", "message", "realm", "needs", "missing", "seconds", "bytes_per_second")
_NO_CREDENTIALS = "Docker sends no credentials to a mirror"


class Ask(t.Protocol):
    """One request; redirects are not followed, and at most this many bytes of the body are returned."""

    def __call__(self, method: str, url: str, headers: t.Mapping[str, str], most: int) -> Answer:
        """The answer; status 0 if there is none."""


class Candidate(t.NamedTuple):
    """The result for one mirror. ``problem`` is a cause of docker_build_check; '' if it can be used."""

    url: str
    problem: str = ""
    reason: str = ""
    host: str = ""
    message: str = ""
    realm: str = ""
    needs: str = "nothing"
    missing: t.Tuple[str, ...] = ()
    seconds: float = 0.0
    bytes_per_second: t.Optional[int] = None
    cost: float = 0.0  # seconds for all requests, estimated if the time was up before
    content: str = ""  # how it refuses a layer whose manifest it serves

    @property
    def usable(self) -> bool:
        return not self.problem


class Request(t.Protocol):
    """Host.http_request: one request through these proxies."""

    def __call__(
        self, url: str, headers: t.Mapping[str, str], timeout: float, method: str = ..., most: int = ..., proxies: t.Optional[t.Mapping[str, str]] = ...
    ) -> Answer:
        """The answer; status 0 if there is none."""


def asker(
    request: Request,
    timeout: float,
    clock: t.Callable[[], float],
    proxies: t.Mapping[str, str],
    direct: t.Callable[[str, int], bool],
) -> Ask:
    """Requests that together take no longer than the timeout; ``direct`` names hosts and ports that are requested without a proxy."""
    until = clock() + timeout

    def ask(method: str, url: str, headers: t.Mapping[str, str], most: int) -> Answer:
        parts = split_url(url)
        proxied = parts.scheme in proxies and needs_proxy(url, parts.scheme, direct)
        left = max(until - clock(), 0.1)
        answer = request(url, {"User-Agent": _USER_AGENT, **headers}, left, method, most, {parts.scheme: proxies[parts.scheme]} if proxied else {})
        if proxied and answer.reason in ("dns", "refused"):  # the proxy reports in its answer which host it cannot reach
            return answer._replace(reason=f"proxy {answer.reason}")
        return Answer(0, {}, "proxy status 407") if answer.status == 407 else answer

    return ask


def needs_proxy(url: str, scheme: str, direct: t.Callable[[str, int], bool]) -> bool:
    """Whether a mirror is asked through the proxy for this scheme."""
    parts = split_url(url)
    return parts.scheme == scheme and not direct(parts.hostname or "", _port(parts))


def _port(parts: SplitResult) -> int:
    try:
        return parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return 0


class _Problem(Exception):
    def __init__(self, cause: str, reason: str, host: str, sentence: str, missing: bool = False, login: bool = False) -> None:
        super().__init__(sentence)
        self.cause, self.reason, self.host, self.sentence, self.missing, self.login = cause, reason, host, sentence, missing, login


def try_candidate(url: str, images: t.Sequence[str], most: int, ask: Ask, clock: t.Callable[[], float]) -> Candidate:
    """Request these images from a mirror as a build would, and the first bytes of the first image's layer."""
    started = clock()
    visit = _Visit(url.rstrip("/"), ask, clock)
    problems: t.List[_Problem] = []
    missing: t.List[str] = []
    try:
        visit.hello()
        for image in images:
            try:
                visit.image(image, _FIRST_BYTES if visit.layer_seconds else most)
            except _Problem as problem:
                problems.append(problem)
                if not problem.missing:
                    break
                missing.append(image)
    except _Problem as problem:
        problems.append(problem)
    seconds = clock() - started
    candidate = Candidate(
        url, realm=visit.realm, needs=visit.needs, missing=tuple(missing), seconds=round(seconds, 2), cost=seconds, content=visit.refused_layer
    )
    if visit.layer_bytes and visit.layer_seconds:
        rate = visit.layer_bytes / visit.layer_seconds
        left = most / rate - visit.layer_seconds if visit.cut else 0.0
        candidate = candidate._replace(bytes_per_second=int(rate), cost=seconds + left)
    if not problems:
        return candidate
    first = problems[0]
    needs = "login" if any(one.login for one in problems) else candidate.needs
    return candidate._replace(problem=first.cause, reason=first.reason, host=first.host, message=first.sentence, needs=needs)


def too_late(url: str, timeout: float) -> Candidate:
    """A mirror without any answer: not even its name was resolved in time."""
    host = host_of(url)
    return Candidate(url, "timeout", "timeout", host, f"{host} did not answer within {timeout:g} seconds.", seconds=timeout)


def shown(tried: Candidate) -> t.Dict[str, t.Any]:
    """As a result has it: null for what there is not."""
    empty_is_none = ("problem", "reason", "host", "message", "realm")
    values = {name: getattr(tried, name) for name in _SHOWN}
    return dict(values, missing=list(tried.missing), **{name: values[name] or None for name in empty_is_none})


def fastest_first(candidates: t.Iterable[Candidate]) -> t.List[str]:
    return [one.url for one in sorted((one for one in candidates if one.usable), key=lambda one: one.cost)]


def distinct(urls: t.Iterable[str]) -> t.List[str]:
    """Without duplicates; a final slash makes no difference."""
    by_url: t.Dict[str, str] = {}
    for url in urls:
        by_url.setdefault(url.rstrip("/"), url)
    return list(by_url.values())


def spelt_as(urls: t.Sequence[str], in_use: t.Sequence[str]) -> t.List[str]:
    """The daemon's mirrors, which it shows with a final slash, as the user wrote them."""
    spelling = {url.rstrip("/"): url for url in urls}
    return [spelling.get(url.rstrip("/"), url) for url in in_use]


def summary(tried: t.Sequence[Candidate]) -> str:
    usable = sum(candidate.usable for candidate in tried)
    return " ".join(
        [f"{usable} of {len(tried)} mirrors can be used.", *(f"{candidate.url}: {candidate.message}" for candidate in tried if not candidate.usable)]
    )


class _Visit:
    """The requests to one mirror. A failure is raised as _Problem."""

    def __init__(self, base: str, ask: Ask, clock: t.Callable[[], float]) -> None:
        self._base, self._ask, self._clock = base, ask, clock
        self._host = host_of(base)
        self._tokens: t.Dict[str, str] = {}  # by scope
        self._service = ""
        self.realm = ""
        self.layer_bytes, self.layer_seconds, self.cut, self.refused_layer = 0, 0.0, False, ""

    @property
    def needs(self) -> str:
        host = host_of(self.realm)
        if not host:
            return "nothing"
        return "hub_token" if host == _HUB_TOKEN_SERVER else "token_of_its_own"

    def hello(self) -> None:
        answer, url = self._follow("GET", f"{self._base}/v2/", {}, _FIRST_BYTES)
        if answer.status == 401:
            self._learn_realm(answer)
        elif answer.status != 200 or answer.is_page:
            raise self._refusal(answer, url, "/v2/")

    def image(self, image: str, most: int) -> None:
        registry_path = split_registry(image)[1]
        repository = re.sub(r"[:@].*", "", registry_path)
        url = manifest_url(self._base, registry_path)
        head, _url = self._authorized("HEAD", url, repository, {"Accept": MANIFESTS}, 0)
        manifest = self._document(url, repository, image)
        if head.status != 200:
            raise self._refusal(head, url, f"HEAD for the manifest of {image}")
        manifests = _entries(manifest, "manifests")
        if manifests:
            digest = str(manifests[0].get("digest"))
            manifest = self._document(f"{self._base}/v2/{repository}/manifests/{digest}", repository, image)
        layers = _entries(manifest, "layers")
        if layers:
            largest = max(layers, key=_size)
            try:
                self._layer(f"{self._base}/v2/{repository}/blobs/{largest.get('digest')}", repository, image, most)
            except _Problem as problem:
                self.refused_layer = problem.reason if problem.cause == "mirror_error" else ""
                raise

    def _document(self, url: str, repository: str, image: str) -> t.Dict[str, t.Any]:
        answer, last = self._authorized("GET", url, repository, {"Accept": MANIFESTS}, _LARGEST_DOCUMENT)
        if answer.status != 200 or answer.is_page:
            raise self._refusal(answer, last, f"the manifest of {image}", image)
        document = _parse(answer.body)
        if not document:
            raise _Problem("mirror_error", "no manifest", self._host, f"The mirror does not return a manifest of {image}.", True)
        return document

    def _layer(self, url: str, repository: str, image: str, most: int) -> None:
        started = self._clock()
        answer, last = self._authorized("GET", url, repository, {}, most)
        if answer.status != 200 or answer.is_page:
            raise self._refusal(answer, last, f"a layer of {image}", image)
        if answer.reason and (answer.reason != "timeout" or not answer.body):
            reason = f"layer {answer.reason}" if answer.reason == "cut off" else answer.reason
            cause = "timeout" if reason == "timeout" else "mirror_error"
            raise _Problem(cause, reason, host_of(last), f"{host_of(last)} does not send a complete layer of {image} ({answer.reason}).", True)
        if not self.layer_seconds:
            self.layer_seconds = max(self._clock() - started, 0.001)
            self.layer_bytes, self.cut = len(answer.body), bool(answer.reason)

    # --- requests ------------------------------------------------------------------------------------

    def _authorized(self, method: str, url: str, repository: str, headers: t.Mapping[str, str], most: int) -> t.Tuple[Answer, str]:
        """With a token if the mirror requires one: as it answered at the start, or as it answers now."""
        scope = f"repository:{repository}:pull"
        if self.realm and scope not in self._tokens:
            self._tokens[scope] = self._token(scope)
        answer, last = self._follow(method, url, self._with_token(headers, scope), most)
        if answer.status == 401 and host_of(last) == self._host and not self._tokens.get(scope):
            self._learn_realm(answer)
            self._tokens[scope] = self._token(challenge(answer).scope or scope)
            answer, last = self._follow(method, url, self._with_token(headers, scope), most)
        return answer, last

    def _with_token(self, headers: t.Mapping[str, str], scope: str) -> t.Dict[str, str]:
        token = self._tokens.get(scope)
        return dict(headers, Authorization=f"Bearer {token}") if token else dict(headers)

    def _learn_realm(self, answer: Answer) -> None:
        found = challenge(answer)
        if found.scheme != "bearer" or not host_of(found.realm):
            raise _Problem("mirror_error", "status 401", self._host, f"The mirror requires a login (status 401), but {_NO_CREDENTIALS}.", login=True)
        self.realm, self._service = found.realm, found.service

    def _token(self, scope: str) -> str:
        host = host_of(self.realm)
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in (("service", self._service), ("scope", scope)) if value)
        try:
            answer, _last = self._follow("GET", f"{self.realm}{'&' if '?' in self.realm else '?'}{query}", {}, _LARGEST_DOCUMENT)
        except _Problem as problem:
            own = host == self._host
            raise _Problem(
                "token_unreachable" if own else "mirror_sends_token_elsewhere",
                problem.reason,
                host,
                f"The mirror sends clients to {host} for a token, which could not be reached ({problem.reason}).",
            ) from problem
        document = _parse(answer.body) if answer.status == 200 else {}
        token = str(document.get("token") or document.get("access_token") or "")
        if token:
            return token
        reason = "html page" if answer.is_page else f"status {answer.status}" if answer.status != 200 else "no token"
        login = answer.status == 401
        sentence = f"The token server {host} of the mirror issues no anonymous token ({reason})" + (f", and {_NO_CREDENTIALS}." if login else ".")
        raise _Problem("token_denied" if host == _HUB_TOKEN_SERVER else "mirror_error", reason, host, sentence, login=login)

    def _follow(self, method: str, url: str, headers: t.Mapping[str, str], most: int) -> t.Tuple[Answer, str]:
        """The last answer and its URL; a token is not sent to another host."""
        sent = dict(headers)
        for _redirect in range(_REDIRECTS + 1):
            answer = self._ask(method, url, sent, most)
            if not answer.status:
                raise self._unreached(answer.reason, url)
            target = answer.header("Location")
            if answer.status not in (301, 302, 303, 307, 308) or not target:
                return answer, url
            before, url = url, self._redirected(url, target)
            if host_of(before) != host_of(url):
                sent.pop("Authorization", None)
        raise _Problem("mirror_error", "redirects without end", self._host, "The mirror redirects endlessly.")

    def _redirected(self, url: str, target: str) -> str:
        try:
            return urljoin(url, target)
        except ValueError:
            raise _Problem("mirror_error", "invalid redirect", self._host, "The mirror redirects to a URL that is not valid.") from None

    # --- refusals ------------------------------------------------------------------------------------

    def _unreached(self, reason: str, url: str) -> _Problem:
        host = host_of(url)
        if reason.startswith("proxy status "):
            cause = "proxy_auth" if reason.endswith("407") else "proxy_refused"
            return _Problem(cause, reason[len("proxy ") :], host, f"The proxy denies this host access to {host} ({reason[len('proxy ') :]}).")
        if reason.startswith("proxy says "):
            words = reason[len("proxy says ") :]
            return _Problem("proxy_refused", words, host, f"The proxy does not reach {host} ({words}).")
        if reason.startswith("proxy "):
            return _Problem("proxy_unreachable", reason[len("proxy ") :], host, f"The proxy could not be reached ({reason[len('proxy ') :]}).")
        cause = reason if reason in ("dns", "refused", "reset", "timeout") else "reset" if reason == "cut off" else "tls"
        what = f"{host}, where the mirror redirects to," if host != self._host else host
        failed = "has a certificate that this host does not accept" if cause == "tls" else "could not be reached"
        return _Problem(cause, reason, host, f"{what} {failed} ({reason}).")

    def _refusal(self, answer: Answer, url: str, what: str, image: str = "") -> _Problem:
        """Why an answer is not that of a usable registry."""
        host = host_of(url)
        if answer.is_page:
            return _Problem("mirror_error", "html page", host, f"The mirror answers {what} with a web page, so it is not a registry.", bool(image))
        reason, quoted = f"status {answer.status}", _own_message(answer)
        if answer.status == 404 and "manifest" in what:
            return _Problem("not_found", reason, host, f"The mirror does not have {image or 'the image'} ({reason}).", True)
        if answer.status == 401:
            return _Problem("mirror_error", reason, host, f"The mirror requires a login for {what} ({reason}), and {_NO_CREDENTIALS}.", bool(image), True)
        own_message = f". Its message: {quoted}" if quoted else "."
        return _Problem("mirror_error", reason, host, f"The mirror answers {what} with an error ({reason}){own_message}", bool(image))


def _parse(body: bytes) -> t.Dict[str, t.Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _entries(document: t.Mapping[str, t.Any], key: str) -> t.List[t.Dict[str, t.Any]]:
    entries = document.get(key)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _size(layer: t.Mapping[str, t.Any]) -> int:
    size = layer.get("size")
    return size if isinstance(size, int) else 0


def _own_message(answer: Answer) -> str:
    """The mirror's own message, on one line."""
    errors = _parse(answer.body).get("errors")
    text = str(errors[0].get("message") or "") if isinstance(errors, list) and errors and isinstance(errors[0], dict) else ""
    if not text and not answer.body.lstrip().startswith((b"{", b"[", b"<")):
        text = answer.body.decode(errors="replace")
    return " ".join(re.sub(r"[^\x20-\x7e\u00a0-\uffef]", " ", text).split())[:200]
