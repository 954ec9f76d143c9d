# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests with the relay and those after undo share: a real Dockerfile, and a web server of the company."""

from __future__ import annotations

import pytest
import table
from build import BUILDER_VARIABLE, CONTEXT, on, write

# Two registries, two downloads from outside (as apt and pip do), and one from a host that is reached without the proxy.
DOCKERFILE = """FROM ghcr.io/lab/tool:1 AS tool
FROM busybox:1
COPY --from=tool /etc/image /tool
RUN wget -qO /apt http://web.lab/ && wget -qO /pip http://web.lab/index.html && grep reached /apt /pip
RUN wget -qO /internal http://{internal}.lab:8000/etc/hostname && test -s /internal
"""
COMPOSE = "services:\n  built:\n    build: .\n    image: proof\n"


@pytest.fixture()
def internal():
    """A web server of the company on another host; each test starts it, because some restart that host."""
    host = list(table.RELAY_HOSTS)[-1]
    serve = "systemd-run --quiet --unit=internal-web python3 -m http.server --directory=/ 8000"
    listens = "for try in $(seq 100); do ss -Hltn sport = :8000 | grep -q . && exit; sleep 0.1; done; exit 1"
    assert on(host, f"{serve} && {listens}").ok
    yield host
    on(host, "systemctl stop internal-web")


@pytest.fixture()
def build_as(internal):
    """`build_as(engine, "legacy")` builds the Dockerfile in a login shell of a user, without images, cache and tokens of earlier builds."""

    def run(engine, builder, user="builder", dockerfile=DOCKERFILE):
        engine.forget()
        write(engine.name, f"{CONTEXT}/Dockerfile", dockerfile.format(internal=internal))
        write(engine.name, f"{CONTEXT}/docker-compose.yml", COMPOSE)
        command = f"docker build --tag proof {CONTEXT}"
        if builder == "compose":
            command = f"cd {CONTEXT} && if docker compose version >/dev/null 2>&1; then docker compose build; else docker-compose build; fi"
        variable = "".join(f"{name}={value} " for name, value in BUILDER_VARIABLE.get(builder, {}).items())
        return on(engine.name, f'su - {user} -c "export {variable or "X=1"}; {command}"')

    return run
