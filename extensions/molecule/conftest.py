# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of all scenarios' tests."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Callable, Iterator, Mapping

import pytest
import testinfra
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

LAB = Path(__file__).resolve().parent / "lab"
INVENTORY = Path(os.environ.get("BUILDFLEET_INVENTORY", LAB.parent / "inventory" / "hosts.yml"))
PLACES = "/etc/docker /etc/systemd/system /etc/environment /etc/profile.d /etc/buildfleet /var/lib/buildfleet"
sys.path.insert(0, str(LAB))

import build as lab_build  # noqa: E402
import table  # noqa: E402


def lab(*arguments: str) -> str:
    """Run lab.py: `lab("wall", "drop")`, `lab("log", "proxy", "--since", "10s")`."""
    return subprocess.run([sys.executable, str(LAB / "lab.py"), *arguments], check=True, capture_output=True, text=True).stdout


def without_molecule() -> dict[str, str]:
    """The environment without the colours and callbacks that Molecule sets for Ansible."""
    kept = ("ANSIBLE_HOME", "ANSIBLE_COLLECTIONS_PATH")
    plain = {name: value for name, value in os.environ.items() if name in kept or not name.startswith(("ANSIBLE_", "PY_COLORS"))}
    return {**plain, "ANSIBLE_NOCOLOR": "true"}


def ansible(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run an Ansible command and keep its output as a user sees it. A module alone gets pipelining here; the playbooks set it themselves."""
    pipelining = {} if command[0] == "ansible-playbook" else {"ANSIBLE_PIPELINING": "true"}
    return subprocess.run(command, env={**without_molecule(), **pipelining}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


class Engine:
    """One host of the lab. `host` is testinfra's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.host = testinfra.get_host(f"docker://{name}")

    @property
    def version(self) -> str:
        return str(self.host.check_output("docker version --format '{{.Server.Version}}'"))

    @property
    def store(self) -> str:
        """The image store, as `SUITE+STORE` in lab/table.py says it."""
        return "containerd" if "io.containerd.snapshotter" in self.host.check_output("docker info --format '{{.DriverStatus}}'") else "graphdriver"

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    def build(
        self, builder: str = "buildkit", image: str = "busybox:1", env: Mapping[str, str] | None = None, login: str = "", clean: bool = True
    ) -> lab_build.Outcome:
        """A build or a pull from a clean state (without images, cache and tokens) unless `clean` is false."""
        return lab_build.build(self.name, builder, image, env, login, clean)

    def module(self, name: str, /, *flags: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a module of the collection on this host from the controller, as a user would."""
        arguments = ["-a", json.dumps(options)] if options else []
        return ansible(["ansible", self.name, f"--inventory={INVENTORY}", *flags, "-m", f"buildfleet.docker.{name}", *arguments])

    def play(self, path: Path) -> subprocess.CompletedProcess[str]:
        """Run a playbook of a test on this host."""
        return ansible(["ansible-playbook", f"--inventory={INVENTORY}", f"--limit={self.name}", str(path)])

    def forget(self) -> None:
        assert lab_build.forget(self.name), "dockerd does not start again"

    def restart(self) -> bool:
        return lab_build.restart(self.name)

    def reset(self) -> None:
        """Reset the host to its original state, behind the firewall."""
        lab("reset", self.name)

    def write(self, file: str, content: str) -> None:
        lab_build.write(self.name, file, content)


SEED = os.environ.get("BUILDFLEET_SEED", "1")
EVERYTHING = os.environ.get("BUILDFLEET_SAMPLE") == "all"


def pytest_report_header() -> list[str]:
    size = "all tests, no sample" if EVERYTHING else f"samples with BUILDFLEET_SEED={SEED}; BUILDFLEET_SAMPLE=all runs everything"
    return [size, *table.NOT_RUN]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a module with SAMPLE = n, only n tests run, each kind once if possible."""
    kept = set(items)
    for module in {item.getparent(pytest.Module) for item in items}:
        size = 0 if EVERYTHING else getattr(module.obj, "SAMPLE", 0)
        if size:
            own = [item for item in items if item.getparent(pytest.Module) is module]
            kept -= set(own) - set(sample(own, size))
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


class ByHost(LoadScopeScheduling):
    """Where a scenario's tests run in several processes, those of one host run in one of them. --dist=loadgroup needs a pytest older than 9.2."""

    def _split_scope(self, nodeid: str) -> str:
        values = nodeid.partition("[")[2]
        return next((host for host in table.HOSTS if host in values), "other hosts")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByHost:
    return ByHost(config, log)


@pytest.fixture(autouse=True)
def alone_if_it_uses_all_hosts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test of one engine, or of hosts that it starts itself, may run beside others; every other test may use all hosts and runs alone."""
    one_host = {"engine", "own_hosts"} & set(request.fixturenames)
    with (tmp_path_factory.getbasetemp().parent / "hosts.lock").open("w") as lock:  # the folder that all processes share
        fcntl.flock(lock, fcntl.LOCK_SH if one_host else fcntl.LOCK_EX)
        yield


def parameters(item: pytest.Item) -> Mapping[str, object]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def host(item: pytest.Item) -> object:
    return parameters(item).get("engine", "")


def sample(items: list[pytest.Item], size: int) -> list[pytest.Item]:
    """Each kind once if possible, and not more on one host than its share: hosts are tested at the same time, so the one with most tests ends last."""
    shuffled = sorted(items, key=lambda item: random.Random(SEED + item.name).random())
    kinds: dict[object, list[pytest.Item]] = {}
    for item in shuffled:
        others = {name: value for name, value in parameters(item).items() if name not in ("engine", "builder")}
        kinds.setdefault((item.originalname, str(others)), []).append(item)
    share = -(-size // len({host(item) for item in items}))
    chosen: list[pytest.Item] = []
    tests_of_host: Counter[object] = Counter()

    def choose(among: list[pytest.Item]) -> None:
        item = next((item for item in among if tests_of_host[host(item)] < share), among[0])
        tests_of_host[host(item)] += 1
        chosen.append(item)

    for one_kind in kinds.values():
        choose(one_kind)
    while len(chosen) < min(size, len(items)):
        choose([item for item in shuffled if item not in chosen])
    return chosen[:size]


@pytest.fixture()
def plain_environment() -> dict[str, str]:
    return without_molecule()


@pytest.fixture(params=table.HOSTS)
def engine(request: pytest.FixtureRequest) -> Engine:
    return Engine(request.param)


@pytest.fixture(scope="session")
def own_hosts() -> Iterator[Callable[..., list[Engine]]]:
    """`own_hosts(web01="trixie")` starts clean hosts for one test, which are removed when the tests end."""
    started: list[str] = []

    def start(**suites: str) -> list[Engine]:
        started.extend(suites)
        subprocess.run(["docker", "rm", "--force", "--volumes", *suites], check=False, capture_output=True)
        lab("up", "--hosts", ",".join(f"{name}={suite}" for name, suite in suites.items()))
        return [Engine(name) for name in suites]

    yield start
    if started:
        subprocess.run(["docker", "rm", "--force", "--volumes", *started], check=True, capture_output=True)


@pytest.fixture(scope="session")
def another_host(own_hosts: Callable[..., list[Engine]]) -> Callable[[str], Engine]:
    """`another_host("sysvinit")` starts a host of table.OTHER_HOSTS."""
    return lambda name: own_hosts(**{name: table.OTHER_HOSTS[name]})[0]


@pytest.fixture(scope="session")
def state() -> Callable[[str], dict[str, str]]:
    """`state("web01")`: mode, owner, digest and time of every file that a run could change, and the start time of the daemon, under the name `daemon`."""
    files = f"find {PLACES} -type f -printf '%p %M %u:%g %T@ ' -exec md5sum {{}} \\;"
    daemon = "systemctl show docker -p ExecMainStartTimestampMonotonic --value | sed 's/^/daemon /'"

    def seen(name: str) -> dict[str, str]:
        rows = Engine(name).host.check_output(f"{files} 2>/dev/null; {daemon}").splitlines()
        return {path: row for path, _space, row in (row.partition(" ") for row in rows)}

    return seen


@pytest.fixture()
def bystander() -> Iterator[Callable[[Engine], Callable[[], str]]]:
    """`bystander(engine)` starts a container of another user, without an image of a registry, and returns a function that shows whether it still runs."""
    hosts: list[Engine] = []

    def start(engine: Engine) -> Callable[[], str]:
        hosts.append(engine)
        engine.host.check_output("tar -c -C / --files-from=/dev/null | docker import - buildfleet/empty >/dev/null")
        library = "-v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro -v /bin:/bin:ro"
        engine.host.check_output(f"docker run -d --name bystander --network none {library} buildfleet/empty /bin/sleep 3600")
        return lambda: str(engine.host.check_output("docker inspect -f '{{.State.Running}} {{.State.StartedAt}}' bystander"))

    yield start
    for engine in hosts:
        engine.host.run("docker rm -f bystander; docker rmi buildfleet/empty")


@pytest.fixture()
def wall(engine: Engine) -> Iterator[Callable[[str], str]]:
    """`wall("drop")` sets another firewall mode for this engine's host until the test ends."""
    yield lambda mode: lab("wall", mode, engine.name)
    lab("wall", "reset", engine.name)


@pytest.fixture()
def playbook() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`playbook("verify", engine.name)` runs a playbook of the collection on one host of the lab."""

    def run(name: str, limit: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["ansible-playbook", f"buildfleet.docker.{name}", f"--inventory={INVENTORY}", f"--limit={limit},localhost", *arguments]
        return ansible(command)

    return run


@pytest.fixture()
def site(playbook: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., tuple[subprocess.CompletedProcess[str], dict[str, str]]]:
    """`site("web01,web02", variables)` runs the main playbook there: returns the result, and each host's line of the recap."""

    def run(limit: str, wishes: Mapping[str, object], *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
        done = playbook("site", limit, "--extra-vars", json.dumps(wishes), *arguments)
        return done, dict(re.findall(r"^(\S+) +: (ok=.*)$", done.stdout, re.MULTILINE))

    return run
