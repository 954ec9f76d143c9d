# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests through a SOCKS5 proxy that runs here and answers what a test tells it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer
from ansible_collections.buildfleet.docker.plugins.module_utils._host import socks, web_host
from ansible_collections.buildfleet.docker.plugins.module_utils._host.web_host import WebHost

PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhere"
IPV4, IPV6, NAME = b"\x01\x7f\x00\x00\x01\x00\x50", b"\x04" + bytes(18), b"\x03\x01x\x00\x50"
CONNECTED = b"\x05\x00\x00"


@contextlib.contextmanager
def proxy(*answers):
    """A proxy that gives these answers in turn, each after it was sent something, and keeps what it was sent."""
    server = socket.create_server(("127.0.0.1", 0))
    sent = []

    def serve():
        with contextlib.suppress(OSError):
            client = server.accept()[0]
            with client:
                for answer in answers:
                    sent.append(client.recv(4096))
                    client.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}", sent
    finally:
        server.close()
        thread.join(5)


def asked(url, address, login="", timeout=5.0):
    return WebHost().http_request(url, {}, timeout, most=10, proxies={url.partition(":")[0]: f"socks5://{login}{address}"})


@pytest.mark.parametrize("bound", [IPV4, IPV6, NAME], ids=["ipv4", "ipv6", "name"])
def test_the_proxy_is_told_the_name_and_connects(bound):
    with proxy(b"\x05\x00", CONNECTED + bound, PAGE) as (address, sent):
        answer = asked("http://m.lab/v2/", address)
    assert (answer.status, answer.body) == (200, b"here")
    assert sent[:2] == [b"\x05\x01\x00", b"\x05\x01\x00\x03\x05m.lab\x00\x50"]
    assert sent[2].startswith(b"GET /v2/ HTTP/1.1\r\n") and b"Host: m.lab\r\n" in sent[2]


@pytest.mark.parametrize(("host", "told"), [("10.1.2.3", b"\x01\x0a\x01\x02\x03"), ("[2001:db8::1]", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01")])
def test_an_address_is_told_as_one(host, told):
    with proxy(b"\x05\x00", CONNECTED + IPV4, PAGE) as (address, sent):
        assert asked(f"http://{host}:8080/", address).status == 200
    assert sent[1] == b"\x05\x01\x00" + told + b"\x1f\x90"


@pytest.mark.parametrize(("login", "method", "accepted", "reason"), [
    ("u:p%40ss@", 2, 0, ""), ("u:p%40ss@", 2, 1, "proxy status 407"), ("u:p%40ss@", 0, 0, ""), ("", 255, 0, "proxy status 407"), ("", 2, 0, "proxy status 407"),
])  # fmt: skip
def test_a_login_is_given_where_it_is_wanted(login, method, accepted, reason):
    answers = [bytes([5, method]), *([bytes([1, accepted])] if login and method == 2 else []), CONNECTED + IPV4, PAGE]
    with proxy(*answers) as (address, sent):
        answer = asked("http://m.lab/", address, login)
    assert (answer.status, answer.reason) == ((0, reason) if reason else (200, ""))
    assert sent[0] == (b"\x05\x02\x00\x02" if login else b"\x05\x01\x00")
    assert (b"\x01\x01u\x04p@ss" in sent) == (bool(login) and method == 2)


@pytest.mark.parametrize(("answers", "reason"), [
    ((b"\x05\x00", b"\x05\x02\x00\x01"), "proxy says connection not allowed by ruleset"),
    ((b"\x05\x00", b"\x05\x04\x00\x01"), "proxy says host unreachable"),
    ((b"\x05\x00", b"\x05\x63\x00\x01"), "proxy says error 99"),
    ((b"HT",), "proxy tls"),
    ((b"\x05",), "proxy reset"),
])  # fmt: skip
def test_a_proxy_that_does_not_connect_is_told_from_a_mirror_that_does_not_answer(answers, reason):
    with proxy(*answers) as (address, _sent):
        assert asked("http://m.lab/", address) == Answer(0, {}, reason)


def test_a_proxy_that_does_not_answer_is_told_from_a_mirror_that_does_not():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert asked("http://m.lab/", f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.2) == Answer(0, {}, "proxy timeout")


@pytest.mark.parametrize(("error", "reason"), [
    (socket.gaierror(), "proxy dns"), (ConnectionRefusedError(), "proxy refused"), (socket.timeout(), "proxy timeout"), (OSError(), "proxy no route"),
])  # fmt: skip
def test_a_proxy_that_is_not_reached(monkeypatch, error, reason):
    def refuse(*_arguments):
        raise error

    monkeypatch.setattr(socks.socket, "create_connection", refuse)
    assert asked("http://m.lab/", "p.lab") == Answer(0, {}, reason)


def test_tls_is_spoken_with_the_mirror_and_not_with_the_proxy(monkeypatch):
    names = []

    class Context(ssl.SSLContext):
        def wrap_socket(self, sock, server_hostname=None, **_keywords):
            names.append(server_hostname)
            return sock

    monkeypatch.setattr(web_host, "_authorities", lambda: Context(ssl.PROTOCOL_TLS_CLIENT))
    with proxy(b"\x05\x00", CONNECTED + IPV4, PAGE) as (address, sent):
        assert asked("https://m.lab/", address).body == b"here"
    assert names == ["m.lab"] and sent[1].endswith(b"m.lab\x01\xbb")
