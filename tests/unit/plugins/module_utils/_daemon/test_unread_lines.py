# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import docker_model as model
import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import layers
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.observe import observe
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.unread_lines import unread_files, unread_lines
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Run
from ansible_collections.buildfleet.docker.plugins.module_utils._info.info import unread_drop_ins

UNIT, DEFAULTS = "/lib/systemd/system/docker.service", "/etc/default/docker"
DROP_IN = "/etc/systemd/system/docker.service.d/http-proxy.conf"
DEBIAN = "[Service]\nEnvironmentFile=-/etc/default/docker\nExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS\n"
DOCKER_CE = "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n"
PROXY = "http://p.example.com:1"


class Files(MemoryHost):
    """A host of these files, whose systemd is the tests' model; ``reload``: it has not read them yet."""

    def __init__(self, files, unit=DEBIAN, reload=False, systemd=True):
        super().__init__({UNIT: unit, **files}, ["/run/systemd/system"] * systemd)
        self.reload = reload

    def run(self, argv, env=None, cwd=None, timeout=60, stdin=""):
        if argv[:2] != ["systemctl", "show"] or argv[-1] != "docker.service":
            return Run(0, "", "")
        shown = ["LoadState=loaded", f"FragmentPath={UNIT}", f"NeedDaemonReload={'yes' if self.reload else 'no'}", "MainPID=0"]
        return Run(0, "\n".join([*shown, *model.Unit(model.unit_texts({path: file.contents for path, file in self.files.items()}, UNIT)).show()]), "")


def drop_in(*lines):
    return {DROP_IN: "\n".join(["[Service]", *lines, ""])}


OUTSIDE = "write [Service] on a line of its own above it."
EACH = 'systemd reads all of this as the value of http_proxy: put each variable in its own quotes, Environment="HTTPS_PROXY=value" "NO_PROXY=value".'
PERCENT = "a '%' that does not start a specifier): write each '%' as '%%', such as '%%40'."
BACKSLASH = "a '\\' that does not start an escape): write each '\\' as '\\\\', or a '\\' in a password as '%%5C'."
NAMELESS = "a name that is not valid for a variable): write the name alone before the '=', without export."
UNNAMED = """a word without '='): write Environment="NAME=value", without a space beside the '='."""


def ignores(line, rest, path=DROP_IN):
    return f"{path}, line {line}: systemd ignores this line ({rest}"


EXAMPLE = 'Environment="HTTPS_PROXY=value" "NO_PROXY=value"'


def no_key(name, instead=EXAMPLE):
    return f"systemd has no key {name!r}): write {instead}."


SYSTEMD = "systemd (systemctl show docker -p Environment)"
FOUND = [
    pytest.param(drop_in('Environment="HTTPS_PROXY=http://u:Passw%40rd@p.example.com"'), [ignores(2, f"HTTPS_PROXY: {PERCENT}")], id="%40"),
    pytest.param(drop_in("A=1", r"Environment=HTTP_PROXY=http://dom\user@p"), [ignores(3, f"HTTP_PROXY: {BACKSLASH}")], id="a backslash"),
    pytest.param(drop_in("Environment=HTTPS_PROXY = http://p"), [ignores(2, f"HTTPS_PROXY: {UNNAMED}")], id="blanks"),
    pytest.param(
        drop_in('Environment="export HTTPS_PROXY=http://p"'),
        [ignores(2, f"export HTTPS_PROXY: {NAMELESS}")],
        id="export in a drop-in",
    ),
    pytest.param(
        drop_in('Environment="HTTP_PROXY=${http_proxy}" "NO_PROXY=localhost,$REGISTRY" "HTTPS_PROXY=http://u:pa$word@p" "DOCKER_OPTS=${x}"'),
        [
            f"{DROP_IN}, line 2: systemd does not replace ${{http_proxy}} in the value of HTTP_PROXY: write its value.",
            f"{DROP_IN}, line 2: systemd does not replace $REGISTRY in the value of NO_PROXY: write its value.",
        ],
        id="variables, and a password with a dollar",
    ),
    pytest.param(drop_in(f'Environment="http_proxy={PROXY} https_proxy={PROXY} no_proxy="'), [f"{DROP_IN}, line 2: {EACH}"], id="one pair of quotes"),
    pytest.param(drop_in(f'Environment="http_proxy={PROXY}","https_proxy={PROXY}"'), [f"{DROP_IN}, line 2: {EACH}"], id="a comma between"),
    pytest.param(
        {DROP_IN: f'[Service] Environment="HTTP_PROXY={PROXY}"\n[Service]\nEnvironment=NO_PROXY=a\n'},
        [
            ignores(1, f"it is on the line of its section): {OUTSIDE}"),
            ignores(3, f"line 1 is not a section header, so the file ends there): {OUTSIDE}"),
        ],
        id="behind its section",
    ),
    pytest.param({DROP_IN: f"Environment=HTTP_PROXY={PROXY}\n"}, [ignores(1, f"there is no section before it): {OUTSIDE}")], id="no section"),
    pytest.param({DROP_IN: f"[Unit]\nEnvironment=HTTP_PROXY={PROXY}\n"}, [ignores(2, f"it is in [Unit]): {OUTSIDE}")], id="[Unit]"),
    pytest.param(
        {DEFAULTS: f"# x\nexport https_proxy='{PROXY}'\nNO_PROXY=a\n"},
        [f"{DEFAULTS}, line 2: systemd ignores this line ('export' before the name): write https_proxy=value."],
        id="export in an environment file",
    ),
    pytest.param(drop_in("Environment=HTTPS_PROXY=http://p", "Environment=LANG=%40", "# Environment=HTTP_PROXY=%40", "[Install]"), [], id="others, and none"),
    pytest.param(drop_in(f"Environmnt=HTTP_PROXY={PROXY}"), [ignores(2, no_key("Environmnt"))], id="a misspelt key"),
    pytest.param(drop_in(f"environment=HTTP_PROXY={PROXY}"), [ignores(2, no_key("environment"))], id="a key in lower case"),
    pytest.param(drop_in("EnvironmentFiles=-/etc/proxy.env"), [ignores(2, no_key("EnvironmentFiles", "EnvironmentFile=path"))], id="a misspelt file"),
    pytest.param(drop_in(f"HTTPS_PROXY={PROXY}"), [ignores(2, no_key("HTTPS_PROXY"))], id="a variable without its key"),
    pytest.param(drop_in(f"export no_proxy={PROXY}"), [ignores(2, no_key("export no_proxy"))], id="a line of a shell"),
    pytest.param(drop_in("HTTP_PROXY: http://u:pass=word@p"), [ignores(2, no_key("HTTP_PROXY:"))], id="a line of YAML"),
    pytest.param(drop_in("HTTPS_PROXY: bob:secret@proxy:3128 NO_PROXY=localhost"), [ignores(2, no_key("HTTPS_PROXY:"))], id="YAML, two on a line"),
    pytest.param(drop_in("https_proxy: bob:se=cret@proxy:3128"), [ignores(2, no_key("https_proxy:"))], id="YAML, a password with an equals sign"),
    pytest.param(drop_in("https_proxy:bob:se=cret@proxy:3128"), [ignores(2, no_key("https_proxy:"))], id="YAML without a blank"),
    pytest.param(drop_in("Environment: bob:secret@p:3128 HTTP_PROXY=x"), [ignores(2, no_key("Environment:"))], id="a key with a colon"),
    pytest.param(drop_in("HTTPS_PROXY secret@p NO_PROXY=x"), [ignores(2, no_key("HTTPS_PROXY"))], id="a login without a colon"),
    pytest.param(drop_in("Environment HTTP_PROXY: on"), [ignores(2, f"a line without '='): write {EXAMPLE}.")], id="no equals sign"),
    pytest.param(
        drop_in(f'Environment="HTTP_PROXY={PROXY}"', f'"HTTPS_PROXY={PROXY}"'), [ignores(3, no_key('"HTTPS_PROXY'))], id="a line that is not continued"
    ),
    pytest.param({DROP_IN: f"[service]\nEnvironment=HTTP_PROXY={PROXY}\n"}, [ignores(2, f"it is in [service]): {OUTSIDE}")], id="[service]"),
    pytest.param(
        {DROP_IN: f"export HTTP_PROXY={PROXY}\n"},
        [ignores(1, f"there is no section before it): write [Service] on a line of its own above it, and {EXAMPLE} instead of it.")],
        id="a file of a shell",
    ),
    pytest.param(
        {
            DROP_IN: f"[Unit]\nDescription=no_proxy=a\n[X-Ours]\nEnvironment=HTTP_PROXY={PROXY}\nHTTP_PROXY=a\n[Service]\nX-HTTP_PROXY=a\nUMask=0\n"
            f"UnsetEnvironment=HTTP_PROXY={PROXY}\nPassEnvironment=HTTP_PROXY\nExecStartPre=/usr/bin/env HTTP_PROXY={PROXY} true\n"
            f'ExecStartPost=/bin/sh -c \\\n  "https_proxy={PROXY} true"\n'
        },
        [],
        id="what is meant so",
    ),
    pytest.param(
        {
            DROP_IN: "[Unit]\nDocumentation=https://wiki.lab/?http_proxy=1\n[Service]\nLoadCredential=https_proxy:/etc/proxy\n"
            "LoadCredentialEncrypted=https_proxy:/etc/proxy\nSetCredential=https_proxy:a\nSetCredentialEncrypted=https_proxy:a\nImportCredential=no_proxy:a\n"
            "LogExtraFields=HTTP_PROXY=a\nStandardInputText=http_proxy=1\nStandardInputData=http_proxy=\nBindReadOnlyPaths=/etc/http_proxy:/x\n"
            "BindPaths=/etc/http_proxy:/x\nRuntimeDirectory=http_proxy:foo\nStateDirectory=http_proxy:foo\n"
        },
        [],
        id="keys whose values name proxies",
    ),
    pytest.param(drop_in("Documentations=http_proxy=1"), [ignores(2, no_key("Documentations"))], id="a key that only begins like one"),
]  # fmt: skip


@pytest.mark.parametrize("reload", [False, True])
@pytest.mark.parametrize(("files", "sentences"), FOUND)
def test_a_line_that_systemd_does_not_read_is_named_with_what_to_write(files, sentences, reload):
    found = unread_lines(observe(Files(files, reload=reload), "docker", None))
    assert [one.sentence for one in found] == sentences
    assert all((one.id, one.stops) == ("line_ignored_by_systemd", False) for one in found)


def test_defaults_that_the_unit_does_not_read():
    (found,) = unread_lines(observe(Files({DEFAULTS: f'A=1\nexport https_proxy="{PROXY}"\n'}, unit=DOCKER_CE), "docker", None))
    assert found.sentence == (
        f"{DEFAULTS}, line 2: systemd ignores this line (no EnvironmentFile= of docker.service names {DEFAULTS}): "
        'write Environment="https_proxy=value" below [Service] in /etc/systemd/system/docker.service.d/http-proxy.conf.'
    )
    assert unread_lines(observe(Files({DEFAULTS: "A=1\n"}, unit=DOCKER_CE), "docker", None)) == []
    assert unread_lines(observe(Files({}, unit=DOCKER_CE), "docker", None)) == []


def test_without_systemd_a_shell_reads_them():
    assert unread_lines(observe(Files({DEFAULTS: f"export https_proxy={PROXY}\n"}, systemd=False), "docker", None)) == []


class Deaf(Files):
    """A systemd that has some words otherwise than any reading of the files gives."""

    def __init__(self, environment, *lines):
        super().__init__(drop_in(*lines))
        self.environment = environment

    def run(self, argv, env=None, cwd=None, timeout=60, stdin=""):
        answer = super().run(argv)
        lines = [f"Environment={self.environment}" if line.startswith("Environment=") else line for line in answer.out.splitlines()]
        return answer._replace(out="\n".join(lines))


@pytest.mark.parametrize(
    ("environment", "lines", "settings", "sentences"),
    [
        pytest.param("NO_PROXY=host.lab", ["NO_PROXY=%H.lab"], [("NO_PROXY", "host.lab", f"{DROP_IN}, line 2")], 0, id="a specifier"),
        pytest.param("", ["NO_PROXY=a"], [], 1, id="a word that it does not take, nobody knows why"),
        pytest.param("NO_PROXY=a", ["NO_PROXY=a", "NO_PROXY=b"], [("NO_PROXY", "a", f"{DROP_IN}, line 2")], 1, id="the second one"),
        pytest.param("NO_PROXY=b", ["NO_PROXY=b", "NO_PROXY=c", "NO_PROXY=%Hx"], [("NO_PROXY", "b", f"{DROP_IN}, line 2")], 2, id="two"),
        pytest.param("NO_PROXY=c", ["NO_PROXY=%40", "NO_PROXY=%Hx"], [("NO_PROXY", "c", f"{DROP_IN}, line 3")], 1, id="a specifier behind a fault"),
        pytest.param('"NO_PROXY=a b" A=1', ["A=1"], [("A", "1", f"{DROP_IN}, line 2"), ("NO_PROXY", "a b", SYSTEMD)], 0, id="elsewhere"),
    ],
)
def test_what_systemd_says_goes_before_what_we_read(environment, lines, settings, sentences):
    daemon = observe(Deaf(environment, *(f"Environment={line}" for line in lines)), "docker", None)
    assert [(one.name, one.value, one.place) for one in layers(daemon, daemon.files)] == settings
    assert len(unread_lines(daemon)) == sentences


def test_a_word_that_systemd_ignores_for_a_reason_of_its_own():
    (found,) = unread_lines(observe(Deaf("", "Environment=NO_PROXY=a"), "docker", None))
    assert found.sentence == (
        f'{DROP_IN}, line 2: systemd ignores this line (NO_PROXY: systemd does not understand it): write Environment="HTTPS_PROXY=value" "NO_PROXY=value".'
    )


FOLDER = "/etc/systemd/system/docker.service.d"
TEXT = f"[Service]\nEnvironment=HTTP_PROXY={PROXY}\n"


@pytest.mark.parametrize(
    ("path", "instead"),
    [
        (f"{FOLDER}/http-proxy", "its name does not end in .conf): rename it to http-proxy.conf."),
        (f"{FOLDER}/10-proxy.config", "its name does not end in .conf): rename it to 10-proxy.conf."),
        (f"{FOLDER}/http-proxy.conf.txt", "its name does not end in .conf): rename it to http-proxy.conf."),
        ("/etc/systemd/system/dockerd.service.d/proxy.conf", f"it reads the drop-ins of docker.service in {FOLDER}): move it to {FOLDER}."),
        ("/etc/systemd/system/docker.d/proxy.conf", f"it reads the drop-ins of docker.service in {FOLDER}): move it to {FOLDER}."),
        ("/etc/systemd/system/docker.service/proxy.conf", f"it reads the drop-ins of docker.service in {FOLDER}): move it to {FOLDER}."),
        ("/etc/systemd/system/docker-stack@app.service.d/proxy.conf", f"it reads the drop-ins of docker.service in {FOLDER}): move it to {FOLDER}."),
        ("/etc/systemd/system/docker.socket.d/proxy.conf", f"it reads the drop-ins of docker.service in {FOLDER}): move it to {FOLDER}."),
        ("/etc/systemd/docker.service.d/proxy.conf", f"it reads the drop-ins of docker.service in {FOLDER}): move it to {FOLDER}."),
    ],
)
def test_a_file_that_systemd_does_not_read_is_named_with_where_it_belongs(path, instead):
    (found,) = unread_files("docker", unread_drop_ins(Files({path: TEXT}), "docker"))
    assert (found.id, found.stops, found.sentence) == ("file_ignored_by_systemd", False, f"{path}: systemd does not read this file ({instead}")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"{FOLDER}/http-proxy.conf", TEXT),
        (f"{FOLDER}/http-proxy.conf.bak", TEXT),
        (f"{FOLDER}/http-proxy.conf~", TEXT),
        (f"{FOLDER}/http-proxy.conf.dpkg-old", TEXT),
        (f"{FOLDER}/http-proxy.conf.2024-01-31", TEXT),
        (f"{FOLDER}/http-proxy.conf.disabled", TEXT),
        (f"{FOLDER}/.http-proxy.conf.swp", TEXT),
        (f"{FOLDER}/README", "[Service]\n"),
        (f"{FOLDER}/proxy.env", f"HTTP_PROXY={PROXY}\n"),
        (f"{FOLDER}/http-proxy.conf/inner", TEXT),
        ("/etc/systemd/system/docker.service.d.bak/http-proxy.conf", TEXT),
        ("/etc/systemd/system/docker.service.wants/notes", TEXT),
        ("/etc/systemd/system/docker-registry.service.d/proxy.conf", TEXT),
        ("/etc/systemd/system/docker-compose@app.service.d/proxy.conf", TEXT),
        ("/etc/systemd/system/docker-compose@bob@app.service.d/proxy.conf", TEXT),
        ("/etc/systemd/system/docker-compose@.service.d/proxy.conf", TEXT),
        ("/etc/systemd/system/docker-.service.d/proxy.conf", TEXT),
        ("/etc/systemd/system/gitlab-runner.service.d/proxy.conf", TEXT),
        ("/run/systemd/system/docker.service.d/proxy.conf", TEXT),
        ("/etc/systemd/system/docker.d/proxy.conf", "[Service]\nNice=1\n"),
    ],
)
def test_a_file_that_is_read_or_kept_on_purpose_is_no_finding(path, text):
    others = ("/usr/lib/systemd/system/docker-registry.service", "/etc/systemd/system/docker-compose@.service")
    host = Files({path: text, **dict.fromkeys(others, "[Service]\n")})
    assert unread_files("docker", unread_drop_ins(host, "docker")) == []
