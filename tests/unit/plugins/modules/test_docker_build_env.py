# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import json
import os
import re
import types

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._build_env import change
from ansible_collections.buildfleet.docker.plugins.module_utils._build_env import settings as build_env
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Account, File
from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import Secrets
from ansible_collections.buildfleet.docker.plugins.module_utils._host import jobs
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import HostError, Run
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Refused
from ansible_collections.buildfleet.docker.plugins.modules import docker_build_env

CONFIG = "/home/jane/.docker/config.json"
TOML = "/home/jane/.docker/buildx/buildkitd.default.toml"
PROXY = "http://proxy.example.com:3128"
DEFAULTS = {"allow_readable_secret": False, "restart_services": False, "restart_idle_services": False, "state": "present"}
NAMES = (*change.SETTINGS, "users", "services", "gitlab_runners", "origin")


class Machine(MemoryHost):
    """A host in memory with services that run with an environment."""

    def __init__(self, files=()):
        super().__init__(files, ("/etc/profile.d", "/etc/systemd/system", "/home", "/home/jane", "/run/systemd/system"))
        self.running = {}
        self.obeys = True
        self.late = 0  # moments until a restarted service runs its program
        self.engine_version = "26.1.5"

    def read(self, path):
        if path.startswith("/proc/"):
            self.late -= 1
            variables = self.running[path.split("/")[2]] if self.late < 0 else {}
            return File("".join(f"{name}={value}\0" for name, value in variables.items()).encode())
        return super().read(path)

    def engine_api(self, path, **_more):
        return {"Version": self.engine_version}

    def run(self, argv, **_more):
        self.ran.append(list(argv))
        if argv[:2] == ["systemctl", "show"]:
            known = argv[-1] in self.running
            return Run(0, f"LoadState={'loaded' if known else 'not-found'}\nMainPID={argv[-1] if known else 0}\n", "")
        if argv[:2] == ["systemctl", "restart"] and self.obeys:
            contents = self.files.get(build_env.SERVICE_ENVIRONMENT, File(b"")).contents.decode()
            self.late = 3
            self.running[argv[-1]] = dict(line.split("=", 1) for line in contents.splitlines() if not line.startswith("#"))
        return Run(0, "github.com/docker/buildx 0.13.1+ds1 0.13.1\n" if "buildx" in argv else "", "")


@pytest.fixture(autouse=True)
def _accounts(monkeypatch):
    monkeypatch.setattr(change, "account", {"jane": Account("jane", "/home/jane", os.geteuid(), os.getegid())}.get)
    monkeypatch.setattr(change, "account_of", {0: Account("root", "/root", 0, 0), 1: Account("daemon", "/usr/sbin", 1, 1)}.get)


def run(machine, check=False, **options):
    module = types.SimpleNamespace(host=machine, check_mode=check, secrets=Secrets(), warnings=[], params={**dict.fromkeys(NAMES), **DEFAULTS, **options})
    module.warn = module.warnings.append
    result = docker_build_env.work(module)
    return {**module.secrets.tree(result), "warnings": module.warnings}


EVERYTHING = {
    "daemon_token": True,
    "https_proxy": PROXY,
    "services": ["agent"],
    "users": ["jane"],
    "step_proxy": {"http_proxy": PROXY, "https_proxy": None, "no_proxy": None},
    "builder_mirrors": {"docker.io": "mirror.example.com"},
    "source_policy": {"docker.io": "mirror.example.com"},
}
FOREIGN = {"/etc/environment": File(b"PATH=/bin", 0o640, 3, 4), CONFIG: File(b'{"auths": {"r": {"auth": "eA=="}}}', 0o644, os.geteuid(), os.getegid())}


@pytest.mark.parametrize("first", [{}, FOREIGN], ids=["bare", "foreign"])
def test_check_predicts_present_is_idempotent_and_absent_gives_everything_back(first):
    machine = Machine(first)
    before = machine.state()
    predicted = run(machine, check=True, **EVERYTHING)
    assert machine.state() == before
    done = run(machine, **EVERYTHING)
    assert done == predicted
    assert done["changed"]
    again = run(machine, **EVERYTHING)
    assert not again["changed"]
    assert again["diff"] == []
    predicted = run(machine, check=True, state="absent")
    undone = run(machine, state="absent")
    assert undone == predicted
    assert undone["changed"]
    assert undone["environment"] == {}
    assert machine.state()[0] == before[0]
    assert machine.state()[1] - before[1] <= {"/var", "/var/lib"}
    assert not run(machine, state="absent")["changed"]


def test_a_setting_that_is_no_longer_given_is_taken_out():
    machine = Machine(FOREIGN)
    run(machine, **EVERYTHING)
    done = run(machine, buildkit=True)
    assert done["environment"] == {"DOCKER_BUILDKIT": "1"}
    assert machine.files[CONFIG] == FOREIGN[CONFIG]
    assert {path for path in machine.files if not path.startswith("/var/")} == {"/etc/environment", CONFIG, build_env.PROFILE}
    machine.files[CONFIG] = File(b'{"proxies": {"default": {"httpProxy": "http://theirs:1"}}}', 0o644, os.geteuid(), os.getegid())
    assert not run(machine, buildkit=True)["changed"], "what others write later is theirs"


@pytest.mark.parametrize(
    ("runs", "removed"),
    [
        pytest.param([{"origin": "site"}], True, id="as it left it"),
        pytest.param([{"origin": "site"}, {"origin": "site"}], True, id="twice"),
        pytest.param([{}, {"origin": "site"}], True, id="it took over from another play"),
        pytest.param([{}], False, id="another play"),
        pytest.param([{"origin": "mine"}], False, id="another play with a name"),
        pytest.param([{"origin": "site"}, {}], False, id="another play took over"),
        pytest.param([], False, id="nothing"),
    ],
)
def test_absent_with_an_origin_removes_only_what_that_origin_set(runs, removed):
    machine = Machine()
    for options in runs:
        run(machine, buildkit=True, **options)
    before = machine.state()
    predicted = run(machine, check=True, state="absent", origin="site")
    assert machine.state() == before
    assert run(machine, state="absent", origin="site") == predicted
    assert predicted["changed"] == removed
    assert (build_env.PROFILE in machine.files) == (bool(runs) and not removed)
    if not removed:
        assert machine.state() == before
        assert predicted == {"changed": False, "environment": {}, "pending": [], "restarted": [], "diff": [], "warnings": []}


@pytest.mark.parametrize("origin", ["site", None])
def test_absent_without_an_origin_removes_what_any_origin_set(origin):
    machine = Machine()
    run(machine, buildkit=True, origin=origin)
    assert run(machine, state="absent")["changed"]
    assert not [path for path in machine.files if path.startswith(("/etc/profile.d/", "/var/lib/buildfleet"))]


def test_the_environment_has_both_spellings():
    assert run(Machine(), https_proxy=PROXY, daemon_token=True)["environment"] == {"BUILDKIT_NO_CLIENT_TOKEN": "1", "HTTPS_PROXY": PROXY, "https_proxy": PROXY}


def test_a_running_service_is_pending_until_it_is_restarted():
    machine = Machine()
    machine.running = {"agent.service": {"PATH": "/bin"}}
    assert run(machine, daemon_token=True, services=["agent"])["pending"] == ["agent.service"]
    assert ["systemctl", "daemon-reload"] in machine.ran
    assert run(machine, daemon_token=True, services=["agent"])["pending"] == ["agent.service"]
    assert not any("restart" in argv for argv in machine.ran)
    restarted = run(machine, daemon_token=True, services=["agent"], restart_services=True)
    assert (restarted["changed"], restarted["pending"], restarted["restarted"]) == (True, [], ["agent.service"])
    assert not run(machine, daemon_token=True, services=["agent"], restart_services=True)["changed"]
    assert run(machine, buildkit=True)["pending"] == ["agent.service"], "it still has what we took away"
    assert run(machine, state="absent")["pending"] == ["agent.service"]


def test_only_a_service_without_a_job_is_restarted_if_idle_is_asked(monkeypatch):
    machine = Machine()
    machine.running = {"agent.service": {"PATH": "/bin"}, "idle.service": {"PATH": "/bin"}}
    monkeypatch.setattr(jobs, "running_job", lambda _host, unit: "it has started make (process 11)" if unit == "agent.service" else "")
    wanted = {"daemon_token": True, "services": ["agent", "idle"], "restart_idle_services": True}
    predicted = run(machine, check=True, **wanted)
    done = run(machine, **wanted)
    assert (done["changed"], done["pending"], done["restarted"]) == (True, ["agent.service"], ["idle.service"])
    assert (predicted["pending"], predicted["restarted"]) == (["agent.service"], ["idle.service"])
    assert done["warnings"] == ["agent.service was not restarted, because it may run a job: it has started make (process 11). Run this again when it is idle."]
    assert run(machine, **wanted)["changed"] is False
    assert run(machine, **wanted, restart_services=True)["restarted"] == ["agent.service"]


def test_a_service_that_does_not_obey_is_not_restarted_for_ever():
    machine = Machine()
    machine.running = {"agent.service": {"BUILDKIT_NO_CLIENT_TOKEN": "0"}}
    machine.obeys = False
    first = run(machine, daemon_token=True, services=["agent"], restart_services=True)
    assert first["pending"] == ["agent.service"]
    assert first["warnings"] == [
        "agent.service was restarted and still runs with a different environment; its unit or program sets these variables itself. Remove them there."
    ]
    again = run(machine, daemon_token=True, services=["agent"], restart_services=True)
    assert (again["changed"], again["restarted"], again["pending"]) == (False, [], ["agent.service"])


def test_a_service_that_is_not_there_is_named():
    assert run(Machine(), buildkit=True, services=["agnet"])["warnings"] == [
        "services: agnet.service does not exist on this host yet; it gets the environment when it is created."
    ]


def test_a_secret_for_the_steps_is_read_by_its_owner_alone_and_shown_to_nobody():
    machine = Machine(FOREIGN)
    machine.files[CONFIG] = File(
        b'{"proxies": {"default": {"httpProxy": "http://a:0ldone@p:1"}}, "auths": {"r": {"auth": "c2VjcmV0"}}}', 0o644, os.geteuid(), os.getegid()
    )
    secret = {"http_proxy": "http://joe:s3cret@proxy.example.com:3128"}
    done = run(machine, users=["jane"], step_proxy=secret, allow_readable_secret=True)
    assert machine.files[CONFIG].mode == 0o600
    assert b"joe:s3cret@" in machine.files[CONFIG].contents
    for word in ("s3cret", "0ldone", "c2VjcmV0"):
        assert word not in str(done)
    assert "http://xxxxx:xxxxx@proxy.example.com:3128" in str(done)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, f"state: present needs at least one of {', '.join(change.SETTINGS)}. Set one, or use state: absent."),
        (
            {"step_proxy": {"http_proxy": PROXY}, "users": ["nobody-here"]},
            "users: there is no user 'nobody-here' on this host. Create the user first, or correct the name.",
        ),
    ],
)
def test_nothing_is_written_when_the_run_is_refused(options, message):
    machine = Machine()
    with pytest.raises(Refused) as refused:
        run(machine, **options)
    assert str(refused.value) == message
    assert machine.files == {}


@pytest.mark.parametrize("check", [True, False])
def test_a_folder_of_somebody_else_is_named_before_anything_is_written(check):
    machine = Machine({"/etc/environment": File(b"PATH=/bin\n")})
    machine.closed = {"/home/jane/.docker"}
    before = machine.state()
    with pytest.raises(Refused) as refused:
        run(machine, check=check, **EVERYTHING)
    assert str(refused.value) == f"users: jane cannot read and write {CONFIG}. Change the owner of the directory to jane (chown -R) first."
    assert machine.state() == before


def test_a_file_that_its_user_may_not_read_is_named():
    machine = Machine()

    def read(path):
        if path == CONFIG:
            raise HostError(f"{path} cannot be read: Permission denied.")
        return Machine.read(machine, path)

    machine.read = read
    with pytest.raises(Refused, match=f"users: jane cannot read and write {CONFIG}"):
        run(machine, **EVERYTHING)


def test_a_user_without_a_home_is_named(monkeypatch):
    monkeypatch.setattr(change, "account", lambda name: Account(name, "/nonexistent", 1, 1))
    with pytest.raises(Refused) as refused:
        run(Machine(), **EVERYTHING)
    assert str(refused.value) == "users: jane has no home directory: /nonexistent does not exist. Create it, or remove the user from users."


STEPS = {"step_proxy": {"https_proxy": PROXY}}


def test_the_members_of_a_group_get_the_proxy_of_steps_and_former_members_lose_it(monkeypatch):
    machine = Machine()
    machine.folders |= {"/home/joe"}
    jane, joe, service = (Account(name, home, os.geteuid(), os.getegid()) for name, home in (("jane", "/home/jane"), ("joe", "/home/joe"), ("ci", "/none")))
    monkeypatch.setattr(change, "account", {"jane": jane, "joe": joe}.get)
    monkeypatch.setattr(change, "members", {"docker": [jane, joe, service]}.get)
    first = machine.state()
    done = run(machine, users=["jane", "%docker"], **STEPS)
    assert done["warnings"] == []
    assert {path for path in machine.files if path.endswith("config.json")} == {CONFIG, "/home/joe/.docker/config.json"}
    assert not run(machine, users=["jane", "%docker"], **STEPS)["changed"]
    monkeypatch.setattr(change, "members", {"docker": [jane]}.get)
    assert run(machine, users=["%docker"], **STEPS)["changed"]
    assert {path for path in machine.files if path.endswith("config.json")} == {CONFIG}
    run(machine, state="absent")
    assert {path for path in machine.state()[0] if not path.startswith("/var/lib/buildfleet")} == set(first[0])


def test_a_group_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(change, "members", {}.get)
    done = run(Machine(), users=["jane", "%dokcer"], **STEPS)
    assert done["warnings"] == ["users: there is no group 'dokcer' on this host. Create the group first, or correct the name."]


def test_new_users_get_the_proxy_of_steps_from_skel(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(change, "account", {"root": Account("root", "/root", os.geteuid(), os.getegid())}.get)
    machine.folders.add("/etc/skel")
    run(machine, users=["/etc/skel"], **STEPS)
    assert json.loads(machine.files["/etc/skel/.docker/config.json"].contents) == {"proxies": {"default": {"httpsProxy": PROXY}}}
    assert not run(machine, users=["/etc/skel"], **STEPS)["changed"]
    run(machine, state="absent")
    assert "/etc/skel/.docker/config.json" not in machine.files
    assert "/etc/skel/.docker" not in machine.folders


@pytest.mark.parametrize("state", ["present", "absent"])
def test_the_home_of_a_user_who_is_gone_is_left_alone(monkeypatch, state):
    machine = Machine(FOREIGN)
    run(machine, **EVERYTHING)
    left = machine.files[CONFIG]
    monkeypatch.setattr(change, "account", {}.get)
    options = {"state": "absent"} if state == "absent" else {"daemon_token": True}
    done = run(machine, **options)
    assert done["warnings"] == [f"{path} was not changed, because its user no longer exists." for path in sorted((CONFIG, TOML))]
    assert machine.files[CONFIG] == left
    assert not run(machine, **options)["warnings"]


def test_builders_that_keep_other_mirrors_are_named_when_these_change():
    builders = {
        f"/home/jane/.docker/buildx/instances/{name}": File(f'{{"Name":"{name}","Driver":"{name}"}}'.encode()) for name in ("docker-container", "remote")
    }
    machine = Machine(builders)
    options = {**EVERYTHING, "services": None}
    named = ["The builder docker-container of jane keeps the mirrors that it was created with. Create it again to change them."]
    assert run(machine, check=True, **options)["warnings"] == named
    assert run(machine, **options)["warnings"] == named
    assert run(machine, **options)["warnings"] == []
    assert run(machine, state="absent")["warnings"] == named


def test_an_answer_that_is_empty_writes_nothing():
    machine = Machine()
    with pytest.raises(Refused, match="needs at least one of"):
        run(machine, users=["jane"], step_proxy={"http_proxy": "", "https_proxy": "", "no_proxy": None})
    run(machine, buildkit=True, users=["jane"], step_proxy={"http_proxy": "", "https_proxy": "", "no_proxy": None})
    assert CONFIG not in machine.files


@pytest.mark.parametrize(
    "options",
    [{"builder_mirrors": {"docker.io": ["joe:s3cret@m"]}, "users": ["jane"]}, {"source_policy": {"docker.io": "joe:s3cret@m"}}, {"no_proxy": ["joe:s3cret@m"]}],
)
def test_a_password_in_a_wrong_place_is_refused_and_not_shown(options, monkeypatch):
    module = types.SimpleNamespace(host=Machine(), check_mode=False, secrets=Secrets(), params={**dict.fromkeys(NAMES), **DEFAULTS, **options})
    with pytest.raises(Refused) as refused:
        docker_build_env.work(module)
    for text in (str(refused.value), str(options)):
        assert "s3cret" not in module.secrets.text(text)
    assert next(iter(options)) in str(refused.value)


def test_the_line_for_sudoers_names_every_variable_that_is_set():
    documented = yaml.safe_load(docker_build_env.DOCUMENTATION)["description"]
    line = next(text for text in documented if "env_keep" in text)
    everything = dict(EVERYTHING, buildkit=True, http_proxy=PROXY, no_proxy=["localhost"])
    assert set(re.search(r'env_keep \+= "([^"]+)"', line).group(1).split()) == set(run(Machine(), **everything)["environment"])


def test_an_old_engine_refuses_a_source_policy():
    machine = Machine()
    machine.engine_version = "20.10.24+dfsg1"
    with pytest.raises(Refused, match=r"source_policy needs Docker Engine 25\.0; this host has 20\.10\.24"):
        run(machine, source_policy={"docker.io": "mirror.example.com"})


def test_others_that_win_are_named():
    machine = Machine(
        {"/etc/profile.d/proxy.sh": File(b"export HTTPS_PROXY=http://other:1\n"), "/etc/profile.d/a.sh": File(b"export HTTPS_PROXY=http://other:1\n")}
    )
    assert run(machine, https_proxy=PROXY)["warnings"] == ["/etc/profile.d/proxy.sh, line 1, sets HTTPS_PROXY too, and overrides ours. Remove it there."]


def test_an_empty_answer_counts_as_not_given_whatever_the_type(capsys, monkeypatch):
    monkeypatch.setattr(docker_build_env.Module, "host", Machine())
    arguments = {**dict.fromkeys((*NAMES, "state", "restart_services", "restart_idle_services", "allow_readable_secret"), ""), "daemon_token": True}
    with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        docker_build_env.main()
    assert ended.value.code == 0, capsys.readouterr().out
    assert json.loads(capsys.readouterr().out)["environment"] == {"BUILDKIT_NO_CLIENT_TOKEN": "1"}


def test_a_password_is_masked_when_another_option_is_wrong(capsys):
    options = {"users": ["jane"], "step_proxy": {"http_proxy": "joe:s3cret@proxy.example.com:3128"}, "https_proxy": "joe:0ther1@p:1", "no_such_option": 1}
    with patch_module_args(options), pytest.raises(SystemExit):
        docker_build_env.main()
    said = capsys.readouterr().out
    assert "no_such_option" in said
    assert "s3cret" not in said
    assert "0ther1" not in said


def test_services_need_systemd():
    machine = Machine()
    machine.folders.discard("/run/systemd/system")
    with pytest.raises(Refused) as refused:
        run(machine, daemon_token=True, services=["agent"])
    assert str(refused.value) == "services needs systemd, which does not run here. Set the variables of the agent with its init system."


def test_a_template_runs_under_other_names():
    machine = Machine()
    machine.running = {"agent@.service": {}}
    assert run(machine, daemon_token=True, services=["agent@"])["pending"] == []


def test_what_systemctl_refuses_is_repeated():
    machine = Machine()
    machine.run = lambda argv, **_more: Run(1, "", "Access denied") if argv[1] == "daemon-reload" else Run(0, "", "")
    with pytest.raises(Refused) as refused:
        run(machine, daemon_token=True, services=["agent"])
    assert str(refused.value) == "systemctl daemon-reload failed: Access denied. Correct the unit that it names, then run this again."


def test_a_file_of_another_owner_keeps_its_owner(monkeypatch):
    given = []
    monkeypatch.setattr(change, "hand_over", lambda path, user, uid, gid: given.append((path, user.name, uid, gid)))
    run(Machine({CONFIG: File(b"{}", 0o644, os.geteuid(), 77)}), step_proxy={"https_proxy": PROXY}, users=["jane"])
    assert given == [(CONFIG, "jane", os.geteuid(), 77)]


RUNNER = "/etc/gitlab-runner/config.toml"
REGISTERED = File(b"concurrent = 1\n[[runners]]\n  name = 'a'\n  token = 'glrt-secret'\n  executor = 'docker'\n", 0o600, 0, 0)


def test_the_jobs_of_a_gitlab_runner_get_the_variables_and_undo_is_exact():
    machine = Machine({**FOREIGN, RUNNER: REGISTERED})
    options = {"daemon_token": True, "step_proxy": {"https_proxy": PROXY}, "users": ["jane"], "gitlab_runners": [RUNNER]}
    predicted = run(machine, check=True, **options)
    assert machine.files[RUNNER] == REGISTERED
    done = run(machine, **options)
    assert done == predicted
    entries = f'"BUILDKIT_NO_CLIENT_TOKEN=1", "HTTPS_PROXY={PROXY}", "NO_PROXY=docker", "https_proxy={PROXY}", "no_proxy=docker"'
    contents = REGISTERED.contents.replace(b"  name", f"  environment = [{entries}]\n  name".encode())
    assert machine.files[RUNNER] == REGISTERED._replace(contents=contents)
    assert {"before_header": f"{RUNNER} (mode 0600)", "before": "", "after_header": f"{RUNNER} (mode 0600)",
            "after": f"[[runners]] a\nenvironment = [{entries}]\n"} in done["diff"]  # fmt: skip
    assert "glrt-secret" not in json.dumps(done)
    assert done["pending"] == []
    assert not any("restart" in argv for argv in machine.ran)
    assert not run(machine, **options)["changed"]
    assert run(machine, daemon_token=True)["changed"], "an option that is no longer given"
    assert machine.files[RUNNER] == REGISTERED
    run(machine, **options)
    run(machine, state="absent")
    assert machine.files[RUNNER] == REGISTERED


@pytest.mark.parametrize("first", [{}, {RUNNER: File(b"concurrent = 1\n")}], ids=["no file", "no runner"])
def test_a_runner_that_is_not_registered_yet_is_named_and_left(first):
    machine = Machine(first)
    assert run(machine, daemon_token=True, gitlab_runners=[RUNNER])["warnings"] == [
        f"gitlab_runners: {RUNNER} has no runner yet. Run this again after gitlab-runner register."
    ]
    assert machine.files.get(RUNNER) == first.get(RUNNER)


def test_a_runner_of_a_user_is_written_with_the_rights_of_that_user(monkeypatch):
    acted = []
    monkeypatch.setattr(change, "acting_as", lambda user: acted.append(user) or contextlib.nullcontext())
    path = "/home/jane/.gitlab-runner/config.toml"
    machine = Machine({path: REGISTERED._replace(uid=1, gid=1)})
    run(machine, daemon_token=True, gitlab_runners=[path])
    assert b"BUILDKIT_NO_CLIENT_TOKEN=1" in machine.files[path].contents
    assert Account("daemon", "/usr/sbin", 1, 1) in acted


def test_a_password_of_others_in_a_runner_is_masked():
    machine = Machine({RUNNER: REGISTERED._replace(contents=REGISTERED.contents + b"  environment = ['https_proxy=http://joe:s3cret@theirs:1']\n")})
    done = run(machine, https_proxy=PROXY, gitlab_runners=[RUNNER])
    assert "s3cret" not in json.dumps(done)
    assert "https_proxy=http://xxxxx:xxxxx@theirs:1" in json.dumps(done)


@pytest.mark.parametrize(
    ("contents", "uid", "options", "message"),
    [
        pytest.param(
            REGISTERED.contents, 7, {}, f"gitlab_runners: the owner of {RUNNER} is not a user of this host (uid 7). Change its owner first.", id="uid"
        ),
        pytest.param(
            b"runners = 1\n", 0, {},
            f"{RUNNER}: runners is not a list of tables. Write [[runners]] above each, as gitlab-runner register does.", id="shape",
        ),
        pytest.param(
            b"", 0, {"gitlab_runners": ["/etc/gitlab-runner"]},
            "gitlab_runners: '/etc/gitlab-runner' is not the path of a config.toml. Write one such as /etc/gitlab-runner/config.toml.", id="path",
        ),
        pytest.param(
            b"", 0, {"daemon_token": None, "source_policy": {"docker.io": "m"}},
            "gitlab_runners needs a variable to set; also set buildkit, daemon_token, a proxy or step_proxy.", id="nothing to set",
        ),
        pytest.param(
            b"", 0, {"step_proxy": {"https_proxy": "http://joe:s3cret@p:1"}, "users": ["jane"], "allow_readable_secret": True},
            "step_proxy.https_proxy contains credentials, and with gitlab_runners every job could read them. "
            "Use a proxy without a password, such as the address of proxy_relay, or omit gitlab_runners.", id="password",
        ),
    ],
)  # fmt: skip
def test_a_runner_that_cannot_be_set_stops_the_run_before_anything_changes(contents, uid, options, message):
    machine = Machine({RUNNER: File(contents, 0o600, uid, 0)})
    before = machine.state()
    with pytest.raises(Refused) as refused:
        run(machine, **{"daemon_token": True, "gitlab_runners": [RUNNER], **options})
    assert str(refused.value) == message
    assert machine.state() == before
