# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import Secrets
from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Refused
from ansible_collections.buildfleet.docker.plugins.modules import registry_mirror_info

DEFAULTS = {
    "candidates": ["https://good.lab", "https://bad.lab"], "images": None, "bytes": 1024, "timeout": 5, "http_proxy": None, "https_proxy": None,
    "proxy_username": None, "proxy_password": None, "no_proxy": None,
}  # fmt: skip
GOOD = {
    "url": "https://good.lab", "usable": True, "problem": None, "reason": None, "host": None, "message": None, "realm": None, "needs": "nothing",
    "missing": [], "seconds": 0.0, "bytes_per_second": None,
}  # fmt: skip


class Mirrors(MemoryHost):
    """good.lab has images without layers; the other names do not resolve."""

    def __init__(self):
        super().__init__(api={"/info": {"RegistryConfig": {"Mirrors": ["https://good.lab/", "https://old.lab/"]}}})
        self.seen = []

    def http_request(self, url, headers, timeout, method="GET", most=0, proxies=None):
        self.seen.append((method, url, proxies))
        return Answer(200, {}, body=b'{"x": 1}') if "good.lab" in url else Answer(0, {}, "dns")

    def run_parallel(self, calls, timeout):
        assert timeout == 7
        return super().run_parallel(calls, timeout)


class FakeModule:
    check_mode = True

    def __init__(self, **params):
        self.params, self.secrets, self.host, self.warnings = {**DEFAULTS, **params}, Secrets(), Mirrors(), []

    def warn(self, sentence):
        self.warnings.append(sentence)


def test_each_candidate_has_its_result_and_those_that_work_are_listed():
    result = registry_mirror_info.work(FakeModule())
    assert result["mirrors"][0] == GOOD
    assert (result["mirrors"][1]["problem"], result["mirrors"][1]["usable"]) == ("dns", False)
    assert (result["changed"], result["usable"], result["in_use"]) == (False, ["https://good.lab"], ["https://good.lab", "https://old.lab/"])
    assert result["msg"] == "1 of 2 mirrors can be used. https://bad.lab: bad.lab could not be reached (dns)."


@pytest.mark.parametrize(("info", "in_use"), [(None, None), ({}, []), ({"RegistryConfig": {"Mirrors": None}}, [])])
def test_a_daemon_that_does_not_answer_is_no_daemon_without_mirrors(info, in_use):
    module = FakeModule()
    module.host.api["/info"] = info
    assert registry_mirror_info.work(module)["in_use"] == in_use


def test_a_candidate_that_is_late_is_a_timeout():
    module = FakeModule()
    module.host.late = ("https://good.lab",)
    assert registry_mirror_info.work(module)["mirrors"][0]["message"] == "good.lab did not answer within 5 seconds."


@pytest.mark.parametrize(
    ("images", "asked"),
    [
        (None, ["library/busybox/manifests/latest"]),
        (["a/b:1", "ghcr.io/c"], ["a/b/manifests/1", "c/manifests/latest"]),
    ],
)
def test_images_are_asked_for_without_their_registry(images, asked):
    module = FakeModule(candidates=["https://good.lab", "https://good.lab/"], images=images)
    registry_mirror_info.work(module)
    assert [url for method, url, _proxies in module.host.seen if method == "HEAD"] == [f"https://good.lab/v2/{path}" for path in asked]


def test_proxies_get_their_login_and_leave_out_what_no_proxy_names():
    module = FakeModule(
        candidates=["https://good.lab", "https://good.lab.cn", "http://good.lab"],
        https_proxy="http://proxy:3128",
        proxy_username="u",
        proxy_password="p@ss1",
        no_proxy=[".cn"],
    )
    registry_mirror_info.work(module)
    used = {url.partition("/v2")[0]: proxies for _method, url, proxies in module.host.seen}
    assert used == {"https://good.lab": {"https": "http://u:p%40ss1@proxy:3128"}, "https://good.lab.cn": {}, "http://good.lab": {}}
    assert module.secrets.text("p%40ss1") == "xxxxx"


def test_a_socks_proxy_is_used():
    module = FakeModule(https_proxy="socks5://proxy:1080", proxy_username="u", proxy_password="p@ss1")
    registry_mirror_info.work(module)
    assert {str(proxies) for _method, _url, proxies in module.host.seen} == {"{'https': 'socks5://u:p%40ss1@proxy:1080'}"}


def test_a_proxy_that_cannot_be_used_is_rejected_only_where_a_candidate_needs_it():
    module = FakeModule(https_proxy="https://proxy:443", no_proxy=["good.lab"])
    with pytest.raises(Refused) as error:
        registry_mirror_info.work(module)
    assert str(error.value) == (
        "https_proxy: this module cannot use a proxy with https://. Write http://proxy:443 if the proxy accepts plain connections, "
        "or name the candidates that are reached without it in no_proxy."
    )
    module = FakeModule(https_proxy="https://proxy:443", no_proxy=[".lab"])
    assert registry_mirror_info.work(module)["usable"] == ["https://good.lab"]
    assert {str(proxies) for _method, _url, proxies in module.host.seen} == {"{}"}


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"candidates": ["m.lab"]}, "candidates: 'm.lab': a mirror URL needs the scheme https:// (or http://). Write https://host."),
        (
            {"candidates": ["https://u:p@m.lab"]},
            "candidates: 'https://xxxxx:xxxxx@m.lab': Docker sends no credentials to a mirror and does not start with credentials in its URL. "
            "Use a mirror without a login, or rewrite image names with dockerfile_mirror.",
        ),
        ({"images": ["A B"]}, "images: 'A B' is not a valid image name."),
        ({"https_proxy": "proxy:1"}, "https_proxy: the URL has no scheme. Write http://host:port, https://host:port or socks5://host:port."),
        ({"bytes": 0}, "bytes must be at least 1."),
        ({"timeout": 0}, "timeout must be at least 1."),
    ],
)
def test_bad_options_are_named(params, sentence):
    module = FakeModule(**params)
    with pytest.raises(Refused) as refusal:
        registry_mirror_info.work(module)
    assert str(refusal.value) == sentence and module.host.seen == []
