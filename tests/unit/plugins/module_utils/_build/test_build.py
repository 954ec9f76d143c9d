# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import json
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._build.build import (
    check,
    compose_dockerfiles,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._build.build_user import build_user
from ansible_collections.buildfleet.docker.plugins.module_utils._build.request import BuildRequest, BuildUser, build_environment
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer
from ansible_collections.buildfleet.docker.plugins.module_utils._host import components
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import HostError, Run
from ansible_collections.buildfleet.docker.plugins.module_utils._registry import hosts_toml

LOGS = Path(__file__).parents[1] / "_diagnosis/logs"
NAME = "buildfleet-check-1"
OLD = "sha256:" + "0" * 64
BASE = "sha256:" + "8" * 64
RESULT = "sha256:" + "9" * 64


class Engine:
    """Enough of an engine's API: images, cache records, and who asked it to remove what."""

    def __init__(self, tags=(), cache=()):
        self.tags = dict(tags)
        self.cache = [dict({"InUse": False, "Type": "regular", "Description": ""}, **record) for record in cache]
        self.info = {}
        self.asked = []

    def __call__(self, path, method):
        url = urlsplit(path)
        if method != "GET":
            self.asked.append(f"{method} {unquote(path)}")
        if url.path == "/images/json":
            ids = sorted(set(self.tags.values()))
            return [{"Id": each, "RepoTags": [tag for tag, owner in self.tags.items() if owner == each]} for each in ids]
        if url.path == "/system/df":
            return {"BuildCache": [dict(record) for record in self.cache]}
        if url.path == "/info":
            return self.info
        if method == "DELETE" and url.path.startswith("/images/"):
            self.tags.pop(unquote(url.path[len("/images/") :]), None)
        if url.path.endswith("/tag"):
            query = parse_qs(url.query)
            self.tags[f"{query['repo'][0]}:{query['tag'][0]}"] = unquote(url.path.split("/")[2])
        if url.path == "/build/prune":
            (wanted,) = json.loads(parse_qs(url.query)["filters"][0])["id"]
            self.cache = [record for record in self.cache if record["ID"] != wanted]
        return {}


class FakeHost(MemoryHost):
    """A host whose builds end as they are told, beside the engine ``engine``."""

    def __init__(self, engine, log="", code=0, brings=None, files=(), runs=None, user="root"):
        super().__init__(files)
        self.api, self.log, self.code, self.brings = engine, log, code, brings or (lambda: None)
        self.runs, self.me = runs or {}, user
        self.built, self.time, self.gone, self.header = [], 0.0, [], {"Builder-Version": "2"}
        self.mirrors = {}
        self.disks = {"/var/lib/docker": 10**9}

    def engine_api(self, path, method="GET", sock="", timeout=0):
        return self.api(path, method)

    def run_group(self, argv, env, cwd, timeout, user=""):
        self.built.append((argv, dict(env), user))
        self.time += 2.0 if self.code != 124 else timeout
        self.brings()
        return Run(self.code, self.log, "")

    @contextlib.contextmanager
    def folder(self, files, user=""):
        self.dockerfile = files.get("Dockerfile", "")
        yield "/tmp/probe"

    def run(self, argv, env=None, timeout=0):
        return next((answer for start, answer in self.runs.items() if " ".join(argv).startswith(start)), Run(1, "", "no"))

    def write_all(self, texts):
        for path, text in texts.items():
            self.write(path, File(text.encode()))

    def remove(self, path):
        self.gone.append(path)

    remove_tree = remove_folder = remove

    def user(self):
        return self.me

    def home(self, user):
        if user == "nobody-here":
            raise HostError(f"There is no user {user} on this host. Create the user first, or correct the name.")
        return f"/home/{user}"

    def http_get(self, url, headers, timeout=5):
        return Answer(401, {"WWW-Authenticate": 'Bearer realm="https://auth.docker.io/token",service="x"'})

    def http_request(self, url, headers, timeout, method="GET", most=0, proxies=None):
        return self.mirrors.get(url.split("/v2/")[0], Answer(0, {}, "dns"))

    def ping(self, sock="", timeout=0):
        return self.header

    def free(self, path):
        return self.disks.get(path)

    def now(self):
        return self.time


def log(name):
    return (LOGS / f"{name}.log").read_text()


def checked(host, **wish):
    return check(host, BuildRequest(image="busybox:1", **wish), BuildUser("", {"HOME": "/root"}), {}, NAME)


@pytest.mark.parametrize(
    ("root", "disks", "cause"),
    [
        ("/var/lib/docker", {"/var/lib/docker": 10**9}, "unknown"),
        ("/var/lib/docker", {"/var/lib/docker": 10**9, "/var/lib/containerd": 10**9}, "unknown"),
        ("/var/lib/docker", {"/var/lib/docker": 4096}, "disk_full"),
        ("/var/lib/docker", {"/var/lib/docker": 10**9, "/var/lib/containerd": 4096}, "disk_full"),
        ("/var/lib/docker", {}, "unknown"),
        ("", {"/var/lib/containerd": 4096}, "unknown"),
    ],
    ids=["room", "room in both", "full", "containerd's is full", "no such folder", "an engine that names none"],
)
def test_a_message_that_says_nothing_where_a_disk_is_full(root, disks, cause):
    engine = Engine()
    engine.info = {"DockerRootDir": root} if root else {"ID": "x"}
    host = FakeHost(engine, "ERROR: failed to solve: something unheard of\n", code=1)
    host.disks = disks
    assert checked(host, builder="buildkit").verdict.cause == cause


def test_a_legacy_build_leaves_nothing_that_was_not_there():
    engine = Engine({"alpine:3": OLD})

    def brings():
        engine.tags.update({"busybox:1": BASE, f"{NAME}:latest": RESULT})

    outcome = checked(FakeHost(engine, log("ok/26.1-legacy"), brings=brings), builder="legacy")
    assert (outcome.verdict.cause, outcome.verdict.builder_used) == ("ok", "legacy")
    assert engine.tags == {"alpine:3": OLD}


def test_an_image_that_was_there_stays_and_gets_its_old_name_back():
    engine = Engine({"busybox:1": OLD})

    def brings():
        engine.tags.update({"busybox:1": BASE, f"{NAME}:latest": RESULT})

    checked(FakeHost(engine, log("ok/26.1-legacy"), brings=brings), builder="legacy")
    assert engine.tags == {"busybox:1": OLD}


def test_an_image_that_others_pull_meanwhile_stays():
    engine = Engine()
    checked(FakeHost(engine, log("wall-reset/28.5-buildkit"), 1, lambda: engine.tags.update({"redis:7": BASE})))
    assert engine.tags == {"redis:7": BASE}


def test_our_cache_records_go_by_id_and_those_of_others_stay():
    text = log("ok/28.5-buildkit")
    pulled = "pulled from docker.io/library/busybox:1@sha256:1f4557b38d8b80342dae9809de20ddee5bb95294f797ebc565d119e78b506fdd"
    engine = Engine(cache=[{"ID": "before", "Description": pulled}])

    def brings():
        engine.cache += [
            {"ID": "base", "InUse": False, "Type": "regular", "Description": pulled},
            {"ID": "copy", "InUse": False, "Type": "regular", "Description": "[2/2] COPY probe /probe"},
            {"ID": "context", "InUse": False, "Type": "source.local", "Description": "local source for context"},
            {"ID": "other", "InUse": False, "Type": "regular", "Description": "[2/9] RUN make"},
            {"ID": "used", "InUse": True, "Type": "regular", "Description": "[2/2] COPY probe /probe"},
        ]

    checked(FakeHost(engine, text, brings=brings))
    assert [record["ID"] for record in engine.cache] == ["before", "other", "used"]
    assert not [asked for asked in engine.asked if "/build/prune" in asked and '"id"' not in asked]


def test_contexts_are_left_when_somebody_else_builds_too():
    engine = Engine()

    def brings():
        engine.cache += [{"ID": str(number), "InUse": False, "Type": "source.local", "Description": "local source for context"} for number in range(9)]

    checked(FakeHost(engine, log("ok/28.5-buildkit"), brings=brings))
    assert len(engine.cache) == 9


def test_a_copied_file_of_ours_goes_with_its_base_only():
    text = log("ok/20.10-buildkit")
    pulled = "pulled from docker.io/library/busybox:1@sha256:1f4557b38d8b80342dae9809de20ddee5bb95294f797ebc565d119e78b506fdd"
    engine = Engine()

    def brings():
        engine.cache += [
            {"ID": "base", "InUse": False, "Type": "regular", "Description": pulled},
            {"ID": "ours", "InUse": False, "Type": "regular", "Description": "fileop target", "Parent": "base"},
            {"ID": "theirs", "InUse": False, "Type": "regular", "Description": "fileop target", "Parent": "elsewhere"},
        ]

    checked(FakeHost(engine, text, brings=brings), builder="buildkit")
    assert [record["ID"] for record in engine.cache] == ["theirs"]


def test_a_copied_file_of_ours_goes_although_its_base_was_there_before():
    pulled = "pulled from docker.io/library/busybox:1@sha256:1f4557b38d8b80342dae9809de20ddee5bb95294f797ebc565d119e78b506fdd"
    old = {"ID": "old", "Description": "fileop target", "Parent": "base"}
    engine = Engine(cache=[{"ID": "base", "Description": pulled}, old])

    def brings():
        engine.cache.append({"ID": "ours", "InUse": False, "Type": "regular", "Description": "fileop target", "Parent": "base"})

    checked(FakeHost(engine, log("ok/20.10-buildkit"), brings=brings), builder="buildkit")
    assert [record["ID"] for record in engine.cache] == ["base", "old"]


STEP = "#5 [2/2] RUN --mount=type=cache,target=/c make  all\n"


@pytest.mark.parametrize(
    ("description", "gone"),
    [
        ("mount / from exec /bin/sh -c make all", True),
        ('cached mount /c from exec /bin/sh -c make all with id "/c"', True),
        ("mount / from exec /bin/sh -c make", True),  # shortened
        ("mount / from exec /bin/sh -c rm -rf /srv", False),
        ("from local ", True),  # 20.10, a base image that is in the store
        ("fileop target", False),  # stands on nothing of ours
        ("", False),
    ],
)
def test_a_record_is_ours_if_the_log_speaks_of_it(description, gone):
    engine = Engine()
    text = "#4 [1/2] FROM docker.io/library/busybox:1\n" + STEP.replace("  ", " ") + "#6 naming to docker.io/library/x done\n"
    host = FakeHost(engine, text, brings=lambda: engine.cache.append({"ID": "new", "InUse": False, "Type": "regular", "Description": description}))
    checked(host)
    assert [record["ID"] for record in engine.cache] == ([] if gone else ["new"])


def test_a_stopped_build_is_a_timeout_and_is_cleaned():
    engine = Engine()
    host = FakeHost(engine, log("stopped-step/28.5-legacy"), 124, lambda: engine.tags.update({"busybox:1": BASE}))
    outcome = checked(host, builder="legacy", timeout=8)
    assert (outcome.verdict.cause, outcome.verdict.asked_by, outcome.verdict.reason) == ("timeout", "step", "no end within 8 s")
    assert engine.tags == {}
    assert any(asked.startswith("DELETE /containers/6bf468cb348c?force=1") for asked in engine.asked)


def test_a_failed_build_asks_the_mirrors_for_their_realm():
    engine = Engine()
    engine.info = {"RegistryConfig": {"Mirrors": ["https://relay.lab/"]}, "HttpsProxy": ""}
    verdict = checked(FakeHost(engine, log("mirror-relay/28.5-legacy"), 1), builder="legacy").verdict
    assert (verdict.cause, verdict.asked_by, verdict.host) == ("mirror_sends_token_elsewhere", "daemon", "auth.docker.io")


def test_what_the_legacy_builder_would_ignore_is_found_before_it_builds():
    host = FakeHost(Engine(), files={"/src/Dockerfile": "FROM a\nRUN <<E\ntrue\nE\n"})
    verdict = check(host, BuildRequest(context="/src", builder="legacy"), BuildUser("", {"HOME": "/root"}), {}, NAME).verdict
    assert (verdict.cause, verdict.reason) == ("legacy_cannot", "heredocs")
    assert host.built == []


def test_a_default_build_that_turned_out_to_be_legacy_is_not_green_with_a_heredoc():
    host = FakeHost(Engine(), log("legacy-heredoc/28.5-legacy"), files={"/src/Dockerfile": "FROM a\nRUN <<E\ntrue\nE\n"})
    verdict = check(host, BuildRequest(context="/src"), BuildUser("", {"HOME": "/root"}), {}, NAME).verdict
    assert (verdict.cause, verdict.reason) == ("legacy_cannot", "heredocs")


HEREDOC = {"/src/Dockerfile": "FROM a\nRUN <<E\ntrue\nE\n"}
PLUGIN = "/usr/libexec/docker/cli-plugins/docker-buildx"


def client(version):
    return {"docker version": Run(0, f'{{"Version": "{version}", "GoVersion": "go1.24"}}\nnull\n', "")}


@pytest.mark.parametrize(
    ("version", "header", "files", "environment", "refused"),
    [
        ("26.1.5", "2", {PLUGIN: ""}, {}, False),
        ("26.1.5", "2", {}, {}, True),
        ("26.1.5", "2", {"/root/.docker/cli-plugins/docker-buildx": ""}, {}, False),
        ("26.1.5", "2", {PLUGIN: ""}, {"DOCKER_BUILDKIT": "0"}, True),
        ("20.10.24", None, {}, {}, True),
        ("20.10.24", "2", {}, {}, False),
        ("20.10.24", None, {}, {"DOCKER_BUILDKIT": "1"}, False),
    ],
)
def test_what_the_legacy_builder_cannot_do_is_refused_before_building(version, header, files, environment, refused):
    host = FakeHost(Engine(), log("ok/28.5-buildkit"), files={**HEREDOC, **files}, runs=client(version))
    host.header = {"Builder-Version": header} if header else {}
    verdict = check(host, BuildRequest(context="/src"), BuildUser("", {"HOME": "/root", **environment}), {}, NAME).verdict
    assert (verdict.cause == "legacy_cannot", host.built == []) == (refused, refused)


def test_a_compose_file_is_looked_through_too():
    files = {"/src/compose.yml": "services:\n  app:\n    build: app\n", "/src/app/Dockerfile": HEREDOC["/src/Dockerfile"]}
    host = FakeHost(Engine(), log("legacy-heredoc/28.5-legacy"), files=files)
    verdict = check(host, BuildRequest(compose_file="/src/compose.yml", builder="legacy"), BuildUser("", {"HOME": "/root"}), {}, NAME).verdict
    assert (verdict.cause, host.built) == ("legacy_cannot", [])


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("services:\n  a:\n    build: ./a\n", ["./a/Dockerfile"]),
        ("services:\n  a:\n    build:\n      context: 'a'\n      dockerfile: D\n    image: x\n  b:\n    build:\n      dockerfile: E\n", ["a/D", "./E"]),
        ("services:\n  a:\n    # build: no\n    build:\n      # context: no\n\n      context: a\n", ["a/Dockerfile"]),
        ("services:\n  a:\n    build: ${DIR}\n  b:\n    image: build\n", []),
        ("build:\n  context: a\n", []),
        ("", []),
    ],
)
def test_the_dockerfiles_of_a_compose_file(text, paths):
    assert compose_dockerfiles(text) == paths


def test_a_green_build_says_what_it_proves():
    outcome = checked(FakeHost(Engine(), log("ok/26.1-legacy")), builder="legacy")
    assert outcome.verdict.sentence == "The build passed. Fetched now: the manifest, the token and the layers."


@pytest.mark.parametrize(
    ("wish", "argv"),
    [
        ({}, ["docker", "build", "--tag", NAME, "--pull", "--no-cache", "/tmp/probe"]),
        ({"pull": False}, ["docker", "build", "--tag", NAME, "--no-cache", "/tmp/probe"]),
        ({"builder": "legacy"}, ["docker", "build", "--tag", NAME, "--pull", "--force-rm", "--no-cache", "/tmp/probe"]),
        ({"context": "/src", "file": "/src/D"}, ["docker", "build", "--tag", NAME, "--pull", "--file", "/src/D", "/src"]),
        ({"compose_file": "/src/c.yml"}, ["docker-compose", "--project-name", NAME, "--file", "/src/c.yml", "build", "--pull"]),
    ],
)
def test_the_command(wish, argv):
    host = FakeHost(Engine(), log("ok/28.5-buildkit"))
    checked(host, **wish)
    assert [built[0] for built in host.built] == [argv]


def test_the_compose_plugin_is_preferred():
    host = FakeHost(Engine(), "", runs={"docker compose version": Run(0, "v2", "")})
    checked(host, compose_file="/src/c.yml")
    assert host.built[0][0][:2] == ["docker", "compose"]


OF_COMPOSE = (
    "Set docker_build_env step_proxy and buildkit: true (it needs the buildx plugin), or name http_proxy and https_proxy in build.args of the compose file: "
    "with the legacy builder docker compose gives RUN steps only HTTP_PROXY and HTTPS_PROXY, which apt and wget do not read."
)
OF_STEPS = "Set docker_build_env step_proxy, so that RUN steps reach web.lab."
WGET = "Step 2/2 : RUN wget -O /dev/null http://web.lab/\n ---> Running in 0123456789ab\nwget: bad address 'web.lab'\n"
ENDED = "The command '/bin/sh -c wget -O /dev/null http://web.lab/' returned a non-zero code: 1\n"
BUILDKIT_STEP = """#5 [2/2] RUN wget -O /dev/null http://web.lab/
#5 0.2 wget: bad address 'web.lab'
#5 ERROR: process "/bin/sh -c wget -O /dev/null http://web.lab/" did not complete successfully: exit code: 1
"""


@pytest.mark.parametrize(
    ("version", "text", "wish", "cure"),
    [
        ("2.26.1", WGET + ENDED, {"compose_file": "/src/c.yml"}, OF_COMPOSE),
        ("5.5.0", WGET + ENDED, {"compose_file": "/src/c.yml"}, OF_COMPOSE),
        ("1.29.2", WGET + ENDED, {"compose_file": "/src/c.yml"}, OF_STEPS),
        ("2.26.1", BUILDKIT_STEP, {"compose_file": "/src/c.yml"}, OF_STEPS),
        ("2.26.1", WGET + ENDED, {"context": "/src"}, OF_STEPS),
    ],
    ids=["compose 2", "compose 5", "compose 1", "BuildKit", "docker build"],
)
def test_steps_of_compose_and_its_legacy_builder_need_more_than_step_proxy(version, text, wish, cure):
    program = "docker-compose" if version.startswith("1") else "docker compose"
    host = FakeHost(Engine(), text, 1, runs={f"{program} version": Run(0, version, "")})
    verdict = checked(host, **wish).verdict
    assert (verdict.asked_by, verdict.host, verdict.cure) == ("step", "web.lab", cure)


def test_the_probe_s_own_step_is_not_built_by_compose():
    host = FakeHost(Engine(), WGET + ENDED, 1, runs={"docker compose version": Run(0, "2.26.1", "")})
    answers = iter([Run(0, "Successfully built 0123456789ab\n", ""), Run(1, WGET + ENDED, "")])
    host.run_group = lambda *_arguments: next(answers)
    assert checked(host, compose_file="/src/c.yml", network_step="http://web.lab/").verdict.cure == OF_STEPS


def test_a_network_step_is_a_run_step_of_the_probe():
    host = FakeHost(Engine(), log("ok/28.5-buildkit"))
    checked(host, network_step="http://example.com/x")
    assert "FROM busybox:1\n" in host.dockerfile
    assert "wget -O /dev/null 'http://example.com/x'" in host.dockerfile


def test_a_passed_network_step_is_part_of_the_proof():
    outcome = checked(FakeHost(Engine(), log("ok/28.5-buildkit")), network_step="http://web.example.com/x")
    assert outcome.proved["step"] == "fresh"
    assert outcome.verdict.sentence.endswith(" A RUN step reached web.example.com.")


def test_without_a_network_step_nothing_is_said_about_steps():
    outcome = checked(FakeHost(Engine(), log("ok/28.5-buildkit")))
    assert "step" not in outcome.proved
    assert "RUN step" not in outcome.verdict.sentence


def test_with_a_context_the_network_step_is_a_build_of_its_own():
    host = FakeHost(Engine(), log("ok/28.5-buildkit"))
    checked(host, context="/src", network_step="http://example.com/x")
    assert [built[0][-1] for built in host.built] == ["/src", "/tmp/probe"]


@pytest.mark.parametrize(
    ("builder", "before", "after"),
    [("default", None, None), ("default", "0", "0"), ("buildkit", "0", "1"), ("legacy", "1", "0")],
)
def test_the_builder_is_chosen_by_the_environment(builder, before, after):
    own = {} if before is None else {"DOCKER_BUILDKIT": before}
    found = build_environment(BuildUser("", own), BuildRequest(builder=builder), {"X": "y"})
    assert (found.get("DOCKER_BUILDKIT"), found["BUILDKIT_PROGRESS"], found["X"]) == (after, "plain", "y")


def test_a_record_that_a_stopped_build_makes_when_its_client_is_gone_goes_too():
    engine = Engine()
    host = FakeHost(engine, log("dns-silent/28.5-buildkit"), code=124)
    looks = []

    def late(path, method):
        if path.startswith("/system/df"):
            looks.append(path)
            if len(looks) == 5:
                engine.cache.append({"ID": "late", "Type": "source.local", "InUse": False, "Description": "", "CreatedAt": "1"})
        return engine(path, method)

    host.api = late
    checked(host, timeout=2)
    assert len(looks) > 5 and not engine.cache


def test_a_record_that_the_engine_does_not_give_up_is_said():
    engine = Engine()

    def brings():
        engine.cache.append({"ID": "held", "Type": "source.local", "InUse": True, "Description": "", "CreatedAt": "1"})

    outcome = checked(FakeHost(engine, log("dns-silent/28.5-buildkit"), 124, brings), timeout=2)
    assert outcome.left == ("A cache record of this build could not be removed; the engine uses it until its next start (held).",)


def test_what_docker_writes_into_a_home_that_had_none_goes():
    host = FakeHost(Engine(), log("ok/28.5-buildkit"))
    host.brings = lambda: host.write_all({"/root/.docker/buildx/refs/x": "", "/root/.docker/config.json": "{}"})
    checked(host)
    assert host.gone == ["/root/.docker/buildx", "/root/.docker"]


def test_the_record_of_our_build_goes_and_that_of_others_stays():
    refs = "/root/.docker/buildx/refs/default/default"
    files = {f"{refs}/old": "/tmp/probe", "/root/.docker/config.json": "{}"}
    host = FakeHost(Engine(), log("ok/28.5-buildkit"), files=files)
    host.brings = lambda: host.write_all({f"{refs}/new": '{"LocalPath":"/tmp/probe"}', f"{refs}/other": '{"LocalPath":"/srv/app"}'})
    checked(host)
    assert host.gone == [f"{refs}/new"]


def test_what_a_build_writes_into_a_buildx_folder_that_was_there_goes():
    buildx = "/root/.docker/buildx"
    host = FakeHost(Engine(), log("ok/28.5-buildkit"), files={f"{buildx}/.lock": ""})
    brought = {f"{buildx}/.buildNodeID": "x", f"{buildx}/activity/default": "x", f"{buildx}/refs/default/default/new": '{"LocalPath":"/tmp/probe"}'}
    host.brings = lambda: host.write_all(brought)
    checked(host)
    folders = [f"{buildx}/refs/default/default", f"{buildx}/refs/default", f"{buildx}/refs"]
    assert host.gone == [f"{buildx}/refs/default/default/new", f"{buildx}/.buildNodeID", f"{buildx}/activity/default", *folders]


def test_a_remote_engine_is_not_cleaned_and_says_so():
    host = FakeHost(Engine(), log("ok/28.5-buildkit"))
    outcome = check(host, BuildRequest(image="busybox:1"), BuildUser("", {"HOME": "/root", "DOCKER_HOST": "tcp://far:2376"}), {}, NAME)
    assert outcome.left == ("The engine is not on this host (DOCKER_HOST or DOCKER_CONTEXT), so the image and the cache of this build remain there.",)
    assert host.api.asked == []


def test_the_environment_of_a_login_is_what_the_login_says():
    text = "Welcome!\n\nbuildfleet-environment-of\nHOME=/home/ci\0HTTPS_PROXY=http://p:1\0LINES=a\nb\0"
    host = FakeHost(Engine(), runs={"su - ci -c": Run(0, text, "")})
    assert build_user(host, "user:ci", {}) == BuildUser("ci", {"HOME": "/home/ci", "HTTPS_PROXY": "http://p:1", "LINES": "a\nb"})


def test_the_environment_of_the_task_is_our_own():
    assert build_user(FakeHost(Engine()), "task", {"A": "b"}) == BuildUser("", {"A": "b"})


SHOWN = 'LoadState=loaded\nMainPID={pid}\nUser=ci\nEnvironment=DOCKER_BUILDKIT=1 "SECRET=x y"\nEnvironmentFiles=/etc/ci.env (ignore_errors=no)\n'


def test_only_named_variables_leave_a_running_service():
    files = {"/proc/42/environ": "DOCKER_BUILDKIT=0\0AWS_SECRET=x\0https_proxy=http://p:1\0HOME=/srv/ci\0BUILDKIT_NO_CLIENT_TOKEN=1\0"}
    host = FakeHost(Engine(), files=files, runs={"systemctl show": Run(0, SHOWN.format(pid=42), "")})
    found = build_user(host, "service:ci", {})
    assert found.user == "ci"
    assert found.environment == {
        "DOCKER_BUILDKIT": "0", "https_proxy": "http://p:1", "HOME": "/srv/ci", "BUILDKIT_NO_CLIENT_TOKEN": "1",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }  # fmt: skip


def test_a_service_that_does_not_run_is_read_from_its_unit():
    host = FakeHost(Engine(), files={"/etc/ci.env": "HTTPS_PROXY=http://p:1\nTOKEN=t\n"}, runs={"systemctl show": Run(0, SHOWN.format(pid=0), "")})
    found = build_user(host, "service:ci", {}).environment
    assert (found["DOCKER_BUILDKIT"], found["HTTPS_PROXY"], found["HOME"]) == ("1", "http://p:1", "/home/ci")
    assert not {"SECRET", "TOKEN"} & set(found)


@pytest.mark.parametrize(
    ("environment_of", "user", "sentence"),
    [
        ("everybody", "root", "environment_of: everybody is not one of task, login, user:NAME and service:NAME."),
        ("user:", "root", "environment_of: user: is not one of task, login, user:NAME and service:NAME."),
        ("user:nobody-here", "root", "There is no user nobody-here on this host. Create the user first, or correct the name."),
        ("user:ci", "root", "environment_of: ci cannot log in: no. Name a user for whom su - works."),
        ("login", "ci", "environment_of: the environment of a login is read with su, which needs become: true."),
        ("service:x", "root", "environment_of: there is no service x on this host. Correct the name (systemctl list-units --type=service)."),
    ],
)
def test_an_environment_that_cannot_be_read(environment_of, user, sentence):
    with pytest.raises(HostError) as error:
        build_user(FakeHost(Engine(), user=user), environment_of, {})
    assert str(error.value) == sentence


def test_a_service_whose_file_is_missing_has_the_variables_of_its_unit():
    host = FakeHost(Engine(), runs={"systemctl show": Run(0, SHOWN.format(pid=0), "")})
    assert build_user(host, "service:ci", {}).environment == {"DOCKER_BUILDKIT": "1", "HOME": "/home/ci", "PATH": components.PATH}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('{"Version": "26.1.5", "GoVersion": "go1.24"}\nnull\n', ("26.1.5", "go1.24")),
        ("{}", ("", "")),
        ("Client: Docker Engine\n", ("", "")),
        ("", ("", "")),
    ],
)
def test_the_version_of_the_docker_command(said, expected):
    assert components.cli(FakeHost(Engine(), runs={"docker version": Run(0, said, "")})) == expected


@pytest.mark.parametrize(
    ("wish", "environment"),
    [({"compose_file": "/src/c.yml"}, {}), ({"context": "/src"}, {"DOCKER_HOST": "tcp://far:2376"}), ({"context": "/src"}, {"DOCKER_CONTEXT": "far"})],
)
def test_where_only_the_log_tells_the_builder_the_build_is_made(wish, environment):
    host = FakeHost(Engine(), log("ok/28.5-buildkit"), files={"/src/Dockerfile": "FROM a\nRUN <<E\ntrue\nE\n", "/src/c.yml": "services:\n  a:\n    build: .\n"})
    host.header = {"Builder-Version": "1"}
    check(host, BuildRequest(**wish), BuildUser("", {"HOME": "/root", **environment}), {}, NAME)
    assert len(host.built) == 1


@pytest.mark.parametrize(("environment", "verdict"), [({}, "engine_down"), ({"DOCKER_HOST": "tcp://far:2376"}, "unknown")])
def test_an_engine_elsewhere_is_not_asked_why_a_build_failed(environment, verdict):
    outcome = check(FakeHost(Engine(), "something odd", 1), BuildRequest(), BuildUser("", {"HOME": "/root", **environment}), {}, NAME)
    assert outcome.verdict.cause == verdict


def test_an_image_that_the_engine_does_not_let_go_does_not_hold_us_for_ever():
    engine = Engine()
    host = FakeHost(engine, log("ok/26.1-legacy"), brings=lambda: engine.tags.update({f"{NAME}:latest": RESULT}))
    host.api = lambda path, method: None if method == "DELETE" and engine.asked.append(path) is None else engine(path, method)
    waits = []
    host.sleep = waits.append
    checked(host, builder="legacy")
    assert len(waits) == 10 and engine.tags == {f"{NAME}:latest": RESULT}


def test_after_a_failure_each_mirror_is_asked_for_the_image():
    engine = Engine()
    engine.info = {"RegistryConfig": {"Mirrors": ["https://good.lab/", "https://bad.lab/", "https://late.lab/"]}, "HttpsProxy": ""}
    host = FakeHost(engine, log("wall-reset/28.5-buildkit"), 1)
    host.mirrors, host.late = {"https://good.lab": Answer(200, {}, body=b'{"x": 1}')}, ("https://late.lab/",)
    host.http_get = lambda url, headers, timeout=5: Answer(200, {})
    outcome = checked(host)
    assert [(one.url, one.problem) for one in outcome.mirrors] == [("https://good.lab/", ""), ("https://bad.lab/", "dns"), ("https://late.lab/", "timeout")]
    assert outcome.verdict.sentence.endswith(
        " Of the mirrors of this image, asked directly: https://good.lab/ serves this image; https://bad.lab/ does not: bad.lab could not be reached (dns); "
        "https://late.lab/ does not: late.lab did not answer within 8 seconds."
    )


@pytest.mark.parametrize(("folder", "asked"), [("docker.io", ["https://m.lab"]), ("_default", [])])
def test_a_mirror_of_default_is_not_asked_for_content_without_the_name_of_the_registry(folder, asked):
    api = Engine()
    api.info = {"ServerVersion": "28.5.2", "DriverStatus": GRAPH}
    host = FakeHost(api, log("wall-reset/28.5-buildkit"), 1, files={f"/etc/docker/certs.d/{folder}/hosts.toml": FOREIGN})
    requests = []
    host.http_get = lambda url, headers, timeout=5: requests.append(url) or Answer(200, {})
    assert [one.url for one in checked(host).mirrors] == asked
    assert requests == ["https://m.lab/v2/library/busybox/manifests/1?ns=docker.io"]


def test_a_mirror_that_serves_the_manifest_and_no_layer_is_to_blame():
    engine = Engine()
    engine.info = {"RegistryConfig": {"Mirrors": ["https://empty.lab/"]}, "HttpsProxy": ""}
    host = FakeHost(engine, log("wall-reset/28.5-legacy"), 1)
    manifest = Answer(200, {}, body=b'{"layers": [{"digest": "sha256:a", "size": 5}]}')
    host.http_request = lambda url, *_rest: Answer(404, {}) if "/blobs/" in url else manifest
    host.http_get = lambda url, headers, timeout=5: Answer(200, {})
    verdict = checked(host, builder="legacy").verdict
    assert (verdict.cause, verdict.asked_by, verdict.host, verdict.reason) == ("mirror_error", "daemon", "empty.lab", "content missing")


HOSTS = "/etc/docker/certs.d/docker.io/hosts.toml"
GRAPH, SNAPSHOTTER = [["Backing Filesystem", "extfs"]], [["driver-type", "io.containerd.snapshotter.v1"]]
OF_DAEMON_JSON = "https://o.lab/"


@pytest.mark.parametrize(
    ("builder", "store", "engine", "asked"),
    [
        ("buildkit", GRAPH, "28.5.2", ["https://m.lab/v2/library/busybox/manifests/1?ns=docker.io"]),
        ("legacy", GRAPH, "28.5.2", ["https://o.lab/v2/", "https://o.lab/v2/library/busybox/manifests/1"]),
        ("legacy", SNAPSHOTTER, "28.5.2", ["https://m.lab/v2/library/busybox/manifests/1?ns=docker.io"]),
        ("buildkit", GRAPH, "26.1.5", ["https://o.lab/v2/", "https://o.lab/v2/library/busybox/manifests/1"]),
    ],
    ids=["BuildKit", "legacy", "legacy with the containerd store", "before 28"],
)
def test_after_a_failure_the_mirrors_that_decide_are_asked(builder, store, engine, asked):
    api = Engine()
    api.info = {"RegistryConfig": {"Mirrors": [OF_DAEMON_JSON]}, "ServerVersion": engine, "DriverStatus": store}
    host = FakeHost(api, log(f"wall-reset/28.5-{builder}"), 1, files={HOSTS: '[host."https://m.lab"]\n'})
    requests = []
    host.http_get = lambda url, headers, timeout=5: requests.append(url) or Answer(200, {})
    checked(host, builder=builder)
    assert requests == asked


def test_an_engine_of_a_user_does_not_read_the_folder_of_the_host():
    api = Engine()
    api.info = {"ServerVersion": "28.5.2", "DriverStatus": GRAPH, "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}
    host = FakeHost(api, log("wall-reset/28.5-buildkit"), 1, files={HOSTS: FOREIGN})
    host.http_get = lambda url, headers, timeout=5: Answer(403, {})
    assert checked(host).verdict.host == "registry-1.docker.io"


@pytest.mark.parametrize("text", ["unknown flag: --builder\nSee 'docker --help'.\n\nUsage:  docker [OPTIONS] COMMAND\n"], ids=["20.10.24"])
def test_a_named_builder_needs_the_plugin(text):
    outcome = checked(FakeHost(Engine(), text, 125), builder="ci")
    assert (outcome.verdict.cause, outcome.verdict.asked_by) == ("buildx_missing", None)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ('server = "https://registry-1.docker.io"\n', ["https://o.lab/v2/", "https://o.lab/v2/library/busybox/manifests/1"]),
        ("[host\n", ["https://o.lab/v2/", "https://o.lab/v2/library/busybox/manifests/1"]),
    ],
    ids=["no [host] table", "no TOML"],
)
def test_a_hosts_toml_that_names_no_mirror_leaves_those_of_daemon_json(text, asked):
    api = Engine()
    api.info = {"RegistryConfig": {"Mirrors": [OF_DAEMON_JSON]}, "ServerVersion": "28.5.2", "DriverStatus": GRAPH}
    host = FakeHost(api, log("wall-reset/28.5-buildkit"), 1, files={HOSTS: text})
    requests = []
    host.http_get = lambda url, headers, timeout=5: requests.append(url) or Answer(200, {})
    checked(host, builder="buildkit")
    assert requests == asked


def test_a_hosts_toml_that_only_root_may_read_is_left_out():
    api = Engine()
    api.info = {"ServerVersion": "28.5.2", "DriverStatus": GRAPH}
    host = FakeHost(api, log("wall-reset/28.5-buildkit"), 1, files={HOSTS: '[host."https://m.lab"]\n'})
    read = host.read

    def refused(path):
        if path == HOSTS:
            raise HostError(f"{path} cannot be read.")
        return read(path)

    host.read = refused
    assert checked(host).verdict.host == "registry-1.docker.io"


def test_a_builder_in_a_container_has_no_mirrors_of_the_daemon():
    api = Engine()
    api.info = {"RegistryConfig": {"Mirrors": [OF_DAEMON_JSON]}, "ServerVersion": "28.5.2", "DriverStatus": GRAPH}
    text = '#0 building with "ci" instance using docker-container driver\n' + log("wall-reset/28.5-buildkit")
    host = FakeHost(api, text, 1, files={HOSTS: '[host."https://m.lab"]\n'})
    host.http_get = lambda url, headers, timeout=5: Answer(403, {})
    outcome = checked(host, builder="ci")
    assert (outcome.verdict.cause, outcome.verdict.host, outcome.mirrors) == ("reset", "registry-1.docker.io", ())


FOREIGN, OWN = '[host."https://m.lab"]\n', hosts_toml.BEGIN + '[host."https://m.lab"]\n' + hosts_toml.END


@pytest.mark.parametrize(
    ("text", "answer", "cause", "reason", "cure"),
    [
        (
            OWN,
            Answer(200, {"Content-Type": "text/html"}),
            "mirror_error",
            "html page",
            "Set docker_registry_hosts registries to a mirror that answers; m.lab answers html page, which only its owner can change.",
        ),
        (FOREIGN, Answer(403, {}), "mirror_error", "status 403", f"Name another mirror in {HOSTS}, or remove m.lab there: status 403."),
        (FOREIGN, Answer(0, {}, "timeout"), "timeout", "timeout", f"Name another mirror in {HOSTS}, or remove m.lab there: timeout."),
        (OWN, Answer(0, {}, "dns"), "dns", "dns", "Repair the mirror m.lab, or set docker_registry_hosts registries to another one."),
        (
            FOREIGN,
            Answer(401, {}),
            "mirror_error",
            "wants a login",
            f"Give the mirror m.lab a login in {HOSTS} (header with Authorization), or correct it there.",
        ),
        (
            FOREIGN,
            Answer(404, {}),
            "not_found",
            "status 404",
            f"Correct the name or tag of busybox:1, or name a mirror in {HOSTS} that has it: m.lab does not.",
        ),
    ],
    ids=["a page", "403", "no answer", "no name", "a login", "not there"],
)
def test_a_mirror_of_hosts_toml_is_to_blame_where_the_message_names_the_registry(text, answer, cause, reason, cure):
    api = Engine()
    api.info = {"ServerVersion": "28.5.2", "DriverStatus": GRAPH}
    host = FakeHost(api, log("wall-reset/28.5-buildkit"), 1, files={HOSTS: text})
    host.http_get = lambda url, headers, timeout=5: answer
    verdict = checked(host).verdict
    assert (verdict.cause, verdict.asked_by, verdict.host, verdict.reason, verdict.cure) == (cause, "daemon", "m.lab", reason, cure)


@pytest.mark.parametrize(
    ("fault", "answer", "cause", "reason"),
    [
        ("mirror-html", Answer(200, {"Content-Type": "text/html"}), "mirror_error", "html page"),
        ("mirror-lacks", Answer(404, {}), "not_found", "status 404"),
    ],
)
def test_a_mirror_of_hosts_toml_is_to_blame_where_no_message_names_it(fault, answer, cause, reason):
    api = Engine()
    api.info = {"ServerVersion": "28.5.2", "DriverStatus": GRAPH}
    host = FakeHost(api, log(f"{fault}/28.5-buildkit"), 1, files={HOSTS: OWN})
    host.http_get = lambda url, headers, timeout=5: answer
    verdict = checked(host).verdict
    assert (verdict.cause, verdict.asked_by, verdict.host, verdict.reason) == (cause, "daemon", "m.lab", reason)
    assert "docker_registry_hosts registries" in verdict.cure


def test_a_mirror_of_another_registry_is_to_blame_for_its_images_alone():
    api = Engine()
    api.info = {"RegistryConfig": {"Mirrors": [OF_DAEMON_JSON]}, "ServerVersion": "28.5.2", "DriverStatus": GRAPH}
    text = log("wall-reset/28.5-buildkit").replace("docker.io/library/busybox:1", "ghcr.io/a/b:1")
    text = text.replace("registry-1.docker.io/v2/library/busybox", "ghcr.io/v2/a/b")
    answers = []
    for files in ({HOSTS.replace("docker.io", "ghcr.io"): OWN}, {}):
        host = FakeHost(api, text, 1, files=files)
        host.http_get = lambda url, headers, timeout=5: Answer(403, {})
        found = check(host, BuildRequest(image="ghcr.io/a/b:1"), BuildUser("", {"HOME": "/root"}), {}, NAME)
        answers.append((found.verdict.cause, found.verdict.host, [one.url for one in found.mirrors]))
    assert answers == [("mirror_error", "m.lab", ["https://m.lab"]), ("reset", "ghcr.io", [])]


@pytest.mark.parametrize("image", ["quay.io/a/b:1", "ghcr.io/a:1"])
def test_mirrors_of_docker_hub_are_not_asked_for_images_of_others(image):
    engine = Engine()
    engine.info = {"RegistryConfig": {"Mirrors": ["https://good.lab/"]}}
    text = log("wall-reset/28.5-buildkit").replace("docker.io/library/busybox:1", image)
    assert check(FakeHost(engine, text, 1), BuildRequest(image=image), BuildUser("", {"HOME": "/root"}), {}, NAME).mirrors == ()


def test_a_builder_with_a_name_of_its_own_builds():
    host = FakeHost(Engine(), 'ERROR: no builder "ci" found\n', 1)
    outcome = checked(host, builder="ci")
    argv, environment, _user = next(run for run in host.built if "build" in run[0])
    assert argv[:5] == ["docker", "buildx", "build", "--builder", "ci"] and environment["BUILDX_BUILDER"] == "ci"
    assert "DOCKER_BUILDKIT" not in environment
    assert outcome.verdict.cause == "buildx_missing"


def test_the_image_of_a_builder_that_the_check_started_goes_with_it():
    engine = Engine({"alpine:3": OLD})
    text = "#1 [internal] booting buildkit\n#1 pulling image moby/buildkit:buildx-stable-1\n#1 pulling image moby/buildkit:buildx-stable-1 2.3s done\n"
    checked(FakeHost(engine, text, 1, brings=lambda: engine.tags.update({"moby/buildkit:buildx-stable-1": BASE})), builder="ci")
    assert engine.tags == {"alpine:3": OLD}


def test_records_of_a_named_builder_go_and_those_of_others_stay():
    refs = "/root/.docker/buildx/refs/ci/ci0"
    host = FakeHost(Engine(), log("ok/28.5-buildkit"), files={f"{refs}/old": "/tmp/probe", "/root/.docker/buildx/refs/default/default/x": "/src"})
    host.brings = lambda: host.write_all({f"{refs}/ours": '{"LocalPath":"/tmp/probe"}', f"{refs}/theirs": '{"LocalPath":"/src"}'})
    checked(host, builder="ci")
    assert [path for path in host.gone if "/refs/" in path] == [f"{refs}/ours"]


def listing(*identities):
    records = [f"ID:\t\t{each}\nCreated at:\t2026-11-27\nDescription:\tlocal source for context\nType:\t\tsource.local\n" for each in identities]
    return "\n".join([*records, "Reclaimable:\t8kB\nTotal:\t\t8kB\n"])


class BuilderOnHost(FakeHost):
    """A builder with a cache of its own, in a container."""

    def __init__(self, running=True, **more):
        super().__init__(Engine(), log("ok/28.5-buildkit"), brings=lambda: self.cache.append("ours"), **more)
        self.cache, self.running, self.commands = ["before"], running, []
        self.api = self.with_container(self.api)

    def with_container(self, engine):
        def answer(path, method):
            if path.startswith("/containers/json"):
                return [{"Id": "c", "State": "running" if self.running else "exited", "Names": ["/buildx_buildkit_ci0"]}]
            if path == "/containers/c/stop":
                self.running = False
            return {} if path.startswith("/containers/") else engine(path, method)

        return answer

    def run_group(self, argv, env, cwd, timeout, user=""):
        if "build" in argv:
            self.running = True
            return super().run_group(argv, env, cwd, timeout, user)
        self.commands.append((" ".join(argv[2:]), user))
        self.running = self.running or argv[2] == "inspect"
        if argv[2] == "prune":
            self.cache.remove(argv[-1].partition("=")[2])
        return Run(0, listing(*self.cache), "") if self.running else Run(1, "", "container c is not running")


@pytest.mark.parametrize("way", ["option", "environment"])
def test_the_cache_records_of_a_builder_go_by_id(way):
    host = BuilderOnHost()
    wish = BuildRequest(image="busybox:1", **({"builder": "ci"} if way == "option" else {}))
    check(host, wish, BuildUser("jane", {"HOME": "/root"}), {} if way == "option" else {"BUILDX_BUILDER": "ci"}, NAME)
    assert host.cache == ["before"]
    assert ("prune --builder ci --force --all --filter id=ours", "jane") in host.commands


def test_a_stopped_builder_is_started_first_so_that_its_records_are_known_and_stopped_again():
    host = BuilderOnHost(running=False)
    checked(host, builder="ci")
    assert host.commands[0][0] == "inspect --bootstrap ci"
    assert (host.cache, host.running) == (["before"], False)


def test_the_cache_of_a_builder_that_does_not_answer_is_left():
    host = FakeHost(Engine(), log("ok/28.5-buildkit"))
    checked(host, builder="ci")
    assert not [argv for argv, _env, _user in host.built if "prune" in argv]
