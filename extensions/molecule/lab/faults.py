# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of a build, the diagnosis that each must get, and the fix by this collection. The scenario tests a sample, `make matrix` all."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, Mapping, NamedTuple

import build
import pki
from pki import PKI
from table import ALLOWLIST, AUTH_PROXY, DROPS, HTTP_PROXY, INTERCEPT_PROXY, MIRROR, PASSWORD, RELAY, SERVICES, USERNAME, WEB

HUB, TOKEN, CDN = "registry-1.docker.io", "auth.docker.io", "production.cloudflare.docker.com"
AT_THE_MIRROR = "mirror.lab/library/busybox:1"
DROP_IN = "/etc/systemd/system/docker.service.d/lab.conf"  # as others write it: the fix has to override it
DAEMON_JSON = "/etc/docker/daemon.json"
CONTEXT = "/var/tmp/faulty"
SERVER = Path(__file__).parent / "inside" / "fault_server.py"
LOCAL_MIRROR, LOCAL_PROXY = "http://127.0.0.1:5000", "http://127.0.0.1:3128"
# Another address of the host: registries on the loopback are exempt from TLS.
OWN_ADDRESS, OWN_CERTIFICATE = "10.58.0.1", "/var/tmp/fault_server.pem"
REGISTRY, TLS_PROXY = pki.FAULTY_NAMES
AT_THE_REGISTRY = f"{REGISTRY}/library/busybox:1"

Verdict = tuple  # cause, asked_by, host, reason
OK: Verdict = ("ok", None, None, None)
Step = tuple  # a module of this collection and its options

PROXIED: tuple[Step, ...] = (
    ("docker_daemon_proxy", {"http_proxy": HTTP_PROXY, "https_proxy": HTTP_PROXY, "adopt": True}),
    ("docker_build_env", {"daemon_token": True}),
)
MIRRORED: tuple[Step, ...] = (("docker_daemon_proxy", {"registry_mirrors": [MIRROR]}),)
PASSWORD_GIVEN: tuple[Step, ...] = (
    ("docker_daemon_proxy", {"https_proxy": AUTH_PROXY, "proxy_username": USERNAME, "proxy_password": PASSWORD, "adopt": True}),
    ("docker_build_env", {"daemon_token": True}),
)


class Fault(NamedTuple):
    title: str
    buildkit: Verdict
    legacy: Verdict
    cure: tuple[Step, ...] = ()
    outside: str = ""  # the fix, if this collection has none
    wall: str = "reset"
    proxy: str = ""  # the daemon's
    mirror: str = ""
    server: str = ""  # what fault_server.py serves on the host
    certificate: str = ""  # of that server: one of pki.FAULTY
    names: str = ""  # lines of /etc/hosts
    script: str = ""  # other preparations on the host
    repair: str = ""  # commands that do what `outside` says, for a fix that is the user's own
    says: str = ""  # words of the fix that docker_build_check must name
    shell: str = ""  # the user's profile; {} is the builder's DOCKER_BUILDKIT
    dockerfile: str = ""
    options: Mapping[str, Any] = {}  # of docker_build_check, before the fix and after it
    old: Mapping[str, Verdict] = {}  # if an engine before 23.0 reports something else
    containerd: Mapping[str, Verdict] = {}  # if an engine with the containerd image store reports something else


def daemon(cause: str, host: str = HUB, reason: str = "") -> Verdict:
    return cause, "daemon", host, reason or cause


def client(cause: str, host: str, reason: str) -> Verdict:
    return cause, "client", host, reason


def both(verdict: Verdict) -> dict[str, Verdict]:
    return {"buildkit": verdict, "legacy": verdict}


def wrong_mirror(title: str, answer: str, reason: str, cause: str = "mirror_error") -> Fault:
    return Fault(title, **both(daemon(cause, "127.0.0.1", reason)), cure=MIRRORED, mirror=LOCAL_MIRROR, server=f"5000 {answer}")


STEP_PROXY: tuple[Step, ...] = (("docker_build_env", {"users": ["root"], "step_proxy": {"http_proxy": HTTP_PROXY}}),)
# What real programs print in this lab (apk: in a log of the field), each in a RUN step of an image that does not contain them.
PLAYED = json.loads((Path(__file__).parent / "inside" / "step_outputs.json").read_text())
PLAYER = '#!/bin/sh\n[ -n "$http_proxy" ] && exit 0\ncat /played\nexit {}\n'


def played(program: str, blocked: bool, cause: str, reason: str, host: str, command: str, code: int, output: list[str]) -> Fault:
    """A step in which a program prints a recorded output; it passes if the step has a proxy."""
    name = next(word for word in command.split() if "=" not in word)
    title = "requests a server that the firewall blocks" if blocked else "does not trust the authority of its server"
    cure: dict[str, Any] = {"cure": STEP_PROXY} if blocked else {"outside": "trust the authority in the image", "says": "in the image"}
    return Fault(
        f"{program} in a RUN step {title} (recorded output)",
        **both((cause, "step", host, reason)),
        dockerfile=f"FROM {AT_THE_MIRROR}\nCOPY played /\nCOPY program /bin/{name}\nRUN {command}\n",
        script=f"cd {CONTEXT}; printf '%s\\n' {shlex.join(output)} > played; printf %s {shlex.quote(PLAYER.format(code))} > program; chmod +x program",
        **cure,
    )


# curl of the host's Debian with its libraries and the authorities of its ca-certificates (without the lab's own), as files that a Dockerfile copies.
CURL = (
    f"cd {CONTEXT}; mkdir -p root/bin root/etc/ssl/certs; cp /usr/bin/curl root/bin; "
    "ldd /usr/bin/curl | grep -o '/[^ ]*' | tar -ch -T - 2>/dev/null | tar -x -C root; "
    "cat /usr/share/ca-certificates/mozilla/*.crt > root/etc/ssl/certs/ca-certificates.crt"
)
MISSING = f"{WEB}missing.tar.gz"
CURL_PROXY = '{"proxies": {"default": {"httpProxy": "http://auth-proxy.lab:8888", "httpsProxy": "http://auth-proxy.lab:8888"}}}'


def curl(title: str, verdict: Verdict, command: str, **more: Any) -> Fault:
    dockerfile = f"FROM {AT_THE_MIRROR}\nCOPY root /\nRUN {command}\n"
    return Fault(f"curl in a RUN step {title}", **both(verdict), dockerfile=dockerfile, **{"script": CURL, **more})


ADD_PROXIED: Mapping[str, Any] = {"cure": (("docker_daemon_proxy", {"http_proxy": HTTP_PROXY}),), "says": "docker_daemon_proxy http_proxy"}


def add(title: str, verdict: Verdict, url: str = f"{WEB}index.html", **more: Any) -> Fault:
    return Fault(f"ADD of a URL {title}", **both(verdict), dockerfile=f"FROM {AT_THE_MIRROR}\nADD {url} /page\n", **more)


GIT_FAILS = next(row for row in PLAYED if row["program"] == "git" and row["blocked"])
# The hosts have no git: this one prints what git printed in this lab, for BuildKit's git and the client's. With the containerd image store
# BuildKit looks for git when dockerd starts.
GIT = (
    'printf \'%s\\n\' \'#!/bin/sh\' \'case " $* " in *" fetch "* | *" ls-remote "* | *" clone "*)\' '
    f"{shlex.quote('echo ' + shlex.quote(GIT_FAILS['output'][-1]) + ' >&2')} 'exit 128;; esac' > /usr/local/bin/git; chmod +x /usr/local/bin/git; "
    "systemctl restart docker"
)


def token(reason: str = "reset") -> dict[str, Verdict]:
    return {"buildkit": client("token_unreachable", TOKEN, reason), "legacy": daemon("token_unreachable", TOKEN, reason)}


FAULTS = {
    "wall-reset": Fault("the firewall resets connections", **both(daemon("reset")), cure=PROXIED),
    "wall-refuse": Fault("the firewall refuses connections", **both(daemon("refused")), cure=MIRRORED, wall="refuse"),
    "wall-drop": Fault("the firewall drops packets", **both(daemon("timeout")), cure=MIRRORED, wall="drop"),
    "wall-token": Fault("the firewall blocks only the token server", **token(), cure=PROXIED, wall="token"),
    "wall-cdn": Fault("the firewall blocks only the layers", **both(daemon("reset", CDN)), cure=MIRRORED, wall="cdn"),
    "poisoned-name": Fault(
        "the Hub's name resolves to another server",
        **both(daemon("tls", HUB, "certificate of relay.lab")),
        cure=MIRRORED,
        script="echo 10.57.0.21 registry-1.docker.io >> /etc/hosts; sleep 6",  # Go reads the file every five seconds
    ),
    "no-names": Fault(
        "the host has no name server",
        **both(daemon("dns")),
        outside="repair /etc/resolv.conf",
        script="echo nameserver 127.0.0.1 > /etc/resolv.conf; systemctl restart docker",  # Go reads the file every five seconds
    ),
    "daemon-proxy-only": Fault(
        "the daemon has a proxy, the client none", buildkit=client("token_unreachable", TOKEN, "reset"), legacy=OK, cure=PROXIED[1:], proxy=HTTP_PROXY
    ),
    "client-proxy-wrong": Fault(
        "the client's proxy requires another password",
        buildkit=client("proxy_auth", "auth-proxy.lab", "status 407"),
        legacy=OK,
        cure=PROXIED[1:],
        proxy=HTTP_PROXY,
        shell="export https_proxy=http://builder:wrong-one@auth-proxy.lab:8888\n",
    ),
    "proxy-down": Fault("the proxy is down", **both(daemon("proxy_unreachable", "proxy.lab", "refused")), cure=PROXIED, proxy="http://proxy.lab:9999"),
    "proxy-https-scheme": Fault(
        "the proxy's URL has https://, and the proxy does not speak TLS",
        **both(daemon("proxy_unreachable", "proxy.lab", "tls")),
        cure=PROXIED,
        proxy="https://proxy.lab:8888",
    ),
    "proxy-no-route": Fault(
        "nothing has the proxy's address", **both(daemon("proxy_unreachable", "10.57.0.99", "no route")), cure=PROXIED, proxy="http://10.57.0.99:8888"
    ),
    "proxy-unknown": Fault("the proxy's name is unknown", **both(daemon("proxy_unreachable", "nosuch.lab", "dns")), cure=PROXIED, proxy="http://nosuch.lab:1"),
    "proxy-password": Fault(
        "the proxy requires another password",
        **both(daemon("proxy_auth", "auth-proxy.lab", "status 407")),
        cure=PASSWORD_GIVEN,
        proxy="http://builder:wrong-one@auth-proxy.lab:8888",
    ),
    "proxy-403": Fault(
        "the proxy denies access (403)", **both(daemon("proxy_refused", "127.0.0.1", "Forbidden")), cure=PROXIED, proxy=LOCAL_PROXY, server="3128 403"
    ),
    "proxy-502": Fault(
        "the proxy fails (502)", **both(daemon("proxy_refused", "127.0.0.1", "Bad Gateway")), cure=PROXIED, proxy=LOCAL_PROXY, server="3128 502"
    ),
    "proxy-closes": Fault(
        "the proxy ends each connection without an answer",
        **both(daemon("reset")),
        cure=PROXIED,
        says="docker_daemon_proxy https_proxy to a proxy that reaches",
        proxy=LOCAL_PROXY,
        server="3128 closes",
    ),
    "proxy-closes-tunnels": Fault(
        "the proxy accepts the request and ends the connection then",
        **both(daemon("reset")),
        cure=PROXIED,
        says="docker_daemon_proxy https_proxy to a proxy that reaches",
        proxy=LOCAL_PROXY,
        server="3128 closes-tunnels",
    ),
    "proxy-closes-tls": Fault(
        "the proxy's URL has https://, and the proxy ends the connection",
        **both(daemon("proxy_unreachable", "127.0.0.1", "tls")),
        cure=PROXIED,
        proxy=LOCAL_PROXY.replace("http:", "https:"),
        server="3128 closes",
    ),
    "proxy-intercepts": Fault(
        "the proxy intercepts TLS with the CA of the company",
        **both(daemon("tls", HUB, "unknown authority")),
        cure=(("proxy_ca", {"certificate": "intercept-ca"}), *PROXIED[1:]),
        proxy=INTERCEPT_PROXY,
    ),
    "mirror-403": wrong_mirror("the mirror answers 403", "403", "status 403"),
    "mirror-404": wrong_mirror("the mirror answers 404", "404", "status 404"),
    "mirror-429": wrong_mirror("the mirror answers 429", "429", "status 429"),
    "mirror-500": wrong_mirror("the mirror answers 500", "500", "status 500"),
    "mirror-html": wrong_mirror("the mirror answers with an html page", "html", "html page"),
    "mirror-lacks": wrong_mirror("the mirror does not have the image", "lacks", "status 404", "not_found"),
    "mirror-empty": wrong_mirror("the mirror has the manifest and not the content", "empty", "content missing"),
    "mirror-cut": wrong_mirror("the mirror cuts layers off", "cut", "incomplete layers"),
    "mirror-login": Fault(
        "the mirror requires a login", **both(daemon("mirror_error", "login.lab", "wants a login")), cure=MIRRORED, mirror="https://login.lab"
    ),
    "mirror-allowlist": Fault(
        "the mirror serves only an allowlist",
        **both(daemon("mirror_error", "allowlist.lab", "status 403")),
        cure=MIRRORED,
        mirror=ALLOWLIST,
        options={"image": "alpine:3.19"},
    ),
    "mirror-page": Fault(
        "the mirror became a web site", **both(daemon("mirror_error", "page.lab", "html page")), cure=MIRRORED, mirror="https://page.lab"
    ),
    "mirror-drops": Fault("packets to the mirror are dropped", **both(daemon("timeout", "drop.lab")), cure=MIRRORED, mirror=DROPS),
    "mirror-wrong-name": Fault(
        "the mirror's certificate is for another name",
        **both(daemon("tls", "wrong-name.lab", ...)),  # type: ignore[arg-type]
        cure=MIRRORED,
        mirror="https://wrong-name.lab",
    ),
    "mirror-down": Fault("the mirror is down", **both(daemon("refused", "127.0.0.1")), cure=MIRRORED, mirror=LOCAL_MIRROR),
    "mirror-unknown": Fault("the mirror's name is unknown", **both(daemon("dns", "nosuch.lab")), cure=MIRRORED, mirror="https://nosuch.lab"),
    "mirror-untrusted": Fault(
        "the mirror's CA is not trusted",
        **both(daemon("tls", "mirror.lab", "unknown authority")),
        cure=(("proxy_ca", {"certificate": "ca"}),),
        mirror=MIRROR,
        script="rm /usr/local/share/ca-certificates/lab-ca.crt; update-ca-certificates --fresh >/dev/null 2>&1; systemctl restart docker",
    ),
    "mirror-realm": Fault(
        "the mirror passes the Hub's realm through",
        buildkit=client("mirror_sends_token_elsewhere", TOKEN, "reset"),
        legacy=daemon("mirror_sends_token_elsewhere", TOKEN, "reset"),
        cure=PROXIED,
        mirror=RELAY,
    ),
    "from-realm": Fault(
        "FROM at a mirror that passes the Hub's realm through",
        buildkit=client("mirror_sends_token_elsewhere", TOKEN, "reset"),
        legacy=daemon("mirror_sends_token_elsewhere", TOKEN, "reset"),
        cure=PROXIED,
        options={"image": "relay.lab/library/busybox:1"},
    ),
    "registry-plain": Fault(
        "a registry named with its port answers in plain HTTP",
        **both(daemon("tls", "web.lab", "http answer")),
        outside="insecure-registries, or TLS at the registry",
        wall="open",
        options={"image": "web.lab:80/team/app:1"},
    ),
    "proxy-malformed": Fault(
        "the proxy's URL has a port that does not exist", **both(daemon("proxy_unreachable", "proxy.lab", "malformed URL")), cure=PROXIED,
        proxy="http://proxy.lab:88888",
    ),
    "proxy-untrusted": Fault(
        "the proxy has TLS of its own, and its CA is not trusted",
        **both(daemon("proxy_unreachable", TLS_PROXY, "unknown authority")),
        cure=(("proxy_ca", {"certificate": "intercept-ca"}), *PROXIED[1:]),
        proxy=f"https://{TLS_PROXY}:3129",
        server="3129 tunnel",
        certificate="untrusted",
        names=f"{OWN_ADDRESS} {TLS_PROXY}",
    ),
    "no-ipv6-route": Fault(
        "the Hub's name resolves to an IPv6 address, and the host has no route to it",
        **both(daemon("refused", HUB, "no IPv6 route")),
        outside="an IPv6 route, or a resolver that omits IPv6 addresses",
        says="IPv6 route",
        names=f"2001:db8::1 {HUB}",
        repair=f"sed '/{HUB}/d' /etc/hosts > /etc/hosts.new; cat /etc/hosts.new > /etc/hosts; systemctl restart docker",
        wall="open",
    ),
    **{
        f"mirror-token-{answer}": Fault(
            f"the mirror's own token server answers {words}",
            buildkit=client("mirror_error", "127.0.0.1", reason),
            legacy=daemon("reset"),  # it asks the Hub then, and reports that alone
            containerd={"legacy": daemon("mirror_error", "127.0.0.1", "html page" if answer == "html" else "denied")},
            cure=MIRRORED,
            mirror=LOCAL_MIRROR,
            server=f"5000 token-{answer}",
        )
        for answer, words, reason in (("404", "404", "status 404"), ("403", "403", "status 403"), ("html", "with an html page", "html page"))
    },
    "registry-expired": Fault(
        "the certificate of a registry has expired",
        **both(daemon("tls", REGISTRY, "certificate expired")),
        outside="the registry's owner renews it",
        says=f"owner of {REGISTRY}",
        server="443 pass",
        certificate="expired",
        names=f"{OWN_ADDRESS} {REGISTRY}",
        options={"image": AT_THE_REGISTRY},
    ),
    "registry-early": Fault(
        "the certificate of a registry is not valid yet, as for a host whose clock is behind",
        **both(daemon("tls", REGISTRY, "clock is behind")),
        outside="set the host's clock",
        says="clock",
        server="443 pass",
        certificate="early",
        names=f"{OWN_ADDRESS} {REGISTRY}",
        options={"image": AT_THE_REGISTRY},
    ),
    "registry-no-sans": Fault(
        "the certificate of a registry has no SANs",
        **both(daemon("tls", REGISTRY, "no SANs")),
        cure=(("docker_daemon_proxy", {"insecure_registries": [f"https://{REGISTRY}"]}),),
        server="443 pass",
        certificate="no-sans",
        names=f"{OWN_ADDRESS} {REGISTRY}",
        options={"image": AT_THE_REGISTRY},
    ),
    "registry-http": Fault(
        "a registry answers without TLS",
        **both(daemon("tls", REGISTRY, "http answer")),
        cure=(("docker_daemon_proxy", {"insecure_registries": [f"http://{REGISTRY}:5000"]}),),
        server="5000 pass",
        names=f"{OWN_ADDRESS} {REGISTRY}",
        options={"image": f"{REGISTRY}:5000/library/busybox:1"},
    ),
    "registry-goaway": Fault(
        "a registry ends each HTTP/2 connection",
        # Clients try again until they give up: some runs end with reset, others with timeout.
        **both(daemon(..., REGISTRY, ...)),
        outside="the registry's owner",
        server="443 goaway",
        certificate="good",
        names=f"{OWN_ADDRESS} {REGISTRY}",
        options={"image": AT_THE_REGISTRY},
    ),
    "registry-platform": Fault(
        "the image exists for other platforms only",
        **both(daemon("not_found", "127.0.0.1", "platform")),
        outside="an image of this platform",
        says="built for this platform",
        server="5000 platform",
        options={"image": "127.0.0.1:5000/team/app:1"},
    ),
    "helper-missing": Fault(
        "the user's credential helper is not installed",
        buildkit=("unknown", "client", None, "docker-credential-nosuch is missing"),
        legacy=OK,
        outside="install it, or remove credsStore from ~/.docker/config.json",
        says="Remove credsStore",
        wall="open",
        script="mkdir -p /root/.docker; echo '{\"credsStore\": \"nosuch\"}' > /root/.docker/config.json",
        repair="rm /root/.docker/config.json",
    ),
    "add-walled": add("that the firewall blocks", daemon("reset", "web.lab"), **ADD_PROXIED),
    "add-missing": add(
        "that does not exist",
        ("bad_dockerfile", None, None, "status 404"),
        MISSING,
        outside="correct the URL",
        says="Correct the URL of ADD in the Dockerfile",
        wall="open",
        repair=f"sed -i s,{MISSING},{WEB}index.html, {CONTEXT}/Dockerfile",
    ),
    "add-no-route": add(
        "whose host has no route",
        daemon("refused", "web.lab", "no route"),
        **ADD_PROXIED,
        wall="open",
        script=f"ip route add unreachable {SERVICES['web'].address}",
    ),
    "add-unknown": add(
        "whose host has no address",
        daemon("dns", "nosuch.lab"),
        "http://nosuch.lab/index.html",
        outside="correct the URL, or a resolver that knows the host",
        repair=f"sed -i s,http://nosuch.lab/,{MIRROR}/v2/?, {CONTEXT}/Dockerfile",
    ),
    "git-add": Fault(
        "ADD of a git repository that the firewall blocks (recorded output of git)",
        **both(daemon("reset", "web.lab")),
        outside="a proxy for the daemon, whose git uses it",
        says="docker_daemon_proxy http_proxy",
        dockerfile=f"FROM {AT_THE_MIRROR}\nADD {WEB}team/tool.git /tool\n",
        script=GIT,
    ),
    "git-context": Fault(
        "a git repository as context, which the firewall blocks (recorded output of git)",
        buildkit=daemon("reset", "web.lab"),
        legacy=client("reset", "web.lab", "reset"),
        outside="a proxy for the process that runs git",
        says="http_proxy",
        script=f"{GIT}; mkdir -p {CONTEXT}; printf 'services:\\n  tool:\\n    build: {WEB}team/tool.git#main\\n' > {CONTEXT}/compose.yml",
        options={"compose_file": f"{CONTEXT}/compose.yml"},
    ),
    "missing-tag": Fault(
        "the tag does not exist",
        **both(daemon("not_found", HUB, "not found")),
        outside="correct the Dockerfile",
        wall="open",
        options={"image": "busybox:nosuch"},
    ),
    "missing-buildx": Fault(
        "buildx is missing, and BuildKit is requested",
        buildkit=("buildx_missing", None, None, None),
        legacy=OK,
        cure=(("docker_build_env", {"buildkit": False}),),
        # the program of a brought engine is a mount
        script="find /usr -path '*cli-plugins/docker-buildx' | while read -r path; do umount $path 2>/dev/null; rm $path; done",
        shell="export DOCKER_BUILDKIT={}\n",
        options={"image": AT_THE_MIRROR},
        old={"buildkit": OK},  # its BuildKit needs no buildx
    ),
    "engine-stopped": Fault(
        "the engine is stopped",
        **both(("engine_down", None, None, "no answer")),
        outside="systemctl start docker",
        script="systemctl stop docker.socket docker.service",
    ),
    "disk-full": Fault(
        "the engine's disk is full",
        **both(("disk_full", None, None, "no space left")),
        outside="free space",
        # With its own image store containerd keeps the images, in its own folder.
        script="folder=/var/lib/docker units='docker.socket docker.service'; "
        "docker info --format '{{.DriverStatus}}' | grep -q io.containerd.snapshotter && folder=/var/lib/containerd units=\"$units containerd\"; "
        "systemctl stop $units; mount -t tmpfs -o size=24m tmpfs $folder; systemctl start docker.service; "
        "dd if=/dev/zero of=$folder/full bs=64k 2>/dev/null; true",
        options={"image": AT_THE_MIRROR},
    ),
    "mount": Fault(
        "RUN --mount, which the legacy builder does not support",
        buildkit=OK,
        legacy=("legacy_cannot", None, None, "RUN --mount"),
        cure=(("docker_build_env", {"buildkit": True}),),
        shell="export DOCKER_BUILDKIT={}\n",
        dockerfile=f"FROM {AT_THE_MIRROR}\nRUN --mount=type=tmpfs,target=/scratch true\n",
    ),
    "heredoc": Fault(
        "a heredoc, which the legacy builder silently ignores",
        buildkit=OK,
        legacy=("legacy_cannot", None, None, "heredocs"),
        cure=(("docker_build_env", {"buildkit": True}),),
        shell="export DOCKER_BUILDKIT={}\n",
        dockerfile=f"FROM {AT_THE_MIRROR}\nRUN <<EOT\ntrue\nEOT\n",
        old={"buildkit": ("bad_dockerfile", None, None, ...)},  # its BuildKit does not know them either
    ),
    "step-walled": Fault(
        "a RUN step uses a server that the firewall blocks",
        **both(("reset", "step", "web.lab", "reset")),
        cure=STEP_PROXY,
        options={"image": AT_THE_MIRROR, "network_step": WEB},
    ),
    "step-proxy-down": Fault(
        "the proxy of RUN steps is down",
        **both(("refused", "step", "10.57.0.30", "refused")),
        cure=STEP_PROXY,
        script="mkdir -p /root/.docker; echo '{\"proxies\":{\"default\":{\"httpProxy\":\"http://10.57.0.30:3128\"}}}' > /root/.docker/config.json",
        options={"image": AT_THE_MIRROR, "network_step": WEB},
    ),
    "step-unknown": Fault(
        "a RUN step goes to a server that does not exist",
        **both(("dns", "step", "nosuch.lab", "dns")),
        outside="correct the Dockerfile",
        options={"image": AT_THE_MIRROR, "network_step": "http://nosuch.lab/"},
    ),
    "step-proxy-password": Fault(
        "the proxy of RUN steps requires a password",
        **both(("proxy_auth", "step", "auth-proxy.lab", "status 407")),
        cure=STEP_PROXY,
        script=f"mkdir -p /root/.docker; echo {shlex.quote(CURL_PROXY)} > /root/.docker/config.json",
        options={"image": AT_THE_MIRROR, "network_step": WEB},
    ),
    "curl": curl("requests a server that the firewall blocks", ("reset", "step", "web.lab", "reset"), f"curl -fsS {WEB}", cure=STEP_PROXY),
    "curl-silent": curl(
        "prints nothing (-s) about a server that the firewall blocks", ("reset", "step", "web.lab", "reset"), f"curl -fs {WEB}", cure=STEP_PROXY
    ),
    "curl-ca": curl(
        "does not trust the authority of its server",
        ("tls", "step", "mirror.lab", "unknown authority"),
        f"curl -fsS {MIRROR}/v2/",
        outside="trust the authority in the image",
        says="in the image",
        repair=f"cat /lab/ca.crt >> {CONTEXT}/root/etc/ssl/certs/ca-certificates.crt",
    ),
    "curl-unknown": curl(
        "goes to a server that does not exist", ("dns", "step", "nosuch.lab", "dns"), "curl -fsS http://nosuch.lab/", outside="correct the Dockerfile"
    ),
    "curl-no-route": curl(
        "goes to a server without a route, which it does not say",
        ("refused", "step", "web.lab", "refused"),
        f"curl -fsS {WEB}",
        cure=STEP_PROXY,
        wall="open",
        script=f"{CURL}; ip route add unreachable {SERVICES['web'].address}",
    ),
    "curl-proxy-password": curl(
        "has a proxy that requires a password",
        ("proxy_auth", "step", "mirror.lab", "status 407"),
        f"curl -fsSk {MIRROR}/v2/",
        cure=(("docker_build_env", {"users": ["root"], "step_proxy": {"http_proxy": HTTP_PROXY, "https_proxy": HTTP_PROXY}}),),
        script=f"{CURL}; mkdir -p /root/.docker; echo {shlex.quote(CURL_PROXY)} > /root/.docker/config.json",
    ),
    "curl-missing": curl(
        "requests a file that does not exist, so that the network is not to blame",
        ("step_failed", None, None, "exit code 22"),
        f"curl -fsS {MISSING}",
        outside="correct the Dockerfile",
        wall="open",
    ),
    **{f"step-{row['program']}{'' if row['blocked'] else '-ca'}": played(**row) for row in PLAYED},
}  # fmt: skip


def expected(fault: Fault, builder: str, engine: int, store: str) -> Verdict:
    verdict = fault.buildkit if builder == "buildkit" else fault.legacy
    special = fault.old if engine < 23 else fault.containerd if store == "containerd" else {}
    return special.get(builder, verdict)


def is_cured(name: str, builder: str, engine: int, store: str) -> bool:
    """Whether the fix makes this build pass: no builder of 20.10 supports heredocs."""
    fault = FAULTS[name]
    return bool(fault.cure or fault.repair) and expected(fault, builder, engine, store)[0] != "ok" and not (name == "heredoc" and engine < 23)


def cure(fault: Fault) -> list[Step]:
    """The steps of the fix, with certificates instead of their names."""
    return [
        (module, {key: (PKI / f"{value}.crt").read_text() if key == "certificate" else value for key, value in options.items()})
        for module, options in fault.cure
    ]


def choose(host: str, fault: Fault, builder: str) -> None:
    """Write the user's profile, which may choose the builder."""
    if fault.shell:
        build.write(host, "/etc/profile.d/00-lab.sh", fault.shell.format("1" if builder == "buildkit" else "0"))


def give(host: str, fault: Fault) -> None:
    """Create the fault on a clean host; the caller changes the firewall."""
    if fault.server:
        build.write(host, "/var/tmp/fault_server.py", SERVER.read_text())
        if fault.certificate:
            build.write(host, OWN_CERTIFICATE, pki.faulty(fault.certificate))
        certificate = OWN_CERTIFICATE if fault.certificate else ""
        unit = f"systemd-run --quiet --unit=faulty python3 /var/tmp/fault_server.py {fault.server} {certificate}"
        port = fault.server.split()[0]
        ready = f"for i in $(seq 50); do python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 1)' && break; sleep 0.1; done"
        started = build.on(host, f"{unit} && {{ {ready}; }} 2>/dev/null")
        assert started.ok, started.log
    if fault.names:
        build.on(host, f"ip address add {OWN_ADDRESS}/32 dev lo; echo '{fault.names}' >> /etc/hosts")
    if fault.proxy:
        build.write(host, DROP_IN, f'[Service]\nEnvironment="HTTPS_PROXY={fault.proxy.replace("%", "%%")}"\n')
    if fault.mirror:
        build.write(host, DAEMON_JSON, json.dumps({"registry-mirrors": [fault.mirror]}))
    if fault.dockerfile:
        build.write(host, f"{CONTEXT}/Dockerfile", fault.dockerfile)
    if fault.proxy or fault.mirror or fault.names:  # Go reads /etc/hosts every five seconds
        assert build.restart(host), f"{host}: dockerd does not start with this fault"
    if fault.script:
        build.on(host, fault.script)


def options(name: str, builder: str) -> dict[str, Any]:
    """The options of docker_build_check, before the fix and after it."""
    fault = FAULTS[name]
    asked = {"environment_of": "login", "required": False, "timeout": 120, **fault.options}
    if fault.dockerfile:
        asked["context"] = CONTEXT
    if "DOCKER_BUILDKIT" not in fault.shell:
        asked["builder"] = builder
    return asked
