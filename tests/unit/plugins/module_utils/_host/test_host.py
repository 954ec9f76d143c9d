# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The door to the host on real files, programs and sockets of this machine."""

from __future__ import annotations

import contextlib
import errno
import http.client
import http.server
import os
import pwd
import signal
import socket
import socketserver
import ssl
import subprocess
import threading
import time
import types

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer
from ansible_collections.buildfleet.docker.plugins.module_utils._host import build_host, web_host
from ansible_collections.buildfleet.docker.plugins.module_utils._host import host as host_file
from ansible_collections.buildfleet.docker.plugins.module_utils._host.build_host import BuildHost
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, HostError, Run
from ansible_collections.buildfleet.docker.plugins.module_utils._host.web_host import WebHost

HERE = {"PATH": os.environ["PATH"]}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")


def mine(contents, mode=0o644):
    return File(contents, mode, os.geteuid(), os.getegid())


# --- files ----------------------------------------------------------------------------------------


def test_a_file_comes_back_as_it_was_written(tmp_path):
    path = str(tmp_path / "new/folder/file")
    assert Host().read(path) is None and Host().changed_at(path) == 0.0
    Host().write(path, mine(b"a", 0o600))
    assert Host().read(path) == mine(b"a", 0o600)
    assert abs(Host().changed_at(path) - Host().now()) < 60
    assert Host().names(str(tmp_path / "new/folder")) == ["file"]
    Host().remove(path)
    assert Host().read(path) is None
    Host().remove(path)


def test_a_time_that_has_not_come_yet_is_not_when_a_file_changed(tmp_path):
    path = tmp_path / "daemon.json"
    path.write_bytes(b"{}")
    os.utime(path, (2_000_000_000, 4_000_000_000))
    assert abs(Host().changed_at(str(path)) - Host().now()) < 60


def test_the_folders_that_a_write_creates_are_those_of_the_file_that_a_link_names(tmp_path):
    (tmp_path / "daemon.json").symlink_to("new/deep/daemon.json")
    folders = [str(tmp_path / "new/deep"), str(tmp_path / "new")]
    assert Host().missing_folders(str(tmp_path / "daemon.json")) == folders
    Host().write(str(tmp_path / "daemon.json"), mine(b"{}"))
    assert Host().missing_folders(str(tmp_path / "daemon.json")) == []


def test_a_device_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "device")
    (tmp_path / "daemon.json").symlink_to("device")
    path, why = str(tmp_path / "daemon.json"), f"{tmp_path}/device is not a regular file. Use another path."
    assert not Host().can_write(path)
    for done, change in (("written", lambda: Host().write(path, mine(b"{}"))), ("removed", lambda: Host().remove(path))):
        with pytest.raises(HostError) as refused:
            change()
        assert str(refused.value) == f"{path} cannot be {done}: {why}"
    assert not Host().can_write("/dev/null") and (tmp_path / "device").is_fifo()


def test_a_file_in_the_place_of_a_private_folder_keeps_its_mode(tmp_path):
    path = tmp_path / "record"
    path.write_bytes(b"x")
    path.chmod(0o640)
    with pytest.raises(HostError) as refused:
        Host().make_private_folder(str(path))
    assert str(refused.value) == f"{path} cannot be created: a file has its name. Move it away."
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_one_and_its_file_is_replaced(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    Host().write(str(tmp_path / "link"), mine(b"new"))
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"
    Host().remove(str(tmp_path / "link"))
    assert not (tmp_path / "real").exists()


def test_a_new_file_has_its_owner_and_its_label_before_it_has_its_name(tmp_path, monkeypatch):
    seen = []

    def label(temporary, target):
        seen.append((os.path.dirname(temporary), target, os.path.exists(target)))

    monkeypatch.setattr(os, "fchown", lambda _handle, uid, gid: seen.append((uid, gid, (tmp_path / "file").exists())))
    Host(label).write(str(tmp_path / "file"), File(b"a", 0o644, 4711, 4712))
    assert seen == [(4711, 4712, False), (str(tmp_path), str(tmp_path / "file"), False)]
    assert (tmp_path / "file").read_bytes() == b"a"


NOT_A_DIRECTORY = "Move the file away that has the name of a directory."


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "Permission denied. Set become: true."),
        (errno.EROFS, "Read-only file system. Mount its file system with write access."),
        (errno.ENOSPC, "No space left on device. Free space there (df)."),
        (errno.EIO, "Input/output error. Correct that, then run this again."),
    ],
)
def test_a_failed_write_says_what_to_do(tmp_path, number, remedy):
    def label(temporary, target):
        raise OSError(number, os.strerror(number))

    with pytest.raises(HostError) as caught:
        Host(label).write(str(tmp_path / "file"), mine(b"new"))
    assert str(caught.value) == f"{tmp_path}/file cannot be written: {remedy}"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    def label(temporary, target):
        raise PermissionError(1, "Operation not permitted")

    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(HostError, match=r"/file cannot be written: Operation not permitted\. Set become: true; lsattr shows whether it is immutable\.$"):
        Host(label).write(str(tmp_path / "file"), mine(b"new"))
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda host, path: host.read(path), "{} is a directory, but a file belongs there. Move it away.", id="read"),
        pytest.param(
            lambda host, path: host.write(f"{path}/file/x", mine(b"")), "{}/file/x cannot be written: Not a directory. " + NOT_A_DIRECTORY, id="write"
        ),
        pytest.param(lambda host, path: host.remove(path), "{} cannot be removed: Is a directory. Move the directory away.", id="remove"),
        pytest.param(
            lambda host, path: host.remove_folder("/proc"),
            "/proc cannot be removed: Device or resource busy. Correct that, then run this again.",
            id="remove a folder",
        ),
        pytest.param(
            lambda host, path: host.make_private_folder(f"{path}/file/x/y"),
            "{}/file/x/y cannot be created: Not a directory. " + NOT_A_DIRECTORY,
            id="make a folder",
        ),
        pytest.param(
            lambda host, path: host.names("x" * 300), "x" * 300 + " cannot be read: File name too long. Correct that, then run this again.", id="names"
        ),
        pytest.param(
            lambda host, path: host.home("no-such-user"),
            "There is no user no-such-user on this host. Create the user first, or correct the name.",
            id="home",
        ),
        pytest.param(
            lambda host, path: host.run([f"{path}/file"]),
            "{}/file cannot be run: Permission denied. Make it executable.",
            id="run",
        ),
        pytest.param(
            lambda host, path: host.run_group([f"{path}/file"], HERE, "/", 1, "jane"),
            "{}/file cannot be run as jane: [Errno 13] Permission denied: '{}/file'. Make it executable.",
            id="run a group",
        ),
        pytest.param(
            lambda host, path: host.lock(f"{path}/file/x").__enter__(),
            "{}/file/x cannot be locked: Not a directory. This module needs become: true.",
            id="lock",
        ),
    ],
)
def test_no_is_said_in_a_sentence(tmp_path, monkeypatch, call, message):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # so that nobody becomes jane
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(HostError) as caught:
        call(BuildHost(), str(tmp_path))
    assert str(caught.value) == message.replace("{}", str(tmp_path))


def test_a_folder_is_told_from_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    assert [Host().is_folder(f"{tmp_path}{name}") for name in ("", "/file", "/missing")] == [True, False, False]


def test_a_folder_goes_where_it_is_empty_and_is_private_where_it_was_made(tmp_path):
    folder = tmp_path / "a/b"
    Host().make_private_folder(str(folder))
    assert folder.stat().st_mode & 0o777 == 0o700 and folder.parent.stat().st_mode & 0o777 == 0o755
    (folder / "file").write_bytes(b"")
    Host().remove_folder(str(folder))
    assert folder.exists()
    BuildHost().remove_tree(str(tmp_path / "a"))
    Host().remove_folder(str(folder))
    assert not (tmp_path / "a").exists()


def test_what_a_killed_run_left_is_swept_and_what_a_live_one_writes_stays(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / "secret").write_bytes(b"")
    (tmp_path / f".buildfleet-{dead.pid}-x").symlink_to("secret")
    (tmp_path / f".buildfleet-{os.getpid()}-x").write_bytes(b"")
    (tmp_path / ".buildfleet-x").write_bytes(b"")
    Host().sweep([str(tmp_path / "a"), str(tmp_path / "b"), "/no/such/folder/c"])
    assert Host().names(str(tmp_path)) == [f".buildfleet-{os.getpid()}-x", ".buildfleet-x", "secret"]


def test_links_are_told_and_other_files_are_not(tmp_path):
    (tmp_path / "a").symlink_to("socket:[1]")
    (tmp_path / "b").write_bytes(b"")
    assert Host().links(str(tmp_path)) == ["socket:[1]"]
    assert Host().links(str(tmp_path / "none")) == []


@pytest.mark.parametrize("may", [True, False])
def test_a_file_can_be_made_where_its_first_folder_that_exists_can_be_written(tmp_path, monkeypatch, may):
    asked = []

    def access(path, rights, effective_ids):
        asked.append((path, rights, effective_ids))
        return may

    monkeypatch.setattr(os, "access", access)
    assert Host().can_write(str(tmp_path / "a/b/c")) is may
    assert asked == [(str(tmp_path), os.W_OK | os.X_OK, True)]


@pytest.mark.parametrize(
    ("user", "writable", "mounts", "may"),
    [
        pytest.param(0, True, "24 1 0:22 / / rw - overlay overlay rw\n", True, id="an ordinary file"),
        pytest.param(0, False, "", False, id="immutable, or on a read-only mount"),
        pytest.param(1000, False, "", True, id="a user may replace a file that is not writable"),
        pytest.param(0, True, "99 24 0:22 {path} {path} rw - overlay overlay rw\n", False, id="a mount of its own"),
    ],
)
def test_a_file_that_not_even_root_can_replace(tmp_path, monkeypatch, user, writable, mounts, may):
    path = str(tmp_path / "daemon.json")
    (tmp_path / "daemon.json").write_bytes(b"{}")
    monkeypatch.setattr(os, "access", lambda name, _rights, effective_ids: writable or name != path)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(Host, "read", lambda _self, _path: File(mounts.format(path=path).encode()))
    assert Host().can_write(path) is may


def test_a_replaced_file_keeps_its_access_control_list_but_not_its_label(tmp_path, monkeypatch):
    known, kept = {"system.posix_acl_access": b"acl", "security.selinux": b"label", "user.note": b"x"}, {}
    monkeypatch.setattr(os, "listxattr", lambda _path: list(known))
    monkeypatch.setattr(os, "getxattr", lambda _path, name: known[name])
    monkeypatch.setattr(os, "setxattr", lambda _handle, name, value: kept.update({name: value}))
    Host().write(str(tmp_path / "daemon.json"), File(b"{}"))
    assert kept == {"system.posix_acl_access": b"acl", "user.note": b"x"}


def test_a_file_that_is_there_exists(tmp_path):
    assert Host().exists(str(tmp_path)) and not Host().exists(str(tmp_path / "none"))


def test_free_space_is_told_where_it_can_be(tmp_path):
    found = os.statvfs(tmp_path)
    assert 0 <= BuildHost().free(str(tmp_path)) <= found.f_blocks * found.f_frsize
    assert BuildHost().free(str(tmp_path / "none")) is None


def test_one_run_at_a_time(tmp_path):
    path = str(tmp_path / "lock")
    with Host().lock(path), pytest.raises(HostError, match=r"^This module is already running on this host \(.*/lock is locked\)"), Host().lock(path):
        raise AssertionError("two runs at once")
    with Host().lock(path):
        pass


# --- users and processes --------------------------------------------------------------------------


def test_who_we_are(monkeypatch):
    assert Host().user() == pwd.getpwuid(os.geteuid()).pw_name
    assert Host().home("root") == pwd.getpwnam("root").pw_dir
    monkeypatch.setattr(os, "geteuid", lambda: 4000000)
    assert Host().user() == "4000000"


def test_processes_are_read_while_they_live():
    with subprocess.Popen(["cat", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdin.write(b"x\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"x\n"  # only now it is surely cat
        assert (Host().process(child.pid), Host().parent(child.pid)) == (["cat", "-"], os.getpid())
    assert (Host().process(child.pid), Host().parent(child.pid)) == ([], 0)


def test_time_passes_while_it_sleeps():
    before = Host().now()
    Host().sleep(0.05)
    assert Host().now() - before >= 0.04


@pytest.mark.parametrize(
    ("argv", "more", "done"),
    [
        pytest.param(["sh", "-c", "cat; echo no >&2; exit 3"], {"stdin": "yes"}, Run(3, "yes", "no\n"), id="words and code"),
        pytest.param(["sh", "-c", "echo $A-$LC_ALL; pwd"], {"env": {"A": "1"}, "cwd": "/"}, Run(0, "1-\n/\n", ""), id="an environment of its own"),
        pytest.param(["sh", "-c", "echo $A-$LC_ALL"], {}, Run(0, "ours-C\n", ""), id="ours, in the C locale"),
        pytest.param(["no-such-program"], {}, Run(127, "", "no-such-program: not found"), id="missing"),
        pytest.param(["sh", "-c", "echo a; exec sleep 60"], {"timeout": 0.5}, Run(124, "a\n", "\nsh: no end within 0.5 s"), id="late"),
    ],
)
def test_a_program_is_run(monkeypatch, argv, more, done):
    monkeypatch.setenv("A", "ours")
    assert Host().run(argv, **more) == done


def test_the_path_has_roots_folders_for_programs_whoever_we_are(monkeypatch):
    monkeypatch.setenv("PATH", "/opt/bin:/bin")
    assert Host().run(["sh", "-c", "echo $PATH"]).text == "/opt/bin:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    monkeypatch.delenv("PATH")
    assert Host().run(["/bin/sh", "-c", "echo $PATH"]).text == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def test_side_by_side_what_fails_or_is_late_is_left_out():
    def fails():
        raise HostError("No.")

    late = threading.Event()
    assert Host().run_parallel({"a": lambda: 1, "b": fails, "c": late.wait}, 0.2) == {"a": 1}
    late.set()


@pytest.mark.parametrize(
    ("ends_with", "sent"),
    [
        pytest.param(signal.SIGINT, [signal.SIGINT, signal.SIGKILL], id="asked"),
        pytest.param(signal.SIGTERM, [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], id="told"),
        pytest.param(signal.SIGKILL, [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], id="killed"),
        pytest.param(None, [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], id="not even then"),
    ],
)
def test_a_group_is_asked_before_it_is_killed(monkeypatch, ends_with, sent):
    numbers = []

    def killpg(_group, number):
        numbers.append(number)
        if ends_with in numbers[:-1]:
            raise ProcessLookupError

    def wait(seconds):
        if ends_with not in numbers:
            raise subprocess.TimeoutExpired("x", seconds)

    monkeypatch.setattr(os, "killpg", killpg)
    BuildHost._end_group(types.SimpleNamespace(pid=42, wait=wait))
    assert numbers == sent


@pytest.mark.slow
def test_a_run_that_is_interrupted_leaves_no_program_behind(tmp_path, monkeypatch):
    wait, started = subprocess.Popen.wait, []

    def interrupted(child, timeout=None):
        if not started:
            started.append(child)
            raise KeyboardInterrupt
        return wait(child, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        BuildHost().run_group(["sleep", "60"], HERE, "/", 60)
    assert started[0].returncode in (-signal.SIGINT, -signal.SIGTERM)  # what runs in the background of a shell ignores the first


def test_rights_go_before_the_right_to_give_them_away(monkeypatch):
    calls = []
    for name in ("initgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda *arguments, name=name: calls.append((name, *arguments)))
    entry = pwd.getpwnam("nobody")
    build_host._become("nobody")
    assert calls == [("initgroups", "nobody", entry.pw_gid), ("setgid", entry.pw_gid), ("setuid", entry.pw_uid)]


@as_root
def test_a_program_of_a_user_has_that_users_rights_alone():
    assert BuildHost().run_group(["sh", "-c", "id -un; id -Gn"], HERE, "/", 9, "nobody").out == "nobody\nnogroup\n"
    with pytest.raises(HostError, match=r"^true cannot be run as no-such-user: "):
        BuildHost().run_group(["true"], HERE, "/", 9, "no-such-user")


@pytest.mark.parametrize(("euid", "given"), [(0, ["Dockerfile", ""]), (1000, [])], ids=["the folder last", "not by us"])
def test_a_folder_belongs_to_its_user_and_is_gone_afterwards(monkeypatch, euid, given):
    nobody, owned = pwd.getpwnam("nobody"), []
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: owned.append((path, uid, gid)))
    with BuildHost().folder({"Dockerfile": "FROM ä\n"}, "nobody") as path:
        with open(f"{path}/Dockerfile", "rb") as file:
            assert file.read() == "FROM ä\n".encode()
        assert owned == [(os.path.join(path, name), nobody.pw_uid, nobody.pw_gid) for name in given]
    assert not os.path.exists(path)
    with BuildHost().folder({}) as path:
        assert os.listdir(path) == [] and len(owned) == len(given)


# --- servers --------------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what its server was told for the path."""

    def answer(self):
        status, headers, body = self.server.answers.get(f"{self.command} {self.path}", (404, {}, b""))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_GET = do_DELETE = do_HEAD = do_CONNECT = answer

    def log_message(self, *_arguments):
        pass


@contextlib.contextmanager
def serving(server, answers):
    server.answers = answers
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture()
def engine(tmp_path):
    answers = {
        "GET /info": (200, {}, b' {"Driver": "overlay2"}'),
        "GET /list": (200, {}, b"[1]"),
        "GET /_ping": (200, {"Builder-Version": "2"}, b"OK"),
        "GET /cut": (200, {}, b'{"Driver": '),
        "DELETE /images/x": (200, {}, b"[]"),
    }
    with serving(socketserver.UnixStreamServer(str(tmp_path / "docker.sock"), Handler), answers):
        yield str(tmp_path / "docker.sock")


@pytest.mark.parametrize(
    ("path", "method", "answer"),
    [
        ("/info", "GET", {"Driver": "overlay2"}),
        ("/list", "GET", [1]),
        ("/_ping", "GET", "OK"),
        ("/cut", "GET", None),
        ("/images/x", "DELETE", []),
        ("/images/x", "GET", None),
    ],
)
def test_the_engine_is_asked_through_its_socket(engine, path, method, answer):
    assert Host().engine_api(path, method, sock=engine) == answer


def test_an_engine_tells_its_builder_and_one_that_is_not_there_nothing(engine, tmp_path):
    assert BuildHost().ping(engine)["Builder-Version"] == "2"
    assert BuildHost().ping(str(tmp_path / "none")) == {}
    assert Host().engine_api("/info", sock=str(tmp_path / "none")) is None


def test_a_web_server_is_asked_without_a_proxy(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    answers = {"GET /v2/": (200, {"X": "y"}, b""), "GET /401": (401, {"WWW-Authenticate": "Bearer"}, b"")}
    with serving(http.server.HTTPServer(("127.0.0.1", 0), Handler), answers) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        found, refused = Host().http_get(f"{url}/v2/", {"Accept": "x"}), Host().http_get(f"{url}/401", {})
    assert (found.status, found.headers["X"]) == (200, "y")
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert Host().http_get(url, {}) == Answer(0, {}, "refused")
    assert Host().http_get("nonsense", {}) == Answer(0, {}, "reset")


@contextlib.contextmanager
def web(answers):
    with serving(http.server.HTTPServer(("127.0.0.1", 0), Handler), answers) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(("elsewhere", "sent"), [(False, "Basic eA=="), (True, None)], ids=["the same host", "another host"])
def test_a_login_follows_no_redirect_to_another_host(elsewhere, sent):
    seen = {}

    class Target(Handler):
        def do_GET(self):
            seen.clear()
            seen.update(self.headers.items())
            super().do_GET()

    answers = {"GET /end": (200, {}, b"")}
    with serving(http.server.HTTPServer(("127.0.0.1", 0), Target), answers) as server:
        answers["GET /start"] = (307, {"Location": f"http://{'localhost' if elsewhere else '127.0.0.1'}:{server.server_port}/end"}, b"")
        headers = {"Authorization": "Basic eA==", "Accept": "x"}
        assert Host().http_get(f"http://127.0.0.1:{server.server_port}/start", headers).status == 200
    assert (seen.get("Authorization"), seen["Accept"]) == (sent, "x")


@pytest.mark.parametrize(
    ("method", "path", "most", "found"),
    [
        ("GET", "/whole", 10, (200, "", b"12345")),
        ("GET", "/whole", 3, (200, "", b"123")),
        ("GET", "/whole", 0, (200, "", b"")),
        ("HEAD", "/whole", 10, (200, "", b"")),
        ("GET", "/refused", 10, (403, "", b"no")),
        ("GET", "/moved", 10, (307, "", b"")),
        ("GET", "/short", 100, (200, "cut off", b"12345")),
        ("GET", "/short", 5, (200, "", b"12345")),
        ("GET", "/chunks", 100, (200, "cut off", b"")),
        ("GET", "/until-the-end", 100, (200, "", b"12345")),
    ],
)
def test_one_question_gets_one_answer_with_the_first_bytes_of_its_body(method, path, most, found):
    whole, short = (200, {}, b"12345"), (200, {"Content-Length": "50"}, b"12345")
    chunks = (200, {"Content-Length": "", "Transfer-Encoding": "chunked"}, b"50\r\n")
    answers = {
        "GET /whole": whole, "HEAD /whole": whole, "GET /refused": (403, {}, b"no"), "GET /moved": (307, {"Location": "/whole"}, b""),
        "GET /short": short, "GET /chunks": chunks, "GET /until-the-end": (200, {"Content-Length": ""}, b"12345"),
    }  # fmt: skip
    with web(answers) as url:
        answer = WebHost().http_request(url + path, {"Accept": "x"}, 5, method, most)
    assert (answer.status, answer.reason, answer.body) == found
    assert answer.header("location") == ("/whole" if path == "/moved" else "")


def test_a_question_goes_through_its_proxy_alone(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with web({"GET http://m.lab/v2/": (200, {}, b"from the proxy"), "CONNECT m.lab:443": (403, {}, b"")}) as url:
        assert WebHost().http_request("http://m.lab/v2/", {}, 5, most=20, proxies={"http": url}).body == b"from the proxy"
        assert WebHost().http_request("https://m.lab/v2/", {}, 5, most=20, proxies={"https": url}) == Answer(0, {}, "proxy status 403")
    assert WebHost().http_request(url, {}, 5) == Answer(0, {}, "refused")


class Slowly:
    """A body that comes byte by byte, and breaks off if it is told so."""

    status, headers = 200, {}

    def __init__(self, error=None):
        self.error, self.left = error, 3

    def read1(self, _most):
        self.left -= 1
        if self.left < 0 and self.error:
            raise self.error
        return b"x" if self.left >= 0 else b""


@pytest.mark.parametrize(
    ("until", "error", "found"),
    [
        (float("inf"), None, ("", b"xxx")),
        (0.0, None, ("timeout", b"x")),
        (float("inf"), ConnectionResetError(), ("reset", b"xxx")),
        (float("inf"), socket.timeout(), ("timeout", b"xxx")),
    ],
)
def test_a_body_ends_with_its_time_or_its_connection(until, error, found):
    answer = web_host._read(Slowly(error), 10, until)
    assert (answer.reason, answer.body) == found


@contextlib.contextmanager
def port_that(answer):
    """A port that reads once and then does this."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _address = listener.accept()
                    with connection:
                        answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def plain(connection):
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" if connection.recv(100) else b"")


def waits_for_a_line(connection):
    """tinyproxy: what a TLS client sends has no end that it knows."""
    if connection.recv(1000).startswith(b"GET"):
        connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
    else:
        time.sleep(0.5)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(plain, True, id="answers at once"),
        pytest.param(waits_for_a_line, True, id="waits"),
        pytest.param(lambda connection: connection.recv(10), False, id="says nothing"),
        pytest.param(lambda connection: connection.sendall(b"SSH-2.0-x\r\n"), False, id="another protocol"),
    ],
)
def test_whether_a_port_speaks_plain_http(answer, expected):
    with port_that(answer) as port:
        assert Host().speaks_plain_http("127.0.0.1", port, 0.4) is expected


def test_a_port_with_tls_or_without_a_listener_speaks_no_plain_http(monkeypatch):
    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", lambda _context, connection: connection)
    with port_that(plain) as port:
        assert not Host().speaks_plain_http("127.0.0.1", port)
    assert not Host().speaks_plain_http("127.0.0.1", port)


def certificate_error(message):
    error = ssl.SSLCertVerificationError()
    error.verify_message = message
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (certificate_error("Hostname mismatch, certificate is not valid for 'm.lab'."), "wrong name"),
        (certificate_error("unable to get local issuer certificate"), "unknown authority"),
        (certificate_error("certificate has expired"), "expired certificate"),
        (certificate_error("certificate is not yet valid"), "certificate of the future"),
        (OSError("Tunnel connection failed: 407 Proxy Authentication Required"), "proxy status 407"),
        (ssl.SSLError("wrong version number"), "tls"),
        (socket.gaierror(-2, "Name or service not known"), "dns"),
        (ConnectionRefusedError(), "refused"),
        (socket.timeout(), "timeout"),
        (ConnectionResetError(), "reset"),
        (http.client.RemoteDisconnected(), "reset"),
    ],
)
def test_no_answer_has_a_reason(error, reason):
    assert host_file.transport(error) == reason


def test_the_words_of_a_program_are_both_streams():
    assert Run(1, "out\n", "err\n").text == "out\nerr"


@pytest.mark.slow
def test_a_program_and_its_children_end_with_the_time():
    started = time.monotonic()
    done = BuildHost().run_group(["sh", "-c", "echo one; echo two >&2; sleep 60 & sleep 60"], HERE, "/", 1)
    assert (done.code, done.out) == (124, "one\ntwo\n")
    assert time.monotonic() - started < 20


def test_a_program_that_is_missing():
    assert BuildHost().run_group(["docker-that-is-missing"], {"PATH": "/bin"}, "/", 1) == Run(127, "", "docker-that-is-missing: not found")
