# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fix of every combination of cause, asker, host, image and builder, in both languages."""

from __future__ import annotations

import itertools
import re

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.cures import CURES, WHERE
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.diagnosis import cure_text, diagnose
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import Evidence
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Mirror

HUB, TOKEN, CDN = "registry-1.docker.io", "auth.docker.io", "production.cloudflare.docker.com"
OWN, MIRROR, GHCR_LAYERS, MCR = "registry.example.com", "mirror.example.com", "pkg-containers.githubusercontent.com", "mcr.microsoft.com"
PROXY = "http://proxy.example.com:3128"
IN_CI = '#0 building with "ci" instance using docker-container driver\n'

# The end of a Go error -> what it is.
TRANSPORT = {
    "dns": "dial tcp: lookup {host} on 192.0.2.1:53: no such host",
    "refused": "dial tcp 192.0.2.7:443: connect: connection refused",
    "reset": "read tcp 10.0.0.2:4321->192.0.2.7:443: read: connection reset by peer",
    "timeout": "dial tcp 192.0.2.7:443: i/o timeout",
    "no IPv6 route": "dial tcp [2001:db8::7]:443: connect: network is unreachable",
    "unknown authority": "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    "other name": "tls: failed to verify certificate: x509: certificate is valid for other.example.net, not {host}",
    "clock": "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2020-01-01T00:00:00Z is before 2026-01-01",
    "expired": "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is after 2025-01-01",
    "no SANs": "x509: certificate relies on legacy Common Name field, use SANs instead",
    "http answer": "http: server gave HTTP response to HTTPS client",
    "proxy refused": "proxyconnect tcp: dial tcp 127.0.0.1:3128: connect: connection refused",
    "proxy dns": "proxyconnect tcp: dial tcp: lookup proxy.example.com on 192.0.2.1:53: no such host",
    "proxy tls": "proxyconnect tcp: tls: first record does not look like a TLS handshake",
    "proxy url": "proxyconnect tcp: dial tcp: address 31280: invalid port",
    "proxy CA": "proxyconnect tcp: x509: certificate signed by unknown authority",
    "proxy login": "Proxy Authentication Required",
    "proxy forbids": "Forbidden",
}
STATUS = ("400 Bad Request", "401 Unauthorized", "402 Payment Required", "403 Forbidden", "404 Not Found", "429 Too Many Requests", "503 Service Unavailable")

# The image -> the servers that are asked for it: (url of a manifest or a layer)
IMAGES = {
    "busybox:1": {
        "hub": f"https://{HUB}/v2/library/busybox/manifests/1",
        "layers": f"https://{CDN}/registry-v2/docker/registry/v2/blobs/sha256/aa/data?verify=1",
        "mirror": f"https://{MIRROR}/v2/library/busybox/manifests/1?ns=docker.io",
    },
    f"{OWN}/team/app:1": {
        "registry": f"https://{OWN}/v2/team/app/manifests/1",
        "mirror": f"https://{MIRROR}/v2/team/app/manifests/1?ns={OWN}",
        "layers": "https://bucket.s3.eu-central-1.amazonaws.com/docker/registry/v2/blobs/sha256/aa/data",
    },
    "ghcr.io/team/app:1": {"layers": f"https://{GHCR_LAYERS}/ghcr1/blobs/sha256:aa?se=x"},
    f"{MCR}/dotnet/sdk:8.0": {"registry": f"https://{MCR}/v2/dotnet/sdk/manifests/8.0"},
    f"{MIRROR}/library/busybox:1": {"mirror": f"https://{MIRROR}/v2/library/busybox/manifests/1"},
}
TOKENS = {
    "busybox:1": f"https://{TOKEN}/token?scope=repository%3Alibrary%2Fbusybox%3Apull&service=registry.docker.io",
    f"{OWN}/team/app:1": f"https://{OWN}/service/token?scope=repository%3Ateam%2Fapp%3Apull&service=harbor-registry",
    f"{MIRROR}/library/busybox:1": f"https://{TOKEN}/token?scope=repository%3Alibrary%2Fbusybox%3Apull&service=registry.docker.io",
}
# Where the name of the image is written -> the vertex that asks for it.
PLACES = {
    "dockerfile": "[internal] load metadata for {full}",
    "syntax": "resolve image config for docker-image://{full}",
    "probe": "[internal] load metadata for {full}",
    "pull": "",
}


def full(image):
    return image if image.partition("/")[0].count(".") else f"docker.io/library/{image}"


def build_log(image, error, place="dockerfile", instance=False):
    if place == "pull":
        return f"Error response from daemon: {error}\n"
    head = PLACES[place].format(full=full(image))
    return (
        f"{IN_CI if instance else ''}#2 {head}\n#2 ERROR: {error}\n------\n > {head}:\n------\n"
        f"ERROR: failed to solve: {image}: failed to resolve source metadata for {full(image)}: {error}\n"
    )


def host_in(url):
    return url.split("/")[2]


def errors(image):
    for url in IMAGES[image].values():
        for name, end in TRANSPORT.items():
            yield name, f'failed to do request: Head "{url}": {end.format(host=host_in(url))}'
        for status in STATUS:
            yield status, f"unexpected status from HEAD request to {url}: {status}"
    for kind in ("anonymous", "oauth") if image in TOKENS else ():
        url = TOKENS[image]
        for name, end in TRANSPORT.items():
            yield f"{kind} {name}", f'failed to authorize: failed to fetch {kind} token: Get "{url}": {end.format(host=host_in(url))}'
        for status in STATUS:
            yield f"{kind} {status}", f"failed to authorize: failed to fetch {kind} token: unexpected status from GET request to {url}: {status}"
    yield "platform", "no match for platform in manifest: not found"
    yield "denied", "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"


def combinations():
    for image, place, instance in itertools.product(IMAGES, PLACES, (False, True)):
        if (instance or image.startswith(MIRROR)) and place == "pull":
            continue
        for (name, error), proxy, token in itertools.product(errors(image), ("", PROXY), (False, True)):
            if (token and "token: " not in error) or (proxy and place in ("syntax", "probe")):
                continue
            known = Evidence(image=image if place == "probe" else "", daemon_proxy=proxy, daemon_token=token)
            yield (image, place, instance, name), build_log(image, error, place, instance), known


ALL = [(row, diagnose(log, known), log) for row, log, known in combinations()]
DAEMONS = re.compile(r"docker_daemon_proxy|registry_mirrors|insecure_registries|daemon_token|proxy_ca")
LOGIN = re.compile(r"[Ll]og in|docker login")
# What must be named in both languages.
NAMED = re.compile(
    r"\{\w+\}|docker_\w+|dockerfile_mirror|\w+_cache|proxy_ca|(?:https|step)_proxy|registry_mirrors|insecure_registries|builder_mirrors|daemon_token(?:: true)?"
    r"|proxy_username|proxy_password|\bregistries\b|(?<!proxy_)\busername\b|(?<!proxy_)\bpassword\b|docker login|timedatectl|chronyc|journalctl"
    r"|systemctl|env\.HTTPS_PROXY|buildkitd\.toml|--mount=type=secret|become: true|buildkit: \w+|credsStore|credHelpers|DOCKER_HOST|--platform|builder prune"
    r"|system df|BUILDX_BUILDER"
)


def both(found):
    return [cure_text(found.cure_name, found, chinese) for chinese in (False, True)]


def failing(wrong):
    return [(row, found.cure) for row, found, log in ALL if wrong(row, found, log)]


def test_the_combinations_are_many_and_each_has_a_fix():
    assert len(ALL) > 4000
    assert failing(lambda _row, found, _log: not found.cure or found.cause == "ok" or "{" in "".join(both(found))) == []


def test_a_builder_in_a_container_is_not_told_to_change_the_daemon():
    assert failing(lambda _row, found, _log: found.instance and found.asked_by == "daemon" and any(map(DAEMONS.search, both(found)))) == []


def test_the_client_of_such_a_builder_is_not_told_to_let_the_daemon_ask():
    assert failing(lambda row, found, _log: row[2] and any("daemon_token" in text for text in both(found))) == []


def test_nobody_logs_in_for_an_anonymous_token():
    assert failing(lambda _row, found, log: "anonymous token" in log and any(map(LOGIN.search, both(found)))) == []


def test_only_refused_credentials_are_answered_with_a_login():
    """Nor where nobody can log in: a transport error, a store of layers, or a registry that is open to all."""
    refused = ("400", "401", "403", "404", "429", "denied", "oauth 4")
    nowhere = ("store", MCR)
    logins = [(row, found) for row, found, _log in ALL if any(map(LOGIN.search, both(found)))]
    assert [row for row, _found in logins if not row[3].startswith(refused)] == []
    assert [row for row, found in logins if found.role in nowhere or found.host in nowhere] == []


def test_the_dockerfile_is_named_only_where_the_name_is_in_it():
    assert failing(lambda row, found, _log: row[1] != "dockerfile" and any("Dockerfile" in text for text in both(found))) == []


def test_a_mirror_s_fault_is_not_the_hub_s():
    assert failing(lambda _row, found, _log: found.role == "mirror" and any(HUB in text for text in both(found))) == []


def test_registry_mirrors_are_only_for_the_hub():
    of_hub = ("busybox:1",)
    assert failing(lambda row, found, _log: row[1] != "pull" and row[0] not in of_hub and any("registry_mirrors" in text for text in both(found))) == []


def test_the_hub_and_stores_of_layers_are_not_made_insecure():
    assert failing(lambda _row, found, _log: found.role in ("hub", "store") and any("insecure" in text for text in both(found))) == []


def test_the_step_s_options_are_not_for_others():
    assert failing(lambda _row, found, _log: any("step_proxy" in text for text in both(found))) == []


@pytest.mark.parametrize("name", CURES)
def test_chinese_names_the_same_options(name):
    english, chinese = (set(NAMED.findall(text)) for text in CURES[name])
    assert english - chinese == set()


def test_each_place_of_a_name_is_told_in_chinese():
    assert all(bool(english) == bool(chinese) for english, chinese in WHERE.values())


RESET = "read tcp 10.0.0.2:4321->192.0.2.7:443: read: connection reset by peer"
OF_BUILDER = (
    "Create the builder ci again with a proxy of its own (buildx create --driver-opt env.HTTPS_PROXY=URL), or set docker_build_env builder_mirrors: "
    "it reads neither daemon.json nor the daemon's proxy."
)


def head(host, path, end):
    return f'failed to do request: Head "https://{host}/v2/{path}/manifests/1": {end}'


def status(url, words):
    return f"unexpected status from HEAD request to {url}: {words}"


def token(kind, words):
    return f"failed to authorize: failed to fetch {kind} token: unexpected status from GET request to https://{TOKEN}/token?scope=x&service=y: {words}"


APP, AT_MIRROR = f"{OWN}/team/app:1", f"{MIRROR}/library/busybox:1"
UNREACHED_APP = head(OWN, "team/app", RESET)
BOOT = (
    "#1 [internal] booting buildkit\n#1 pulling image registry.example.com/team/app:1\n"
    f'#1 ERROR: Error response from daemon: Get "https://{OWN}/v2/": dial tcp 192.0.2.7:443: i/o timeout\n'
)
PUSH = f'failed to push busybox:1: failed to do request: Head "https://{HUB}/v2/": dial tcp 192.0.2.8:443: i/o timeout'
SENTENCES = {
    "a name in the Dockerfile": (
        build_log(APP, UNREACHED_APP),
        {},
        f"Set docker_daemon_proxy https_proxy to a proxy that reaches {OWN}, or correct the name in the Dockerfile.",
    ),
    "the probe's image": (
        build_log(APP, UNREACHED_APP, "probe"),
        {"image": APP},
        f"Set docker_daemon_proxy https_proxy to a proxy that reaches {OWN}, or correct the name in docker_build_check image.",
    ),
    "the syntax image": (
        build_log(APP, UNREACHED_APP, "syntax"),
        {},
        f"Set docker_daemon_proxy https_proxy to a proxy that reaches {OWN}, or correct the name after # syntax= or in BUILDKIT_SYNTAX.",
    ),
    "an anonymous token in the words of 20.10": (
        build_log("busybox:1", "failed to authorize: rpc error: code = Unknown desc = failed to fetch anonymous token: unexpected status: 401 Unauthorized"),
        {},
        f"Correct the name of busybox:1 if it is wrong, or ask the owner of {TOKEN} why it issues no anonymous token: no credentials were sent.",
    ),
    "a push without a login": (
        f"ERROR: failed to solve: failed to push team/app:1: {token('anonymous', '401 Unauthorized')}\n",
        {},
        "Log in (docker login) with a user that may push team/app:1, or push to another name.",
    ),
    "a push that is denied without the host": (
        "ERROR: failed to solve: failed to push ghcr.io/team/app:1: denied: permission_denied: write_package\n",
        {},
        "Log in (docker login) with a user that may push ghcr.io/team/app:1, or push to another name.",
    ),
    "a cache that may not be written": (
        "#9 exporting cache to registry\n#9 ERROR: error writing layer blob: server message: insufficient_scope: authorization failed\n"
        "ERROR: failed to solve: error writing layer blob: server message: insufficient_scope: authorization failed\n",
        {},
        "Log in (docker login) with a user that may push the image, or push to another name.",
    ),
    "a page of GitHub's cache": (
        "#9 exporting to GitHub Actions Cache\n#9 ERROR: failed to parse error response 400: <h2>Our services aren't available right now</h2>: invalid "
        "character '<' looking for beginning of value\n",
        {},
        "Try again later, or build without cache-to and cache-from of type=gha: the cache service of GitHub answers with an error.",
    ),
    "a named context": (
        build_log(APP, UNREACHED_APP).replace("[internal] load", "[context base] load"),
        {},
        f"Set docker_daemon_proxy https_proxy to a proxy that reaches {OWN}, or correct the name in the named context (--build-context, additional_contexts).",
    ),
    "a pull with a wrong password": (
        f'Error response from daemon: Head "https://{HUB}/v2/team/app/manifests/1": unauthorized: incorrect username or password\n',
        {},
        f"Log in with the right credentials (docker login), or log out: the token server {TOKEN} does not accept what it was sent.",
    ),
    "a builder's own image": (
        BOOT,
        {},
        f"Set docker_daemon_proxy https_proxy to a proxy that reaches {OWN}, or correct the name in docker_builder image.",
    ),
    "a pull": (
        f"Error response from daemon: manifest for {APP} not found: manifest unknown\n",
        {},
        f"Correct the name or tag of {APP}: {OWN} does not have it.",
    ),
    "a mirror in the Dockerfile": (
        build_log(AT_MIRROR, status(f"https://{MIRROR}/v2/library/busybox/manifests/1", "503 Service Unavailable"), instance=True),
        {},
        f"Use another mirror in the Dockerfile (dockerfile_mirror mirrors); {MIRROR} answers status 503, which only its owner can change.",
    ),
    "a mirror in the syntax image": (
        build_log(AT_MIRROR, head(MIRROR, "library/busybox", RESET), "syntax"),
        {},
        f"Name another mirror after # syntax= or in BUILDKIT_SYNTAX, or set docker_daemon_proxy https_proxy to a proxy that reaches {MIRROR}.",
    ),
    "a mirror of another registry": (
        build_log(APP, f'failed to do request: Head "https://{MIRROR}/v2/team/app/manifests/1?ns={OWN}": {RESET}'),
        {},
        f"Repair the mirror {MIRROR}, or set docker_registry_hosts registries to another one.",
    ),
    "a mirror of another registry without the image": (
        build_log(APP, status(f"https://{MIRROR}/v2/team/app/manifests/1?ns={OWN}", "404 Not Found")),
        {},
        f"Correct the name or tag of {APP}, or set docker_registry_hosts registries to a mirror that has it: {MIRROR} does not.",
    ),
    "an anonymous token, 503": (build_log("busybox:1", token("anonymous", "503 Service Unavailable")), {}, f"Try again later: {TOKEN} answers with an error."),
    "an anonymous token, 429": (
        build_log("busybox:1", token("anonymous", "429 Too Many Requests")),
        {},
        f"Try again later, and send {TOKEN} fewer requests: it limits their number.",
    ),
    "an anonymous token, 403": (
        build_log("busybox:1", token("anonymous", "403 Forbidden")),
        {},
        f"Have whoever runs the firewall or the proxy allow {TOKEN}: Docker Hub answers wrong credentials with status 401, not 403.",
    ),
    "a token with credentials": (
        build_log("busybox:1", token("oauth", "401 Unauthorized")),
        {},
        f"Log in with the right credentials (docker login), or log out: the token server {TOKEN} does not accept what it was sent.",
    ),
    "a token with credentials, and a step that writes of another kind": (
        "#1 [1/2] RUN ./test\n#1 0.2 ok: failed to fetch anonymous token\n#1 DONE 0.3s\n" + build_log("busybox:1", token("oauth", "401 Unauthorized")),
        {},
        f"Log in with the right credentials (docker login), or log out: the token server {TOKEN} does not accept what it was sent.",
    ),
    "an answer without a token": (
        build_log("busybox:1", "failed to authorize: authorization server did not include a token in the response"),
        {},
        f"Ask the owner of {TOKEN} why its answer contains no token, or find out which proxy or firewall answers in its name.",
    ),
    "403 of the hub": (
        build_log("busybox:1", status(f"https://{HUB}/v2/library/busybox/manifests/1", "403 Forbidden")),
        {},
        f"Have whoever runs the firewall or the proxy allow {HUB}, or set docker_daemon_proxy https_proxy (or registry_mirrors): "
        "Docker Hub answers wrong credentials with status 401, not 403.",
    ),
    "403 of the hub's layers to a builder": (build_log("busybox:1", status(f"https://{CDN}/x/data", "403 Forbidden"), instance=True), {}, OF_BUILDER),
    "404 of the layers": (
        build_log(APP, status("https://bucket.s3.eu-central-1.amazonaws.com/docker/x", "404 Not Found")),
        {},
        f"Have the owner of {APP} push it again, or use another tag: bucket.s3.eu-central-1.amazonaws.com has its manifest but not its content.",
    ),
    "429 of a registry without logins": (
        build_log(f"{MCR}/dotnet/sdk:1", status(f"https://{MCR}/v2/dotnet/sdk/manifests/1", "429 Too Many Requests")),
        {},
        f"Try again later, and send {MCR} fewer requests: it limits their number.",
    ),
    "a registry without TLS": (
        build_log(APP, head(OWN, "team/app", TRANSPORT["http answer"])),
        {},
        f"Set docker_daemon_proxy insecure_registries: [http://{OWN}], or install a certificate on {OWN}: it answers without TLS.",
    ),
    "the hub without TLS": (
        build_log("busybox:1", head(HUB, "library/busybox", TRANSPORT["http answer"])),
        {},
        f"Set docker_daemon_proxy https_proxy (or registry_mirrors), so that the daemon reaches {HUB} another way.",
    ),
    "a registry that everybody knows without TLS": (
        build_log(f"{MCR}/dotnet/sdk:1", head(MCR, "dotnet/sdk", TRANSPORT["http answer"])),
        {},
        f"Set docker_daemon_proxy https_proxy to a proxy that reaches {MCR}, or correct the name in the Dockerfile.",
    ),
    "the CA of the hub's layers for a builder": (
        build_log("busybox:1", head(CDN, "x", TRANSPORT["unknown authority"]), instance=True),
        {},
        "Create the builder ci again with the authority's certificate as ca of docker.io in its buildkitd.toml: the host's store does not reach it.",
    ),
    "the proxy of a builder, tls": (
        build_log("busybox:1", head(HUB, "library/busybox", TRANSPORT["proxy tls"]), instance=True),
        {},
        "Create the builder ci again with the proxy's URL as http://HOST:PORT (buildx create --driver-opt env.HTTPS_PROXY=URL).",
    ),
    "the proxy of a builder, dns": (
        build_log("busybox:1", head(HUB, "library/busybox", TRANSPORT["proxy dns"]), instance=True),
        {},
        "Create the builder ci again with a proxy that it reaches (buildx create --driver-opt env.HTTPS_PROXY=URL).",
    ),
    "a proxy without a name in the log, tls": (
        build_log("busybox:1", head(HUB, "library/busybox", TRANSPORT["proxy tls"])),
        {},
        "Write the proxy's URL with http:// in docker_daemon_proxy https_proxy: the connection to the proxy itself does not use TLS.",
    ),
    "the client's proxy wants a login, for a builder": (
        build_log(
            "busybox:1",
            f'failed to authorize: failed to fetch anonymous token: Get "https://{TOKEN}/token?scope=x": Proxy Authentication Required',
            instance=True,
        ),
        {"daemon_proxy": PROXY},
        "Set docker_build_env https_proxy to a proxy that accepts this host: the client fetches the token for the builder ci.",
    ),
    "a page for a builder": (
        build_log("busybox:1", f'failed to do request: Head "https://{HUB}/v2/x": unexpected content type text/html', instance=True),
        {},
        "Have whoever runs the firewall or the proxy allow this request, or create the builder ci again with another proxy "
        "(buildx create --driver-opt env.HTTPS_PROXY=URL).",
    ),
    "a push to the hub": (
        f"#9 ERROR: {PUSH}\nERROR: failed to solve: {PUSH}\n",
        {},
        f"Set docker_daemon_proxy https_proxy to a proxy that reaches {HUB}.",
    ),
    "stopped while the daemon waited for the hub": (
        "#2 [internal] load metadata for docker.io/library/busybox:1\n",
        {"timed_out": True, "timeout": 9},
        f"Set docker_daemon_proxy https_proxy (or registry_mirrors) if {HUB} is slow or silent, or a longer timeout here.",
    ),
    "stopped while the daemon waited for another registry": (
        f"#2 [internal] load metadata for {APP}\n",
        {"timed_out": True, "timeout": 9},
        f"Set docker_daemon_proxy https_proxy if {OWN} is slow or silent, or a longer timeout here.",
    ),
    "stopped while a builder waited": (f"{IN_CI}#2 [internal] load metadata for {APP}\n", {"timed_out": True, "timeout": 9}, OF_BUILDER),
    "stopped while the client waited": (
        "#3 [auth] library/busybox:pull token for registry-1.docker.io\n",
        {"timed_out": True, "timeout": 9},
        f"Set docker_build_env https_proxy if {TOKEN} is slow or silent, or a longer timeout here.",
    ),
    "stopped in a step": (
        "#5 [2/2] RUN make\n",
        {"timed_out": True, "timeout": 9},
        "Set docker_build_env step_proxy if the network is slow or silent, or a longer timeout here.",
    ),
    "ADD of a URL without TLS": (
        build_log(APP, 'failed to load cache key: Get "http://files.example.com/tool.tgz": dial tcp 192.0.2.7:80: connect: no route to host'),
        {},
        "Set docker_daemon_proxy http_proxy to a proxy that reaches files.example.com.",
    ),
    "a registry without TLS that cannot be reached": (
        build_log("registry.example.com:5000/app:1", f'failed to do request: Head "http://{OWN}:5000/v2/app/manifests/1": {RESET}'),
        {},
        f"Set docker_daemon_proxy http_proxy to a proxy that reaches {OWN}, or correct the name in the Dockerfile.",
    ),
    "a git context without TLS": (
        f"unable to prepare context: unable to 'git clone' to temporary context directory: error fetching: fatal: unable to access "
        f"'http://{OWN}/team/tool.git/': Recv failure: Connection reset by peer\n",
        {},
        f"Set docker_build_env http_proxy to a proxy that reaches {OWN}.",
    ),
    "ADD of a file that its server does not have": (
        "Step 2/2 : ADD http://files.example.com/x.tgz /\nADD failed: failed to GET http://files.example.com/x.tgz with status 404 Not Found: no\n",
        {},
        "Correct the URL of ADD in the Dockerfile: its server answers status 404.",
    ),
    "stopped while the daemon waited for a mirror": (
        "#2 [internal] load metadata for docker.io/library/busybox:1\n",
        {"timed_out": True, "timeout": 9, "mirrors": (Mirror("https://m.lab", reason="timeout"),)},
        "Repair the mirror m.lab, or set docker_daemon_proxy registry_mirrors to another one.",
    ),
    "stopped while the daemon waited for a mirror of hosts.toml": (
        f"#2 [internal] load metadata for {APP}\n",
        {"timed_out": True, "timeout": 9, "mirrors": (Mirror("https://m.lab", reason="timeout", named_by="docker_registry_hosts"),)},
        "Repair the mirror m.lab, or set docker_registry_hosts registries to another one.",
    ),
    "a mirror of hosts.toml that sends clients elsewhere": (
        build_log("busybox:1", f'failed to authorize: failed to fetch anonymous token: Get "https://{TOKEN}/token?scope=x&service=y": {RESET}'),
        {"daemon_token": True, "mirrors": (Mirror("https://m.lab", 401, f"https://{TOKEN}/token", named_by="/etc/docker/certs.d/docker.io/hosts.toml"),)},
        "Name a mirror in /etc/docker/certs.d/docker.io/hosts.toml that serves images without a token (role registry_cache), or have the mirror's owner "
        "rewrite its realm.",
    ),
    "a mirror of docker_registry_hosts that sends clients elsewhere": (
        build_log("busybox:1", f'failed to authorize: failed to fetch anonymous token: Get "https://{TOKEN}/token?scope=x&service=y": {RESET}'),
        {"daemon_token": True, "mirrors": (Mirror("https://m.lab", 401, f"https://{TOKEN}/token", named_by="docker_registry_hosts"),)},
        "Name a mirror in docker_registry_hosts registries that serves images without a token (role registry_cache), or have the mirror's owner "
        "rewrite its realm.",
    ),
    "a mirror of hosts.toml without TLS": (
        build_log("busybox:1", f'failed to do request: Head "https://m.lab/v2/library/busybox/manifests/1?ns=docker.io": {TRANSPORT["http answer"]}'),
        {"mirrors": (Mirror("https://m.lab", reason="tls", named_by="docker_registry_hosts"),)},
        "Repair the mirror m.lab, or set docker_registry_hosts registries to another one.",
    ),
    "a step of compose 2.40 with Bake and without BuildKit": (
        'time="x" level=warning msg="Docker Compose is configured to build using Bake, but buildkit isn\'t enabled"\n'
        "Step 2/2 : RUN wget http://web.lab/\n ---> Running in 0123456789ab\nwget: bad address 'web.lab'\n"
        "The command '/bin/sh -c wget http://web.lab/' returned a non-zero code: 1\n",
        {},
        "Set docker_build_env step_proxy and buildkit: true (it needs the buildx plugin), or name http_proxy and https_proxy in build.args of the compose "
        "file: with the legacy builder docker compose gives RUN steps only HTTP_PROXY and HTTPS_PROXY, which apt and wget do not read.",
    ),
    "stopped anywhere": ("", {"timed_out": True, "timeout": 9}, "Set a longer timeout here, or read the lines in log: they show what the build was doing."),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_the_sentence(case):
    log, known, cure = SENTENCES[case]
    assert diagnose(log, Evidence(**known)).cure == cure


def test_a_proxy_for_requests_without_tls_is_named_in_chinese_too():
    log, known, _cure = SENTENCES["ADD of a URL without TLS"]
    found = diagnose(log, Evidence(**known))
    assert cure_text(found.cure_name, found, chinese=True) == "给 `docker_daemon_proxy` 的 `http_proxy` 设置能访问 files.example.com 的代理。"
