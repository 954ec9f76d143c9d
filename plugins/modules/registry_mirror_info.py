#!/usr/bin/python
# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_mirror_info
short_description: Test mirrors of Docker Hub from this host, and report which of them work now
version_added: 1.1.0
description:
  - Queries every candidate as Docker does during a build, all at the same time. It resolves the name, checks the certificate, requests C(/v2/), fetches a token
    if the mirror names a token server, requests the manifest (HEAD, then GET), and fetches the first bytes of a layer, following redirects.
  - A mirror counts as usable if it serves every image of O(images). Nothing is changed on the host, nothing is stored, and no engine is needed.
  - Certificates are checked against the trust store of the host, as the daemon does if C(/etc/docker/certs.d) names no CA.
author:
  - The buildfleet authors (@buildfleet)
extends_documentation_fragment:
  - buildfleet.docker._attributes
attributes:
  check_mode:
    description: It only reads, so check mode is the same.
    support: full
  diff_mode:
    description: There is never a difference to show.
    support: none
options:
  candidates:
    description: URLs of mirrors, such as V(https://mirror.example.com). Docker sends no credentials to a mirror, so a URL with credentials is rejected.
    type: list
    elements: str
    required: true
  images:
    description:
      - Images that a mirror must serve. A registry in a name is omitted, because the mirror gets only the rest of the name.
      - The default is C(busybox:latest), from which M(buildfleet.docker.docker_build_check) builds.
    type: list
    elements: str
  bytes:
    description: How many bytes of the first image's largest layer are fetched to measure the speed.
    type: int
    default: 1048576
  timeout:
    description: Seconds that each candidate has for all requests together. If a layer does not arrive in time, the candidate stays usable.
    type: int
    default: 15
  http_proxy:
    description:
      - The proxy (V(http://host:port) or V(socks5://host:port)) for mirrors with C(http://). If not set, they are reached directly.
      - A proxy with C(https://) is rejected unless O(no_proxy) names every candidate, because this module cannot use it.
    type: str
  https_proxy:
    description: The same for mirrors with C(https://).
    type: str
  proxy_username:
    description: The user name for both proxies, not percent-encoded.
    type: str
  proxy_password:
    description: The password for both proxies, not percent-encoded.
    type: str
  no_proxy:
    description: Hosts, domains and networks that are reached without the proxy.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Test some mirrors
  buildfleet.docker.registry_mirror_info:
    candidates:
      - https://mirror.example.com
      - https://other-mirror.example.net
  register: mirrors

- name: Use the working mirrors, the fastest first
  buildfleet.docker.docker_daemon_proxy:
    registry_mirrors: "{{ mirrors.usable }}"
  become: true
  when: mirrors.usable | length > 0
"""

RETURN = r"""
mirrors:
  description: Every candidate, in the order of O(candidates).
  type: list
  elements: dict
  returned: success
  contains:
    url:
      description: The candidate as in O(candidates).
      type: str
    usable:
      description: Whether it served every image.
      type: bool
    problem:
      description: Why it cannot be used, as one of the causes of M(buildfleet.docker.docker_build_check). Null if it can.
      type: str
    reason:
      description: How it failed, such as V(status 403). Null if it did not.
      type: str
    host:
      description: The host that failed, which can be a token server or a server of layers. Null if none did.
      type: str
    message:
      description: What is wrong, in a sentence. Null if nothing is.
      type: str
    realm:
      description: The token server's URL that the mirror names. Null if it names none.
      type: str
    needs:
      description: What a client needs there, which is V(nothing), V(token_of_its_own) (an anonymous token of the mirror's own token server), V(hub_token) (one
        of Docker Hub's token server, which the daemon and the client must then reach), or V(login), which Docker cannot send to a mirror.
      type: str
    missing:
      description: The images of O(images) that it did not serve.
      type: list
      elements: str
    seconds:
      description: How long all requests took.
      type: float
    bytes_per_second:
      description: How fast the first bytes of a layer arrived. Null if none arrived.
      type: int
usable:
  description: The URLs of the candidates that can be used, the fastest first.
  type: list
  elements: str
  returned: success
in_use:
  description: The mirrors that the daemon uses now, spelled as in O(candidates) if they are candidates. Null if the daemon could not be queried,
    because it does not run, or this user may not use its socket.
  type: list
  elements: str
  returned: success
msg:
  description: The outcome in sentences, one for each candidate that cannot be used.
  type: str
  returned: success
  sample: "1 of 2 mirrors can be used. https://mirror.example.com: mirror.example.com could not be reached (timeout)."
"""

import functools
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._host.web_host import WebHost
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Module, Refused, run
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import ValueRefused, bypasses, mirror, no_proxy, proxy
from ansible_collections.buildfleet.docker.plugins.module_utils._registry import candidate
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import InvalidImageName, parse
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_probe import PROBE_IMAGE


def work(module: Module) -> t.Dict[str, t.Any]:
    params, host = module.params, module.host
    try:
        urls = candidate.distinct(mirror(url.strip(), "", "candidates", paths=True) for url in params["candidates"])
        images = [image.strip() for image in params["images"] or [PROBE_IMAGE]]
        for image in images:
            parse(image)
        direct = functools.partial(bypasses, ",".join(no_proxy(params["no_proxy"] or [])))
        proxies = _proxies(module, urls, direct)
    except (ValueRefused, InvalidImageName) as error:
        raise Refused(str(error) if isinstance(error, ValueRefused) else f"images: {error}") from error
    for name in ("bytes", "timeout"):
        if params[name] < 1:
            raise Refused(f"{name} must be at least 1.")
    calls = {
        url: functools.partial(
            candidate.try_candidate,
            url,
            images,
            params["bytes"],
            candidate.asker(host.http_request, params["timeout"], host.now, proxies, direct),
            host.now,
        )
        for url in urls
    }
    answers = host.run_parallel(calls, params["timeout"] + 2)
    tried = [answers.get(url) or candidate.too_late(url, params["timeout"]) for url in urls]
    return {
        "changed": False,
        "mirrors": [candidate.shown(one) for one in tried],
        "usable": candidate.fastest_first(tried),
        "in_use": _in_use(host.engine_api("/info"), urls),
        "msg": candidate.summary(tried),
    }


def _proxies(module: Module, urls: t.Sequence[str], direct: t.Callable[[str, int], bool]) -> t.Dict[str, str]:
    """Proxies by the scheme of the requested URL."""
    proxies = {}
    for name, scheme in (("http_proxy", "http"), ("https_proxy", "https")):
        if module.params[name]:
            given = proxy(module.params[name], name, module.params["proxy_username"] or "", module.params["proxy_password"] or "")
            module.secrets.learn_url(given.url())
            if given.scheme != "https":
                proxies[scheme] = given.url()
            elif any(candidate.needs_proxy(url, scheme, direct) for url in urls):
                raise ValueRefused(
                    f"{name}: this module cannot use a proxy with https://. Write http://{given.address} if the proxy accepts plain connections, "
                    "or name the candidates that are reached without it in no_proxy."
                )
    return proxies


def _in_use(info: t.Any, urls: t.Sequence[str]) -> t.Optional[t.List[str]]:
    return None if info is None else candidate.spelt_as(urls, (info.get("RegistryConfig") or {}).get("Mirrors") or [])


def main() -> None:
    run(
        work,
        host=WebHost,
        argument_spec={
            "candidates": {"type": "list", "elements": "str", "required": True},
            "images": {"type": "list", "elements": "str"},
            "bytes": {"type": "int", "default": 1024 * 1024},
            "timeout": {"type": "int", "default": 15},
            "http_proxy": {"type": "str"},
            "https_proxy": {"type": "str"},
            "proxy_username": {"type": "str"},
            "proxy_password": {"type": "str", "no_log": False},  # _module masks every result
            "no_proxy": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
