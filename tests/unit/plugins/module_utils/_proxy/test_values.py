# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._proxy import values as proxy


@pytest.mark.parametrize(
    ("text", "user", "password", "url"),
    [
        ("http://p:1", "", "", "http://p:1"),
        ("HTTP://p:1/", "", "", "http://p:1"),
        ("http://p:1", "joe", "p@ss:w/rd%41", "http://joe:p%40ss%3Aw%2Frd%2541@p:1"),
        ("http://joe:p%40ss@p:1", "", "", "http://joe:p%40ss@p:1"),
        ("socks5://j$e:a'b@p", "", "", "socks5://j%24e:a%27b@p"),
        ("https://[2001:db8::1]:3128", "", "", "https://[2001:db8::1]:3128"),
    ],
)
def test_a_proxy_is_written_as_docker_reads_it(text, user, password, url):
    assert proxy.proxy(text, "https_proxy", user, password).url() == url


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("p:3128", "no scheme"),
        ("http://", "no host"),
        ("socks4://p:1", "not supported by Docker"),
        ("http://p:99999", "not a number between 1 and 65535"),
        ("http://p:1 ", "control character"),
        ("http://p:1\nX", "control character"),
        ("http://j:s3cret@x@p:1", "more than one '@'"),
        ("http://j:s3cret%zz@p:1", "two hex digits"),
        ("http://j:s3cret/x@p:1", "'/'"),
        ("http://p:1/path", "a path"),
        ("http://2001:db8::1:3128", "in brackets"),
        ("http://[10.0.0.1]:3128", "not an IPv6 address in brackets"),
        ("http://[2001:db8::1:3128", "not an IPv6 address in brackets"),
        ("http://[2001:db8::1]3128", "text other than a port after the bracket"),
        ("http://j:s3cret%0a@p:1", "the user or password contains a control character, which no proxy accepts. Remove it; often it is a newline at the end."),
        ("http://a b:1", "contains a space"),
        ("http://pröxy:1", "is not a host name"),
    ],
)
def test_a_proxy_that_cannot_work_is_refused_without_its_password(text, words):
    with pytest.raises(proxy.ValueRefused) as caught:
        proxy.proxy(text, "https_proxy")
    assert words in str(caught.value) and str(caught.value).startswith("https_proxy: ") and "s3cret" not in str(caught.value)


def test_credentials_stand_in_one_place():
    with pytest.raises(proxy.ValueRefused, match="Use only one of them"):
        proxy.proxy("http://a:b@p:1", "http_proxy", "joe", "x")
    with pytest.raises(proxy.ValueRefused, match="proxy_username is not set"):
        proxy.proxy("http://p:1", "http_proxy", "", "x")


@pytest.mark.parametrize(
    ("text", "engine", "words"),
    [
        ("mirror.lab", "26.1", "needs the scheme"),
        ("https://u:s3cret@m.lab", "28.5", "no credentials"),
        ("https://u:s3cret/x@m.lab", "28.5", "'https://xxxxx:xxxxx@m.lab': Docker sends no credentials"),
        ("u:s3cret/x@m.lab", "28.5", "'xxxxx:xxxxx@m.lab': a mirror URL needs the scheme"),
        ("https://m.lab?x", "28.5", "a query"),
        ("https://m.lab\n", "28.5", "contains a space or newline"),
        ("https://m.lab/hub", "20.10.24", "older than 24.0.8"),
    ],
)
def test_a_mirror_with_which_docker_does_not_start_is_refused(text, engine, words):
    with pytest.raises(proxy.ValueRefused) as caught:
        proxy.mirror(text, engine)
    assert words in str(caught.value) and "s3cret" not in str(caught.value)


def test_a_mirror_may_have_a_path_where_the_engine_takes_it():
    assert proxy.mirror("https://m.lab/hub", "24.0.8") == "https://m.lab/hub"


# Asked of real daemons: extensions/molecule/docker_daemon_proxy/tests/test_values.py.
SEEN = json.loads((Path(__file__).parents[4] / "field" / "no_proxy.json").read_text())


@pytest.mark.parametrize("row", SEEN, ids=lambda row: f"{row['entry']} {row['url']}")
def test_an_exception_means_what_real_daemons_take_it_for(row):
    parts = urlsplit(row["url"])
    assert proxy.bypasses(row["entry"], parts.hostname, parts.port or 443) is row["direct"]


@pytest.mark.parametrize("entry", sorted({row["entry"] for row in SEEN}))
def test_exceptions_that_real_daemons_do_not_understand_are_warned_of_and_no_others(entry):
    understood = all(row["understood"] for row in SEEN if row["entry"] == entry)
    assert len(proxy.no_proxy_warnings([entry])) == (not understood)


NETWORK = "Write a network, such as 192.168.0.0/16."
DOMAIN = "Write a domain with its subdomains as 'example.com', only its subdomains as '.example.com'."
STAR = f"a '*' is allowed only before a whole domain, as in '*.example.com'. {DOMAIN}"


MISREAD = [
    ("192.168.*", f"it is an incomplete address. {NETWORK}"),
    ("10.", f"it is an incomplete address. {NETWORK}"),
    ("2001:db8:*", f"it is an incomplete address. {NETWORK}"),
    ("10.0.0.1-10.0.0.9", f"it is an address range. {NETWORK}"),
    ("10.0.0.0/255.0.0.0", "it has a netmask. Write 10.0.0.0/8."),
    ("10.1.2.3/255.0.0.0", "it has a netmask. Write 10.0.0.0/8."),
    ("10.0.0.0/255.0.255.0", f"it is not a network. {NETWORK}"),
    ("10.0.0.0/99", f"it is not a network. {NETWORK}"),
    ("10.0.0.0/8:5000", "a network has no brackets and no port. Write 10.0.0.0/8."),
    ("10.0.0.0/99:5000", NETWORK),
    ("[2001:db8::]/32", "a network has no brackets and no port. Write 2001:db8::/32."),
    ("example.com/v2", "it has a path. Write example.com."),
    ("[2001:db8::1]", "brackets are needed only with a port. Write 2001:db8::1."),
    ("example.com:https", "the port 'https' is not a number. Write example.com:443, or example.com for every port."),
    (":5000", "it has no host. Write host:port."),
    ("<local>", "only Windows programs understand it. Write the hosts, or their domain as '.example.com'."),
    ("*example.com", STAR),
    ("*.", STAR),
    ("a.*.example.com", STAR),
    ("${REGISTRY_URL}", "it is the name of a variable, which nothing replaces. Write its value."),
    ("$no_proxy", "it is the name of a variable, which nothing replaces. Write its value."),
    (r"^a.*$", f"it looks like a regular expression. {DOMAIN}"),
    ("example.com.", f"it has an extra dot. {DOMAIN}"),
    ("..example.com", f"it has an extra dot. {DOMAIN}"),
    ("fe80::1%eth0/64", "it has a path. Write fe80::1%eth0."),
]


@pytest.mark.parametrize(("entry", "why"), MISREAD)
def test_exceptions_that_docker_does_not_understand_are_named_with_the_mend(entry, why):
    assert proxy.no_proxy_warnings(["example.com", entry]) == [f"no_proxy: Docker does not understand '{entry}': {why}"]


def test_each_kind_of_warning_was_asked_of_real_daemons():
    def kinds(entries):
        warnings = (warning for entry in entries for warning in proxy.no_proxy_warnings([entry]))
        return {re.sub(r"'[^']*'|Write .*", "…", warning) for warning in warnings}

    assert kinds(entry for entry, _why in MISREAD) - kinds(row["entry"] for row in SEEN) == set()


@pytest.mark.parametrize(
    "entry",
    [
        "localhost",
        ".example.com",
        "*.example.com",
        "*",
        "10.0.0.0/8",
        "10.1.2.3/8",
        "10.0.0.1",
        "h:5000",
        "::1",
        "2001:db8::/32",
        "[::1]:5000",
        "a-1.lab",
        "cafe",
    ],
)
def test_exceptions_that_docker_understands_are_not(entry):
    assert proxy.no_proxy_warnings([entry]) == []


def test_exceptions_are_a_set():
    assert proxy.no_proxy([" a,b", "a"]) == ("a", "b")
    assert proxy.no_proxy_set("B, a") == proxy.no_proxy_set("a,b")


@pytest.mark.parametrize("entry", ["a\nHTTP_PROXY=x", "a\ud800"], ids=["two lines", "half a character"])
def test_an_exception_with_a_character_that_no_host_name_has_is_refused(entry):
    with pytest.raises(proxy.ValueRefused) as refused:
        proxy.no_proxy([entry])
    assert str(refused.value) == (
        f"no_proxy: the entry {entry!r} contains a space, a quote or another character that cannot be in a host name. "
        "Write one host, domain, address or network per entry."
    )


@pytest.mark.parametrize(
    ("exceptions", "host", "port", "direct"),
    [
        ("example.com", "example.com", 443, True),
        ("Example.COM", "m.example.com", 443, True),
        (".example.com", "m.example.com", 443, True),
        ("*.example.com", "m.example.com", 443, True),
        (".example.com", "example.com", 443, False),
        ("example.com", "notexample.com", 443, False),
        ("m.lab:443", "m.lab", 443, True),
        ("m.lab:443", "m.lab", 5000, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "m.lab", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("10.1.2.3:443", "10.1.2.3", 5000, False),
        ("[2001:db8::1]:443", "2001:db8::1", 443, True),
        ("a, *", "m.lab", 443, True),
        ("", "localhost", 443, True),
        ("", "127.0.0.1", 5000, True),
        ("", "m.lab", 443, False),
    ],
)
def test_an_exception_means_what_it_means_to_go(exceptions, host, port, direct):
    assert proxy.bypasses(exceptions, host, port) is direct


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.0/33", "'10.0.0.0/33': it is not a network. Write it as 10.0.0.0/8."),
        ("10.0.0.0/255.0.0.0", "'10.0.0.0/255.0.0.0': it has a netmask. Write 10.0.0.0/8."),
        ("192.168.7.1/255.255.0.0", "'192.168.7.1/255.255.0.0': it has a netmask. Write 192.168.0.0/16."),
        ("10.0.0.0/0.0.0.1.1", "'10.0.0.0/0.0.0.1.1': it is not a network. Write it as 10.0.0.0/8."),
        ("m.lab/hub", "'m.lab/hub': it is not a network. Write it as 10.0.0.0/8."),
        ("http://m.lab/hub", "'http://m.lab/hub': it has a path. Write http://m.lab."),
        ("ftp://m.lab", "'ftp://m.lab': Docker does not support the scheme. Write http://host:port, https://host:port or host:port."),
        ("http://joe:s3cret@m.lab", "'http://xxxxx:xxxxx@m.lab': it contains a login, which Docker does not accept here. Write only the host."),
        ("joe:s3/cret@m.lab", "'xxxxx:xxxxx@m.lab': it contains a login, which Docker does not accept here. Write only the host."),
        ("http://joe:s3/cret@m.lab", "'http://xxxxx:xxxxx@m.lab': it contains a login, which Docker does not accept here. Write only the host."),
        ("m_lab:x", "'m_lab:x': the port 'x' is not a number between 1 and 65535. Write it as scheme://host:3128."),
        pytest.param(
            f"m.lab:{'9' * 5000}",
            f"'m.lab:{'9' * 5000}': the port '{'9' * 5000}' is not a number between 1 and 65535. Write it as scheme://host:3128.",
            id="more digits than Python reads",
        ),
    ],
)
def test_a_registry_that_is_none_is_refused(text, message):
    with pytest.raises(proxy.ValueRefused) as caught:
        proxy.insecure_registry(text)
    assert str(caught.value) == f"insecure_registries: {message}"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("m.lab", "m.lab"),
        ("m.lab:5000", "m.lab:5000"),
        ("http://m.lab:5000", "http://m.lab:5000"),
        ("HTTPS://m.lab/", "https://m.lab"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("[2001:db8::1]:5000", "[2001:db8::1]:5000"),
    ],
)
def test_a_registry_without_a_certificate_is_a_host_a_url_or_a_network(text, written):
    assert proxy.insecure_registry(text) == written


@pytest.mark.parametrize(("entry", "registry"), [("http://m:5000/", "m:5000"), ("HTTPS://m", "m"), ("m:5000", "m:5000"), ("10.0.0.0/8", "10.0.0.0/8")])
def test_the_registry_of_an_entry(entry, registry):
    assert proxy.registry_address(entry) == registry


@pytest.mark.parametrize(
    ("text", "expected"), [("172.26.0.1/16", True), ("2001:db8::1/64", True), ("172.26.0.1", False), ("172.26.0.1/99", False), ("x", False)]
)
def test_an_interface_is_an_address_with_its_length(text, expected):
    assert proxy.is_interface(text) is expected


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://p", ("p", 80)),
        ("https://p", ("p", 443)),
        ("socks5://p", ("p", 1080)),
        ("https://p:3128", ("p", 3128)),
        ("https://[2001:db8::1]", ("2001:db8::1", 443)),
        ("https://[2001:db8::1]:3128", ("2001:db8::1", 3128)),
    ],
)
def test_where_a_proxy_is_reached(url, server):
    assert proxy.proxy(url, "https_proxy").server() == server


@pytest.mark.parametrize(
    ("text", "expected"), [("10.1.2.3/8", True), ("10.0.0.0/8", False), ("2001:db8::1/32", True), ("2001:DB8::/32", False), ("m.lab", False)]
)
def test_a_network_may_be_named_by_an_address_in_it(text, expected):
    assert proxy.has_host_bits(text) is expected


# Seen on 20.10.24, 26.1.5 and 28.5.2 (extensions/molecule/registry_cache/tests).
@pytest.mark.parametrize(
    ("insecure", "engine", "works"),
    [
        ([], "20.10.24", False),
        ([], "26.1.5", False),
        ([], "28.5.2", True),
        (["m:5001"], "20.10.24", False),
        (["m:5001"], "26.1.5", True),
        (["https://m:5001"], "20.10.24", False),
        (["https://m:5001"], "26.1.5", True),
        (["http://m:5001"], "20.10.24", True),
        (["http://m:5001/"], "26.1.5", True),
        (["m:5001", "http://m:5001"], "20.10.24", True),
        (["10.0.0.0/8"], "20.10.24", False),
        (["10.0.0.0/8"], "26.1.5", False),
        (["n:5001"], "26.1.5", False),
    ],
)
def test_where_buildkit_uses_a_mirror_without_tls(insecure, engine, works):
    assert proxy.plain_mirror_works("http://m:5001/", insecure, engine) is works
