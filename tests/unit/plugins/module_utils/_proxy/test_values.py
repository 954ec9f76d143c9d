# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

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
        ("socks4://p:1", "unknown to Docker"),
        ("http://p:99999", "no number from 1 to 65535"),
        ("http://p:1 ", "control character"),
        ("http://p:1\nX", "control character"),
        ("http://j:s3cret@x@p:1", "more than one '@'"),
        ("http://j:s3cret%zz@p:1", "two hex digits"),
        ("http://j:s3cret/x@p:1", "'/'"),
        ("http://p:1/path", "a path"),
        ("http://2001:db8::1:3128", "in brackets"),
        ("http://[10.0.0.1]:3128", "no IPv6 address in brackets"),
        ("http://[2001:db8::1:3128", "no IPv6 address in brackets"),
        ("http://[2001:db8::1]3128", "something other than a port after the bracket"),
        ("http://j:s3cret%0a@p:1", "control character, which no proxy can take"),
        ("http://a b:1", "a blank"),
        ("http://pröxy:1", "is no host name"),
    ],
)
def test_a_proxy_that_cannot_work_is_refused_without_its_password(text, words):
    with pytest.raises(proxy.ValueRefused) as caught:
        proxy.proxy(text, "https_proxy")
    assert words in str(caught.value) and str(caught.value).startswith("https_proxy: ") and "s3cret" not in str(caught.value)


def test_credentials_stand_in_one_place():
    with pytest.raises(proxy.ValueRefused, match="Give them in one place"):
        proxy.proxy("http://a:b@p:1", "http_proxy", "joe", "x")
    with pytest.raises(proxy.ValueRefused, match="no proxy_username"):
        proxy.proxy("http://p:1", "http_proxy", "", "x")


@pytest.mark.parametrize(
    ("text", "engine", "words"),
    [
        ("mirror.lab", "26.1", "needs the scheme"),
        ("https://u:s3cret@m.lab", "28.5", "no credentials"),
        ("https://m.lab?x", "28.5", "a query"),
        ("https://m.lab\n", "28.5", "a blank or newline"),
        ("https://m.lab/hub", "20.10.24", "below 24.0.8"),
    ],
)
def test_a_mirror_with_which_docker_does_not_start_is_refused(text, engine, words):
    with pytest.raises(proxy.ValueRefused) as caught:
        proxy.mirror(text, engine)
    assert words in str(caught.value) and "s3cret" not in str(caught.value)


def test_a_mirror_may_have_a_path_where_the_engine_takes_it():
    assert proxy.mirror("https://m.lab/hub", "24.0.8") == "https://m.lab/hub"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("192.168.*", "Write a network, such as"),
        ("10.", "Write a network, such as"),
        ("*example.com", "Write a domain with its subdomains"),
        (r"^a.*$", "Write a domain with its subdomains"),
        ("^example.com$", "looks like a regular expression"),
        ("10.0.0.0/99", "is no network"),
    ],
)
def test_exceptions_that_docker_does_not_understand_are_named(entry, words):
    (warning,) = proxy.no_proxy_warnings(["example.com", entry])
    assert entry in warning and words in warning


@pytest.mark.parametrize("entry", ["localhost", ".example.com", "*.example.com", "*", "10.0.0.0/8", "10.0.0.1", "h:5000", "::1"])
def test_exceptions_that_docker_understands_are_not(entry):
    assert not proxy.no_proxy_warnings([entry])


def test_exceptions_are_a_set():
    assert proxy.no_proxy([" a,b", "a"]) == ("a", "b")
    assert proxy.no_proxy_set("B, a") == proxy.no_proxy_set("a,b")
    with pytest.raises(proxy.ValueRefused):
        proxy.no_proxy(["a\nHTTP_PROXY=x"])


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
        ("https://m.lab", "insecure_registries: 'https://m.lab' is a URL. Write the host, host:port or network alone."),
        ("10.0.0.0/33", "insecure_registries: '10.0.0.0/33' is no network. Write it as 10.0.0.0/8."),
        ("m.lab/hub", "insecure_registries: 'm.lab/hub' is no network. Write it as 10.0.0.0/8."),
        ("m_lab:x", "insecure_registries: 'm_lab:x': the port 'x' is no number from 1 to 65535."),
    ],
)
def test_a_registry_that_is_none_is_refused(text, message):
    with pytest.raises(proxy.ValueRefused) as caught:
        proxy.insecure_registry(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["m.lab", "m.lab:5000", "10.0.0.0/8", "10.1.2.3/8", "2001:db8::/32", "[2001:db8::1]:5000"])
def test_a_registry_without_a_certificate_is_a_host_or_a_network(text):
    assert proxy.insecure_registry(text) == text


@pytest.mark.parametrize(
    ("text", "expected"), [("172.26.0.1/16", True), ("2001:db8::1/64", True), ("172.26.0.1", False), ("172.26.0.1/99", False), ("x", False)]
)
def test_an_interface_is_an_address_with_its_length(text, expected):
    assert proxy.is_interface(text) is expected
