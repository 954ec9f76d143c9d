# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.candidate import (
    Candidate,
    asker,
    distinct,
    fastest_first,
    spelt_as,
    summary,
    too_late,
    try_candidate,
)

URL = "https://m.lab"
BUSYBOX = "/v2/library/busybox"
INDEX = json.dumps({"manifests": [{"digest": "sha256:1"}, {"digest": "sha256:2"}]}).encode()
MANIFEST = json.dumps({"layers": [{"digest": "sha256:a", "size": 5}, {"digest": "sha256:b", "size": 9}]}).encode()
LAYER = b"x" * 9
OK = Answer(200, {})
HUB = {"WWW-Authenticate": 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'}
OWN = {"WWW-Authenticate": 'Bearer realm="https://m.lab/auth?x=1",scope="repository:other:pull"'}
OTHER = {"WWW-Authenticate": 'Bearer realm="https://auth.m.lab/token"'}
TOKEN = Answer(200, {}, body=b'{"token": "T"}')
PAGE = Answer(200, {"Content-Type": "text/html"}, body=b"<html>")


def denied(status, message="", **headers):
    return Answer(status, headers, body=json.dumps({"errors": [{"message": message}]}).encode())


class FakeMirror:
    """Answers by method and URL; what is not said otherwise is a mirror that has busybox."""

    def __init__(self, answers=None, token=""):
        self.answers = {
            f"GET {URL}/v2/": OK,
            f"HEAD {URL}{BUSYBOX}/manifests/latest": OK,
            f"GET {URL}{BUSYBOX}/manifests/latest": Answer(200, {}, body=INDEX),
            f"GET {URL}{BUSYBOX}/manifests/sha256:1": Answer(200, {}, body=MANIFEST),
            f"GET {URL}{BUSYBOX}/blobs/sha256:b": Answer(200, {}, body=LAYER),
            **(answers or {}),
        }
        self.asked, self.now = [], 100.0

    def __call__(self, method, url, headers, most):
        self.now += 0.5
        self.asked.append((f"{method} {url}", headers.get("Authorization", ""), most))
        answer = self.answers.get(f"{method} {url}", Answer(404, {}))
        return answer(headers) if callable(answer) else answer

    def clock(self):
        return self.now


def wants_token(answer, challenge):
    return lambda headers: answer if headers.get("Authorization") == "Bearer T" else Answer(401, challenge)


def tried(answers=None, images=("busybox",), most=9):
    mirror = FakeMirror(answers)
    return try_candidate(URL, images, most, mirror, mirror.clock)


@pytest.mark.parametrize("sizes", [(None, 9), ("big", 9), ([1], 9), (-1e999, 9)], ids=["none", "a word", "a list", "infinity"])
def test_a_size_that_is_not_a_number_is_none(sizes):
    layers = [{"digest": f"sha256:{name}", "size": size} for name, size in zip("ab", sizes)]
    manifest = json.dumps({"layers": ["x", *layers]}).encode()
    assert tried({f"GET {URL}{BUSYBOX}/manifests/latest": Answer(200, {}, body=manifest)}).usable


@pytest.mark.parametrize("manifest", [b'{"manifests": {"0": 1}, "layers": 1}', b'{"manifests": ["x"], "layers": {"a": 1}}', b'{"manifests": 1}'])
def test_a_manifest_of_another_shape_has_no_layers(manifest):
    found = tried({f"GET {URL}{BUSYBOX}/manifests/latest": Answer(200, {}, body=manifest)})
    assert (found.usable, found.bytes_per_second) == (True, None)


def test_a_mirror_is_asked_as_docker_asks():
    mirror = FakeMirror()
    found = try_candidate(f"{URL}/", ["busybox"], 9, mirror, mirror.clock)
    assert [asked for asked, _token, _most in mirror.asked] == [
        f"GET {URL}/v2/",
        f"HEAD {URL}{BUSYBOX}/manifests/latest",
        f"GET {URL}{BUSYBOX}/manifests/latest",
        f"GET {URL}{BUSYBOX}/manifests/sha256:1",
        f"GET {URL}{BUSYBOX}/blobs/sha256:b",
    ]
    assert mirror.asked[-1][2] == 9
    assert found == Candidate(f"{URL}/", seconds=2.5, cost=2.5, bytes_per_second=18) and found.usable


def test_the_layer_of_one_image_alone_is_timed():
    answers = {
        f"HEAD {URL}/v2/a/b/manifests/1": OK,
        f"GET {URL}/v2/a/b/manifests/1": Answer(200, {}, body=MANIFEST),
        f"GET {URL}/v2/a/b/blobs/sha256:b": Answer(200, {}, body=LAYER),
    }
    mirror = FakeMirror(answers)
    assert try_candidate(URL, ["busybox", "ghcr.io/a/b:1"], 2000, mirror, mirror.clock).bytes_per_second == 18
    assert mirror.asked[-1] == (f"GET {URL}/v2/a/b/blobs/sha256:b", "", 1024)


def test_an_image_without_layers_has_no_speed():
    found = tried({f"GET {URL}{BUSYBOX}/manifests/latest": Answer(200, {}, body=b'{"layers": [], "x": 1}')})
    assert (found.usable, found.bytes_per_second, found.cost) == (True, None, 1.5)


def test_time_that_is_up_ends_the_measurement_alone():
    found = tried({f"GET {URL}{BUSYBOX}/blobs/sha256:b": Answer(200, {}, "timeout", b"x" * 5)}, most=100)
    assert (found.usable, found.bytes_per_second, found.cost) == (True, 10, 2.5 + 10 - 0.5)


@pytest.mark.parametrize(
    ("challenge", "realm", "token_url", "needs"),
    [
        (HUB, "https://auth.docker.io/token", "https://auth.docker.io/token?service=registry.docker.io&scope={}", "hub_token"),
        (OWN, "https://m.lab/auth?x=1", "https://m.lab/auth?x=1&scope={}", "token_of_its_own"),
        (OTHER, "https://auth.m.lab/token", "https://auth.m.lab/token?scope={}", "token_of_its_own"),
    ],
    ids=["of the Hub", "its own", "its own, elsewhere"],
)
def test_a_token_is_fetched_where_v2_asks_for_one(challenge, realm, token_url, needs):
    scope = "repository%3Alibrary%2Fbusybox%3Apull"
    mirror = FakeMirror({f"GET {URL}/v2/": Answer(401, challenge), f"GET {token_url.format(scope)}": Answer(200, {}, body=b'{"access_token": "T"}')})
    found = try_candidate(URL, ["busybox"], 9, mirror, mirror.clock)
    assert (found.usable, found.realm, found.needs) == (True, realm, needs)
    assert [token for _asked, token, _most in mirror.asked] == ["", "", "Bearer T", "Bearer T", "Bearer T", "Bearer T"]


def test_a_token_is_fetched_where_the_manifest_alone_asks_for_one():
    scope = "repository%3Aother%3Apull"  # the one that the mirror named
    answers = {f"GET https://m.lab/auth?x=1&scope={scope}": TOKEN}
    answers.update({name: wants_token(answer, OWN) for name, answer in FakeMirror().answers.items() if BUSYBOX in name})
    found = tried(answers)
    assert (found.usable, found.needs) == (True, "token_of_its_own")


def test_a_token_does_not_follow_a_redirect_to_another_host():
    answers = {
        f"GET {URL}/v2/": Answer(401, OWN),
        "GET https://m.lab/auth?x=1&scope=repository%3Alibrary%2Fbusybox%3Apull": TOKEN,
        f"HEAD {URL}{BUSYBOX}/manifests/latest": Answer(301, {"Location": "/moved"}),
        f"HEAD {URL}/moved": OK,
        f"GET {URL}{BUSYBOX}/blobs/sha256:b": Answer(307, {"location": "https://cdn.lab/b"}),
        "GET https://cdn.lab/b": Answer(200, {}, body=LAYER),
    }
    mirror = FakeMirror(answers)
    assert try_candidate(URL, ["busybox"], 9, mirror, mirror.clock).usable
    tokens = {asked: token for asked, token, _most in mirror.asked}
    assert (tokens[f"HEAD {URL}/moved"], tokens["GET https://cdn.lab/b"]) == ("Bearer T", "")


HELLO, HEAD, GET, BLOB = f"GET {URL}/v2/", f"HEAD {URL}{BUSYBOX}/manifests/latest", f"GET {URL}{BUSYBOX}/manifests/latest", f"GET {URL}{BUSYBOX}/blobs/sha256:b"
HUB_TOKEN = "GET https://auth.docker.io/token?service=registry.docker.io&scope=repository%3Alibrary%2Fbusybox%3Apull"
OWN_TOKEN = "GET https://m.lab/auth?x=1&scope=repository%3Alibrary%2Fbusybox%3Apull"
OTHER_TOKEN = "GET https://auth.m.lab/token?scope=repository%3Alibrary%2Fbusybox%3Apull"


@pytest.mark.parametrize(
    ("answers", "problem", "reason", "host", "needs", "missing", "message"),
    [
        ({HELLO: Answer(0, {}, "dns")}, "dns", "dns", "m.lab", "nothing", (), "m.lab could not be reached (dns)."),
        ({HELLO: Answer(0, {}, "timeout")}, "timeout", "timeout", "m.lab", "nothing", (), "m.lab could not be reached (timeout)."),
        ({HELLO: Answer(0, {}, "cut off")}, "reset", "cut off", "m.lab", "nothing", (), "m.lab could not be reached (cut off)."),
        (
            {HELLO: Answer(0, {}, "wrong name")},
            "tls",
            "wrong name",
            "m.lab",
            "nothing",
            (),
            "m.lab has a certificate that this host does not accept (wrong name).",
        ),
        ({HELLO: Answer(0, {}, "proxy dns")}, "proxy_unreachable", "dns", "m.lab", "nothing", (), "The proxy could not be reached (dns)."),
        (
            {HELLO: Answer(0, {}, "proxy says host unreachable")},
            "proxy_refused",
            "host unreachable",
            "m.lab",
            "nothing",
            (),
            "The proxy does not reach m.lab (host unreachable).",
        ),
        (
            {HELLO: Answer(0, {}, "proxy status 407")},
            "proxy_auth",
            "status 407",
            "m.lab",
            "nothing",
            (),
            "The proxy denies this host access to m.lab (status 407).",
        ),
        (
            {HELLO: Answer(0, {}, "proxy status 403")},
            "proxy_refused",
            "status 403",
            "m.lab",
            "nothing",
            (),
            "The proxy denies this host access to m.lab (status 403).",
        ),
        ({HELLO: PAGE}, "mirror_error", "html page", "m.lab", "nothing", (), "The mirror answers /v2/ with a web page, so it is not a registry."),
        (
            {HELLO: Answer(429, {}, body=b"slow\ndown")},
            "mirror_error",
            "status 429",
            "m.lab",
            "nothing",
            (),
            "The mirror answers /v2/ with an error (status 429). Its message: slow down",
        ),
        ({HELLO: Answer(502, {}, body=b"<h1>")}, "mirror_error", "status 502", "m.lab", "nothing", (), "The mirror answers /v2/ with an error (status 502)."),
        (
            {HELLO: Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})},
            "mirror_error",
            "status 401",
            "m.lab",
            "login",
            (),
            "The mirror requires a login (status 401), but Docker sends no credentials to a mirror.",
        ),
        ({HEAD: denied(404), GET: denied(404)}, "not_found", "status 404", "m.lab", "nothing", ("busybox",), "The mirror does not have busybox (status 404)."),
        (
            {HEAD: Answer(403, {}), GET: denied(403, "library/busybox is not in the allowlist")},
            "mirror_error",
            "status 403",
            "m.lab",
            "nothing",
            ("busybox",),
            "The mirror answers the manifest of busybox with an error (status 403). Its message: library/busybox is not in the allowlist",
        ),
        (
            {HEAD: Answer(405, {})},
            "mirror_error",
            "status 405",
            "m.lab",
            "nothing",
            (),
            "The mirror answers HEAD for the manifest of busybox with an error (status 405).",
        ),
        (
            {GET: Answer(200, {}, body=b"[]")},
            "mirror_error",
            "no manifest",
            "m.lab",
            "nothing",
            ("busybox",),
            "The mirror does not return a manifest of busybox.",
        ),
        (
            {GET: Answer(200, {}, body=b"none")},
            "mirror_error",
            "no manifest",
            "m.lab",
            "nothing",
            ("busybox",),
            "The mirror does not return a manifest of busybox.",
        ),
        (
            {BLOB: denied(404)},
            "mirror_error",
            "status 404",
            "m.lab",
            "nothing",
            ("busybox",),
            "The mirror answers a layer of busybox with an error (status 404).",
        ),
        (
            {BLOB: Answer(200, {}, "cut off", b"x")},
            "mirror_error",
            "layer cut off",
            "m.lab",
            "nothing",
            ("busybox",),
            "m.lab does not send a complete layer of busybox (cut off).",
        ),
        (
            {BLOB: Answer(200, {}, "timeout")},
            "timeout",
            "timeout",
            "m.lab",
            "nothing",
            ("busybox",),
            "m.lab does not send a complete layer of busybox (timeout).",
        ),
        (
            {BLOB: Answer(307, {"Location": "https://cdn.lab/b"}), "GET https://cdn.lab/b": Answer(0, {}, "reset")},
            "reset",
            "reset",
            "cdn.lab",
            "nothing",
            (),
            "cdn.lab, where the mirror redirects to, could not be reached (reset).",
        ),
        (
            {HELLO: Answer(301, {"Location": f"{URL}/v2/"})},
            "mirror_error",
            "redirects without end",
            "m.lab",
            "nothing",
            (),
            "The mirror redirects endlessly.",
        ),
        (
            {HELLO: Answer(301, {"Location": "https://[::1"})},
            "mirror_error",
            "invalid redirect",
            "m.lab",
            "nothing",
            (),
            "The mirror redirects to a URL that is not valid.",
        ),
        ({HELLO: Answer(302, {})}, "mirror_error", "status 302", "m.lab", "nothing", (), "The mirror answers /v2/ with an error (status 302)."),
        (
            {HELLO: Answer(401, HUB), HUB_TOKEN: Answer(0, {}, "reset")},
            "mirror_sends_token_elsewhere",
            "reset",
            "auth.docker.io",
            "hub_token",
            (),
            "The mirror sends clients to auth.docker.io for a token, which could not be reached (reset).",
        ),
        (
            {HELLO: Answer(401, OWN), OWN_TOKEN: Answer(0, {}, "timeout")},
            "token_unreachable",
            "timeout",
            "m.lab",
            "token_of_its_own",
            (),
            "The mirror sends clients to m.lab for a token, which could not be reached (timeout).",
        ),
        (
            {HELLO: Answer(401, HUB), HUB_TOKEN: PAGE},
            "token_denied",
            "html page",
            "auth.docker.io",
            "hub_token",
            (),
            "The token server auth.docker.io of the mirror issues no anonymous token (html page).",
        ),
        (
            {HELLO: Answer(401, OTHER), OTHER_TOKEN: Answer(404, {})},
            "mirror_error",
            "status 404",
            "auth.m.lab",
            "token_of_its_own",
            (),
            "The token server auth.m.lab of the mirror issues no anonymous token (status 404).",
        ),
        (
            {HELLO: Answer(401, OTHER), OTHER_TOKEN: Answer(200, {}, body=b"{}")},
            "mirror_error",
            "no token",
            "auth.m.lab",
            "token_of_its_own",
            (),
            "The token server auth.m.lab of the mirror issues no anonymous token (no token).",
        ),
        (
            {HELLO: Answer(401, OTHER), OTHER_TOKEN: Answer(401, {})},
            "mirror_error",
            "status 401",
            "auth.m.lab",
            "login",
            (),
            "The token server auth.m.lab of the mirror issues no anonymous token (status 401), and Docker sends no credentials to a mirror.",
        ),
        (
            {HELLO: Answer(401, OWN), OWN_TOKEN: TOKEN, HEAD: Answer(401, OWN), GET: Answer(401, OWN)},
            "mirror_error",
            "status 401",
            "m.lab",
            "login",
            ("busybox",),
            "The mirror requires a login for the manifest of busybox (status 401), and Docker sends no credentials to a mirror.",
        ),
    ],
)
def test_a_problem_has_its_cause_and_a_sentence(answers, problem, reason, host, needs, missing, message):
    found = tried(answers)
    assert (found.problem, found.reason, found.host, found.needs, found.missing, found.message) == (problem, reason, host, needs, missing, message)
    assert not found.usable and fastest_first([found]) == []


def test_one_missing_image_makes_a_mirror_useless_and_the_others_are_still_asked():
    found = tried(images=("nosuch", "busybox", "none:2"))
    assert (found.problem, found.missing, found.message) == ("not_found", ("nosuch", "none:2"), "The mirror does not have nosuch (status 404).")
    assert found.bytes_per_second == 18


def test_the_fastest_comes_first():
    candidates = [Candidate("a", cost=3.0), Candidate("b", "dns", cost=0.1), Candidate("c", cost=1.0)]
    assert fastest_first(candidates) == ["c", "a"]


def test_a_mirror_that_is_too_late_is_a_timeout():
    found = too_late(URL, 15)
    assert (found.problem, found.message, found.seconds) == ("timeout", "m.lab did not answer within 15 seconds.", 15)


def test_urls_are_compared_without_their_final_slash():
    assert distinct(["https://a/", "https://b", "https://a"]) == ["https://a/", "https://b"]
    assert spelt_as(["https://a", "https://b/"], ["https://b/", "https://a/", "https://c/"]) == ["https://b/", "https://a", "https://c/"]


def test_the_summary_says_why_for_each():
    assert summary([Candidate("https://a"), Candidate("https://b", "dns", message="b could not be reached (dns).")]) == (
        "1 of 2 mirrors can be used. https://b: b could not be reached (dns)."
    )


class FakeRequest:
    def __init__(self, answer=OK):
        self.answer, self.seen = answer, []

    def __call__(self, url, headers, timeout, method="GET", most=0, proxies=None):
        self.seen.append((url, headers, timeout, method, most, proxies))
        return self.answer


PROXIES = {"https": "http://proxy:1"}


def test_all_questions_share_one_timeout_and_name_the_asker():
    times, request = iter([100.0, 103.0, 120.0]), FakeRequest()
    ask = asker(request, 10, lambda: next(times), {}, lambda host, port: False)
    ask("HEAD", URL, {"Accept": "x"}, 7)
    ask("GET", URL, {}, 7)
    agent = {"User-Agent": "docker (buildfleet.docker registry_mirror_info)"}
    assert request.seen == [(URL, {**agent, "Accept": "x"}, 7.0, "HEAD", 7, {}), (URL, agent, 0.1, "GET", 7, {})]


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("https://m.lab/", PROXIES),
        ("http://m.lab/", {}),
        ("https://direct.lab/", {}),
        ("https://m.lab:99999/", PROXIES),
    ],
)
def test_a_proxy_is_used_for_its_scheme_unless_the_host_is_asked_directly(url, used):
    request = FakeRequest()
    asker(request, 10, lambda: 0.0, PROXIES, lambda host, port: (host, port) == ("direct.lab", 443))("GET", url, {}, 0)
    assert request.seen[0][-1] == used


@pytest.mark.parametrize(
    ("answer", "url", "found"),
    [
        (Answer(0, {}, "refused"), "https://m.lab", Answer(0, {}, "proxy refused")),
        (Answer(0, {}, "refused"), "http://m.lab", Answer(0, {}, "refused")),
        (Answer(0, {}, "reset"), "https://m.lab", Answer(0, {}, "reset")),
        (Answer(407, {}), "https://m.lab", Answer(0, {}, "proxy status 407")),
    ],
)
def test_what_the_proxy_does_wrong_is_not_the_mirrors(answer, url, found):
    assert asker(FakeRequest(answer), 10, lambda: 0.0, PROXIES, lambda host, port: False)("GET", url, {}, 0) == found


@pytest.mark.parametrize(
    ("answers", "content"),
    [
        ({BLOB: denied(404)}, "status 404"),
        ({BLOB: Answer(200, {}, "cut off", b"x")}, "layer cut off"),
        ({BLOB: Answer(200, {}, "timeout")}, ""),
        ({GET: denied(404)}, ""),
        ({}, ""),
    ],
    ids=["no layer", "half a layer", "too slow", "no manifest", "all of it"],
)
def test_a_mirror_with_the_manifest_alone_is_told_from_one_without_the_image(answers, content):
    assert tried(answers).content == content
