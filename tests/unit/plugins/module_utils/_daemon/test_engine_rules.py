# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each row was tried with real engines: 20.10.24, 26.1.5 and 28.5.2."""

from __future__ import annotations

import json

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import engine_rules
from ansible_collections.buildfleet.docker.plugins.module_utils._formats.json_file import Document

# The long flags of 20.10's --help.
FLAGS_20 = """
add-host add-runtime allow-nondistributable-artifacts api-cors-header authorization-plugin bip bridge cgroup-parent config-file containerd
containerd-namespace containerd-plugins-namespace cpu-rt-period cpu-rt-runtime cri-containerd data-root debug default-address-pool default-cgroupns-mode
default-gateway default-gateway-v6 default-ipc-mode default-runtime default-shm-size default-ulimit dns dns-opt dns-search exec-opt exec-root experimental
fixed-cidr fixed-cidr-v6 group help host host-gateway-ip icc init init-path insecure-registry ip ip-forward ip-masq ip6tables iptables ipv6 label
live-restore log-driver log-level log-opt max-concurrent-downloads max-concurrent-uploads max-download-attempts metrics-addr mtu network-control-plane-mtu
no-new-privileges node-generic-resource oom-score-adjust pidfile raw-logs registry-mirror rootless seccomp-profile selinux-enabled shutdown-timeout
storage-driver storage-opt swarm-default-advertise-addr tls tlscacert tlscert tlskey tlsverify userland-proxy userland-proxy-path userns-remap version
"""
USAGE_20 = "\n".join(f"      --{flag} string" for flag in FLAGS_20.split())


def document(text):
    return Document((text if isinstance(text, str) else json.dumps(text)).encode(), "/etc/docker/daemon.json")


@pytest.mark.parametrize(
    ("value", "unknown"),
    [
        pytest.param({"default-ulimits": {"nofile": {"Name": "nofile", "Hard": 64000, "Soft": 64000}}}, [], id="ulimits"),
        pytest.param({"node-generic-resources": ["NVIDIA-GPU=x"]}, [], id="generic resources"),
        pytest.param({"default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1450"}}}, [], id="an object is opened, and bridge is a flag"),
        pytest.param({"default-network-opts": {"overlay": {}}}, ["overlay"], id="an object is opened, and overlay is none"),
        pytest.param({"foo": {"debug": True}}, [], id="any object is opened"),
        pytest.param({"features": {"buildkit": True}, "builder": {"gc": {"enabled": True}}, "log-opts": {"max-size": "1m"}}, [], id="objects of its own"),
        pytest.param({"runtimes": {"nvidia": {"path": "x"}}, "labels": [], "hosts": [], "storage-opts": [], "dns-opts": []}, [], id="other names"),
        pytest.param({"graph": "/x", "cluster-store": "x", "deprecated-key-path": "/x"}, [], id="flags that --help hides"),
        pytest.param({"min-api-version": "1.24", "log-format": "json"}, ["min-api-version", "log-format"], id="newer keys"),
        pytest.param({"Debug": True}, ["Debug"], id="capitals"),
        pytest.param({"proxies": {"http-proxy": "http://x"}}, [], id="proxies have a rule of their own"),
    ],
)
def test_keys_that_20_10_does_not_know(value, unknown):
    assert engine_rules.unknown_keys(document(value), USAGE_20) == unknown


def test_an_engine_that_says_nothing_about_its_flags_knows_every_key():
    assert engine_rules.unknown_keys(document({"nosuch": 1}), "dockerd: not found") == []


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("the following directives don't match any configuration option: b", "'b' is in /etc/docker/daemon.json, line 2, column 2"),
        ("file x: the following directives don't match any configuration option: c, a\n",
         "'c' is in /etc/docker/daemon.json, line 3, column 8; 'a' is in /etc/docker/daemon.json, line 1, column 2"),
        ("the following directives don't match any configuration option: elsewhere", "'elsewhere' is in /etc/docker/daemon.json, line 1, column 1"),
        ("failed to start metrics server: listen tcp 192.168.1.40:9323: bind", "'m' is in /etc/docker/daemon.json, line 4, column 2"),
        ("failed to start daemon", ""),
        ("cannot unmarshal string into Go struct field Config.features.x of type bool", ""),
    ],
)  # fmt: skip
def test_the_place_of_a_key_that_the_engine_names(words, place):
    assert engine_rules.places(words, document('{"a": 1,\n "b": 2,\n "o": {"c": 3},\n "m": "192.168.1.40:9323", "short": "tcp"}')) == place


@pytest.mark.parametrize(
    ("message", "key"),
    [
        ("insecure registry h.example.com/ is not valid", "insecure-registries"),
        ("error initializing graphdriver: overlay2: unknown option overlay2.override_kernel_check: overlay2", "storage-opts"),
        ("error initializing graphdriver: overlay2: not supported", "storage-driver"),
        ("error initializing graphdriver: driver not supported", "storage-driver"),
        ("insecure registry * is not valid: invalid host", "insecure-registries"),
        ("json: cannot unmarshal number 1e1 into Go struct field Config.CommonConfig.max-concurrent-downloads of type int", "max-concurrent-downloads"),
        ("invalid JSON: json: cannot unmarshal array into Config.labels.0 of type string", "labels"),
        ("error obtaining controller instance: invalid pools size: 16", "default-address-pools"),
        ("failed to allocate gateway (172.26.0.0): Address already in use", "bip"),
    ],
)
def test_the_place_of_a_list_whose_entry_the_engine_repeats(message, key):
    text = '{"storage-driver": "overlay2", "storage-opts": ["overlay2.override_kernel_check=true"], "insecure-registries": ["r", 1, "h.example.com/"], '
    text += '"max-concurrent-downloads": 1e1, "labels": [[]], "default-address-pools": [], "bip": "172.26.0.0/16"}'
    assert engine_rules.places(message, document(text)).startswith(f"'{key}' is in /etc/docker/daemon.json, line 1, ")


def test_words_about_keys_are_the_engines_own():
    assert engine_rules.unknown_keys_error(["a", "b"]) == "the following directives don't match any configuration option: a, b"
    assert engine_rules.unknown_keys_error([]) == ""


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("https://a.example.com", ""),
        ("HTTPS://A.example.com", ""),
        ("https://你的域名", ""),
        ("https://-x_.example.com", ""),
        ("https://<id>.example.com", ""),
        ("https://", ""),
        ("https:///", ""),
        ("https://a.example.com:99999", ""),
        ("https://[::1]:5000/", ""),
        ("https://a.example.com/?", ""),
        ("a.example.com", "it has no scheme http:// or https://"),
        ("", "it has no scheme http:// or https://"),
        (" https://a.example.com", "it has no scheme http:// or https://"),
        ("<https://a.example.com>", "it has no scheme http:// or https://"),
        ("ftp://a.example.com", "it has no scheme http:// or https://"),
        ("https://u:p@a.example.com", "it contains a user or password"),
        ("https://a b.example.com", "it is not a valid URL"),
        ("https://a.example.com ", "it is not a valid URL"),
        ("https://a.example.com:abc", "it is not a valid URL"),
        ("https://a.example.com/%zz", "it is not a valid URL"),
        ("https://a.example.com?x=1", "it contains a query or fragment"),
        ("https://a.example.com#x", "it contains a query or fragment"),
    ],
)
def test_mirrors_with_which_every_engine_starts_or_none(text, error):
    assert {engine_rules.mirror_error(text, engine) for engine in ("20.10.24", "26.1.5", "28.5.2")} == {error}


@pytest.mark.parametrize("text", ["https://a.example.com/p", "https://a.example.com//"])
def test_a_path_of_a_mirror_is_known_to_newer_engines(text):
    assert engine_rules.mirror_error(text, "20.10.24") == "it contains a path, which engines accept from 24.0.8"
    assert engine_rules.mirror_error(text, "26.1.5") == ""


@pytest.mark.parametrize(
    ("contents", "old", "new"),
    [
        pytest.param(b'{"live-restore": true}\n{"debug": true}', True, False, id="two objects"),
        pytest.param(b'{"live-restore": true} nonsense', True, False, id="something after the object"),
        pytest.param(b'{"debug": false, "debug": true}', True, True, id="a key twice"),
        pytest.param(b"{'debug': true}", False, False, id="single quotes"),
        pytest.param(b'["debug"]', False, False, id="no object"),
        pytest.param(b"[" * 100_000, False, False, id="too deep"),
        pytest.param(b"null null", True, False, id="null twice"),
        pytest.param(b"nullx", True, False, id="something after null"),
        pytest.param(b"true", False, False, id="a word"),
        pytest.param(b'{"mtu": NaN}', False, False, id="no number"),
        pytest.param(b"{}\x00", True, False, id="a NUL at the end"),
        pytest.param(b'{"labels": ["caf\xe9=1"]}', True, False, id="latin-1"),
        pytest.param(b'\xef\xbb\xbf{"debug": false, "debug": true}', False, True, id="a byte order mark"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbf{}", False, False, id="two byte order marks"),
        pytest.param("\ufeff{}".encode("utf-16-le"), False, True, id="UTF-16, little-endian"),
        pytest.param("\ufeff{}".encode("utf-16-be"), False, True, id="UTF-16, big-endian"),
        pytest.param("{}".encode("utf-16-be"), False, False, id="UTF-16 without a byte order mark"),
        pytest.param("\ufeff{}".encode("utf-32-le"), False, False, id="UTF-32"),
        pytest.param(b"{}\n\x0c", True, True, id="a form feed at the end"),
        pytest.param(b"\x0c", False, True, id="a form feed alone"),
        pytest.param("\u00a0{}\u3000".encode(), False, True, id="blanks that JSON does not have around it"),
        pytest.param("{\u00a0}".encode(), False, False, id="such a blank inside"),
        pytest.param("\u200b{}".encode(), False, False, id="an invisible character before it"),
        pytest.param(b"\x1c{}", False, False, id="a separator before it, which Python takes for a blank"),
    ],
)
def test_files_that_an_engine_reads_and_we_do_not(contents, old, new):
    assert (engine_rules.reads_json(contents, "20.10.24"), engine_rules.reads_json(contents, "26.1.5")) == (old, new)
