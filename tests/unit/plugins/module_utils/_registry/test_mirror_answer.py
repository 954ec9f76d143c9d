# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirror_answer import mirror_problem
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Mirror

URL = "https://m.lab"
LOGIN = (
    "https://m.lab requires a login (status 401), and Docker sends no credentials to a mirror. "
    "Use a mirror without a login, or rewrite image names with dockerfile_mirror."
)
PAGE = "https://m.lab answers with a web page, not as a registry, so Docker does not use it. Write the URL of the registry itself."


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param({"status": 200}, "", id="a registry"),
        pytest.param({"status": 401, "realm": "https://m.lab/token"}, "", id="its own token server"),
        pytest.param(
            {"status": 401, "realm": "https://auth.docker.io/token"},
            "https://m.lab sends clients to the token server auth.docker.io, so daemon and client must reach that server too. "
            "Use a mirror that serves images without a token (role registry_cache), or give both a proxy (docker_build_env for the client).",
            id="the token server of others",
        ),
        pytest.param({"status": 401}, LOGIN, id="a login"),
        pytest.param({"status": 401, "realm": "Registry"}, LOGIN, id="a login by password"),
        pytest.param({"status": 200, "reason": "html page"}, PAGE, id="a page"),
        *(
            pytest.param(
                {"status": status},
                f"https://m.lab answers status {status} at /v2/, so Docker does not use it. Write the URL of a registry that answers there.",
                id=str(status),
            )
            for status in (400, 402, 403, 404, 502)
        ),
        pytest.param({"status": 0, "reason": "dns"}, "", id="no answer"),
    ],
)
def test_what_a_mirrors_answer_means(answer, problem):
    assert mirror_problem(Mirror(URL, **answer)) == problem
