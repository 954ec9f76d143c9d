# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of the relay: who may use it, where it passes on to, and what it reaches by itself."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.relay import Relay, configuration
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import ValueRefused

RELAY = Relay(["127.0.0.1", "172.17.0.1"], 3129, ["172.17.0.1/16"])
PROXY = "http://proxy.example.com:3128"
PEER = "cache_peer proxy.example.com parent 3128 0 no-query no-digest no-netdb-exchange default name=proxy"


def lines(relay=RELAY, **options):
    """Behind the lines that are always the same."""
    return configuration(relay, options).partition("shutdown_lifetime 1 seconds\n")[2].splitlines()


def test_it_listens_where_it_is_told_and_serves_the_host_and_the_networks_alone():
    assert lines(https_proxy=PROXY) == [
        "http_port 127.0.0.1:3129",
        "http_port 172.17.0.1:3129",
        "acl clients src 127.0.0.0/8 172.17.0.0/16",
        "http_access deny manager",
        "http_access deny !clients",
        "http_access allow clients",
        "never_direct allow all",
        PEER,
    ]


def test_the_host_may_use_it_where_no_network_may():
    assert "acl clients src 127.0.0.0/8" in lines(RELAY._replace(networks=[]), https_proxy=PROXY)


def test_it_writes_nothing_down():
    head = configuration(RELAY, {"http_proxy": PROXY}).splitlines()
    assert {"access_log none", "cache_store_log none", "cache deny all", "pid_filename none"} <= set(head)


@pytest.mark.parametrize(
    ("user", "password", "login"),
    [
        ("builder", "p@ss:w/rd%41", "builder:p%40ss%3Aw%2Frd%2541"),
        ("DOM\\joe", "a b\"'#é", "DOM%5Cjoe:a%20b%22%27%23%C3%A9"),
        ("joe", "", "joe:"),
    ],
)
def test_every_password_arrives(user, password, login):
    assert lines(https_proxy=PROXY, proxy_username=user, proxy_password=password)[-1] == f"{PEER} login={login}"


def test_a_login_in_the_url_is_one_too():
    assert lines(http_proxy="http://joe:p%40ss@proxy.example.com:3128")[-1] == f"{PEER} login=joe:p%40ss"


def test_two_proxies_serve_what_they_are_for():
    assert lines(http_proxy="http://a.example.com", https_proxy="http://b.example.com:3128")[-6:] == [
        "cache_peer a.example.com parent 80 0 no-query no-digest no-netdb-exchange default name=http_proxy",
        "cache_peer b.example.com parent 3128 0 no-query no-digest no-netdb-exchange default name=https_proxy",
        "acl tunnel method CONNECT",
        "cache_peer_access http_proxy deny tunnel",
        "cache_peer_access https_proxy allow tunnel",
        "cache_peer_access https_proxy deny all",
    ]


@pytest.mark.parametrize(
    ("entry", "acls"),
    [
        ("example.com", [r"acl direct1 dstdom_regex -n -i (^|\.)example\.com$"]),
        (".Example.com", [r"acl direct1 dstdom_regex -n -i \.example\.com$"]),
        ("*.example.com", [r"acl direct1 dstdom_regex -n -i \.example\.com$"]),
        ("10.1.2.3", ["acl direct1 dst -n 10.1.2.3/32"]),
        ("10.1.2.3/8", ["acl direct1 dst -n 10.0.0.0/8"]),
        ("::1", ["acl direct1 dst -n ::1/128"]),
        ("[::1]", ["acl direct1 dst -n ::1/128"]),
        ("fd00::/8", ["acl direct1 dst -n fd00::/8"]),
        ("*", ["acl direct1 src all"]),
    ],
)
def test_an_exception_is_reached_without_the_proxy_and_never_the_loopback_of_the_host(entry, acls):
    rest = ["http_access deny direct1 to_localhost", "http_access allow clients", "always_direct allow direct1", "never_direct allow all", PEER]
    assert lines(https_proxy=PROXY, no_proxy=[entry])[5:] == [*acls, *rest]


@pytest.mark.parametrize(
    ("entry", "acl"),
    [("example.com:5000", r"dstdom_regex -n -i (^|\.)example\.com$"), ("10.1.2.3:5000", "dst -n 10.1.2.3/32"), ("[::1]:5000", "dst -n ::1/128")],
)
def test_an_exception_for_one_port_is_for_that_port_alone(entry, acl):
    found = lines(https_proxy=PROXY, no_proxy=["a.example.com", entry])
    assert found[6:12] == [
        f"acl direct2 {acl}",
        "acl direct2_port port 5000",
        "http_access deny direct1 to_localhost",
        "http_access deny direct2 direct2_port to_localhost",
        "http_access allow clients",
        "always_direct allow direct1",
    ]
    assert found[12] == "always_direct allow direct2 direct2_port"


@pytest.mark.parametrize(
    ("relay", "options", "message"),
    [
        (RELAY, {}, "The relay needs a proxy to forward to. Set http_proxy or https_proxy."),
        (
            RELAY,
            {"https_proxy": "socks5://proxy.example.com"},
            "https_proxy: the relay (squid) cannot forward to a proxy with the scheme socks5. Set an http:// proxy, or do not use the relay.",
        ),
        (RELAY._replace(networks=["docker0"]), {"http_proxy": PROXY}, "networks: 'docker0' is not a network. Write it as 172.18.0.0/16."),
    ],
)
def test_what_cannot_work_is_refused(relay, options, message):
    with pytest.raises(ValueRefused) as refused:
        configuration(relay, options)
    assert str(refused.value) == message
