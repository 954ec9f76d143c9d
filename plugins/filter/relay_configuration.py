# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: relay_configuration
short_description: Create the squid configuration of a relay to a proxy with a password
version_added: 1.1.0
author: The buildfleet authors (@buildfleet)
description:
  - Returns the C(squid.conf) that the role P(buildfleet.docker.proxy_relay#role) writes. It contains the password of the proxy.
options:
  _input:
    description:
      - The proxy, with the options of M(buildfleet.docker.docker_daemon_proxy) as keys, C(http_proxy), C(https_proxy), C(proxy_username),
        C(proxy_password) and C(no_proxy).
      - Both URLs must have the scheme C(http). If one is missing, the other one is used for both.
    type: dict
    required: true
  addresses:
    description: The addresses of the host on which the relay listens.
    type: list
    elements: str
    required: true
  port:
    description: The port on which the relay listens.
    type: int
    required: true
  networks:
    description: The networks whose hosts may use the relay. The host itself always may.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Write the configuration of a relay
  ansible.builtin.copy:
    dest: /etc/squid/squid.conf
    content: >-
      {{ {'https_proxy': 'http://proxy.example.com:3128', 'proxy_username': 'builder', 'proxy_password': password, 'no_proxy': ['.example.com']}
      | buildfleet.docker.relay_configuration(addresses=['127.0.0.1', '172.17.0.1'], port=3129, networks=['172.17.0.0/16']) }}
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_value:
  description: The contents of C(squid.conf).
  type: str
"""

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.relay import Relay, configuration
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import ValueRefused


def relay_configuration(options: t.Any, addresses: t.Sequence[str], port: int, networks: t.Sequence[str]) -> str:
    if not isinstance(options, Mapping):
        raise AnsibleFilterError("relay_configuration: write a map, such as {'https_proxy': 'http://proxy.example.com:3128'}.")
    no_proxy = options.get("no_proxy") or []
    try:
        return configuration(Relay(addresses, int(port), networks), {**options, "no_proxy": no_proxy.split(",") if isinstance(no_proxy, str) else no_proxy})
    except ValueRefused as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"relay_configuration": relay_configuration}
