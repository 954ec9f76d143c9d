# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With a program that behaves as the registry: it ends with 2 if its upstream (a file) is not there, else it listens."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import serve

PROGRAM = """#!/bin/sh
kind=$(basename "$2" .yml)
echo "$kind" >>{folder}/started
echo "$OTEL_TRACES_EXPORTER" >>{folder}/exporters
if [ "$kind" != offline ] && [ ! -e {folder}/upstream ]; then
    echo 'time="now" level=fatal msg="Get \\\\"http://builder:secret@upstream/v2/\\\\": connection refused"' >&2
    exit 2
fi
echo "$kind" >>{folder}/looked
echo 'msg="listening on 127.0.0.1:5000"' >&2
exec sleep 30
"""


@pytest.fixture()
def folder(tmp_path):
    program = tmp_path / "program"
    program.write_text(PROGRAM.format(folder=tmp_path))
    program.chmod(0o755)
    (tmp_path / "upstream").touch()
    return tmp_path


@pytest.fixture()
def server(folder):
    server = serve.Server(str(folder / "program"), folder, interval=0.0)
    yield server
    server.stop()


def wait_until(server, condition):
    for _turn in range(400):
        server.step()
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen within 8 seconds")


def started(folder, kind):
    return (folder / "started").read_text().split().count(kind)


def found_upstream(folder, kind):
    return kind in (folder / "looked").read_text().split()


def test_it_serves_with_its_upstream(server, folder, capfd):
    wait_until(server, lambda: server.online)
    wait_until(server, lambda: started(folder, "online") == 1)
    assert capfd.readouterr().out == "buildfleet: online: the upstream answers\n"


@pytest.fixture()
def no_upstream(folder):
    (folder / "upstream").unlink()


def test_without_its_upstream_it_starts_with_what_it_has_and_is_back_by_itself(no_upstream, server, folder, capfd):
    wait_until(server, lambda: server.online is False)
    assert capfd.readouterr().out == (
        'buildfleet: OFFLINE: serving stored images only, the upstream does not answer (Get "http://xxxxx:xxxxx@upstream/v2/": connection refused)\n'
    )
    (folder / "upstream").touch()
    wait_until(server, lambda: server.online)
    wait_until(server, lambda: started(folder, "online") == 1 and not server.draining)


def test_one_probe_that_fails_changes_nothing_the_second_does(server, folder):
    wait_until(server, lambda: server.online)
    (folder / "upstream").unlink()
    wait_until(server, lambda: server.failures == 1)
    assert server.online
    wait_until(server, lambda: server.online is False)


def test_a_registry_that_ends_is_started_again(server, folder, capfd):
    wait_until(server, lambda: server.online and started(folder, "online"))
    server.registry.kill()
    wait_until(server, lambda: started(folder, "online") == 2)
    assert "buildfleet: the registry ended with -9 and is started again\n" in capfd.readouterr().out


def test_while_the_old_one_finishes_the_new_one_waits_for_the_port(server, folder, capfd):
    wait_until(server, lambda: server.online and started(folder, "online"))
    server.draining.append(subprocess.Popen(["sleep", "30"]))
    server.registry.kill()
    wait_until(server, lambda: started(folder, "online") == 2)
    assert "started again" not in capfd.readouterr().out


def test_a_probe_that_hangs_is_no_answer(folder):
    now = [0.0]
    probe = serve.Probe(["sleep", "30"], timeout=7.0, clock=lambda: now[0])
    assert probe.result() is None
    now[0] = 7.0
    assert (probe.result(), probe.reason) == (False, "no answer within 7 seconds")
    assert probe.process.poll() == -9


NGINX = """#!/bin/sh
echo "$@$HTTPS_PROXY" >>{folder}/fronts
echo "buildfleet: shared 1000 /v2/a/blobs/sha256:0"
trap 'exit 0' QUIT
sleep 30 &
wait
"""


@pytest.fixture()
def front(folder):
    nginx = folder / "nginx"
    nginx.write_text(NGINX.format(folder=folder))
    nginx.chmod(0o755)
    return serve.Front(str(nginx), folder / "front.conf", folder, folder / "storage/front")


@pytest.fixture()
def behind(folder, front):
    server = serve.Server(str(folder / "program"), folder, interval=0.0, front=front)
    yield server
    server.stop()


@pytest.fixture()
def listen(folder):
    """Listen on the socket of a registry of this kind."""
    sockets = []

    def start(kind):
        sockets.append(socket.socket(socket.AF_UNIX))
        sockets[-1].bind(str(folder / f"{kind}.sock"))
        sockets[-1].listen()

    yield start
    for listening in sockets:
        listening.close()


def fronts(folder):
    file = folder / "fronts"
    return file.read_text().splitlines() if file.exists() else []


SHARED = "buildfleet: shared 1000 /v2/a/blobs/sha256:0\n"


def test_nginx_runs_when_the_registry_listens_and_is_started_again(behind, front, folder, listen, capfd, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://builder:secret@proxy")
    wait_until(behind, lambda: behind.online and started(folder, "online"))
    assert fronts(folder) == []
    listen("online")
    wait_until(behind, lambda: len(fronts(folder)) == 1)
    assert fronts(folder) == [f"-c {folder}/front.conf"]
    front.process.kill()
    wait_until(behind, lambda: len(fronts(folder)) == 2)
    output = ""
    for _turn in range(100):
        output += capfd.readouterr().out
        if output.count(SHARED) == 2:
            break
        time.sleep(0.02)
    assert output.count(SHARED) == 2
    assert "buildfleet: nginx ended with -9 and is started again\n" in output


def test_nginx_ends_after_its_last_request(behind, front, folder, listen):
    wait_until(behind, lambda: behind.online)
    listen("online")
    wait_until(behind, lambda: len(fronts(folder)) == 1)
    behind.stop()
    assert front.process.returncode == 0


def test_behind_nginx_the_old_registry_serves_until_the_new_one_listens(behind, folder, listen):
    wait_until(behind, lambda: behind.online and found_upstream(folder, "online"))
    listen("online")
    wait_until(behind, lambda: len(fronts(folder)) == 1)
    old = behind.registry
    (folder / "upstream").unlink()
    wait_until(behind, lambda: behind.online is False and started(folder, "offline"))
    assert os.readlink(folder / "registry.sock") == "online.sock"
    assert old.poll() is None
    listen("offline")
    wait_until(behind, lambda: old.poll() is not None)
    assert os.readlink(folder / "registry.sock") == "offline.sock"
    assert len(fronts(folder)) == 1


@pytest.fixture()
def undecided(behind, folder, listen):
    """It served online, and the registry that serves offline does not listen yet."""
    wait_until(behind, lambda: behind.online and found_upstream(folder, "online"))
    listen("online")
    wait_until(behind, lambda: len(fronts(folder)) == 1)
    old = behind.registry
    (folder / "upstream").unlink()
    wait_until(behind, lambda: behind.online is False and started(folder, "offline"))
    return old, behind.registry


def test_an_upstream_that_is_back_at_once_keeps_its_registry_which_would_remove_the_socket_of_another_one(undecided, behind, folder):
    old, never_listened = undecided
    (folder / "upstream").touch()
    wait_until(behind, lambda: never_listened.poll() is not None)
    assert behind.online
    assert behind.registry is old
    assert old.poll() is None
    assert (started(folder, "online"), behind.retiring) == (1, [])
    assert os.readlink(folder / "registry.sock") == "online.sock"


def test_a_registry_that_ended_before_its_upstream_was_back_is_started_again(undecided, behind, folder):
    old, never_listened = undecided
    old.kill()
    old.wait()
    (folder / "upstream").touch()
    wait_until(behind, lambda: behind.online and started(folder, "online") == 2)
    wait_until(behind, lambda: never_listened.poll() is not None)
    assert behind.registry.poll() is None


def test_a_socket_that_a_killed_registry_left_is_no_registry(folder, listen):
    assert not serve.listens(folder / "online.sock")
    listen("online")
    assert serve.listens(folder / "online.sock")
    (folder / "file").touch()
    assert not serve.listens(folder / "file")


def test_the_size_of_the_layers_in_front(front, folder):
    (folder / "storage/front/layers/a").mkdir(parents=True)
    (folder / "storage/front/layers/a/1").write_bytes(b"12345")
    (folder / "storage/front/layers/gone").symlink_to("nowhere")
    assert front.size() == 5


def test_a_full_front_keeps_no_more_layers(front, folder):
    (folder / "storage/front/layer").write_bytes(b"12345")
    full = folder / "storage/front/full"
    front.keep_below(5)
    assert full.exists()
    front.keep_below(5)
    assert full.exists()
    front.keep_below(6)
    assert not full.exists()
    front.keep_below(6)
    assert not full.exists()


def test_a_registry_that_ignores_the_end_is_killed(folder, monkeypatch):
    server = serve.Server(str(folder / "program"), folder, interval=0.0)
    stubborn = subprocess.Popen(
        [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(30)"], stdout=-1
    )
    stubborn.stdout.readline()
    server.draining.append(stubborn)
    monkeypatch.setattr(serve, "STOP_SECONDS", 0.2)
    server.stop()
    stubborn.stdout.close()
    assert stubborn.wait() == -9


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (b'time="now" level=warning msg="a"\ntime="now" level=fatal msg="b \\"c\\""\n', 'b "c"'),
        (b"panic: no storage\n\ngoroutine 1:\nmain.main()\n", "no storage"),
        (b"configuration error: x\n", "configuration error: x"),
        (b"", ""),
    ],
)
def test_the_message_of_a_registry_that_ended(output, message):
    assert serve.message_of(output) == message


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('Get "http://joe:s3cret@p:1/v2/": refused', 'Get "http://xxxxx:xxxxx@p:1/v2/": refused'),
        ("http://joe:s3@cret@p:1", "http://xxxxx:xxxxx@p:1"),
        ("http://p:1/v2/a@sha256:0", "http://p:1/v2/a@sha256:0"),
        ("http://p:1 joe@p", "http://p:1 joe@p"),
    ],
)
def test_a_login_in_a_message_is_masked(text, masked):
    assert serve.masked(text) == masked


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("1000", 1000), ("2K", 2048), ("3M", 3 << 20), ("50G", 50 << 30), ("1T", 1 << 40)])
def test_sizes(text, size):
    assert serve.size(text) == size


@pytest.mark.parametrize("text", ["", "G", "1.5G", "-1", "10 GB"])
def test_other_sizes_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        serve.size(text)
    assert str(refused.value) == f"{text} is not a size such as 50G; write a number, followed by K, M, G or T"


def test_the_program_with_nginx_in_front(folder, front, listen):
    (folder / "storage/front/layers").mkdir(parents=True)
    (folder / "storage/front/layers/old").touch()
    listen("online")
    options = [f"--program={folder}/program", "--max-size=1G", f"--front={folder}/nginx", f"--sockets={folder}"]
    process = subprocess.Popen([sys.executable, "-B", serve.__file__, str(folder), str(folder / "storage"), *options], stdout=subprocess.PIPE, text=True)
    lines = {process.stdout.readline() for _line in range(2)}
    assert lines == {"buildfleet: online: the upstream answers\n", SHARED}
    assert list((folder / "storage/front").iterdir()) == []
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(10) == 0
    process.stdout.close()
    assert not (folder / "storage/front").exists()


def test_the_program_runs_until_it_is_ended(folder):
    upload = folder / "storage/docker/registry/v2/repositories/a/_uploads/1/data"
    upload.parent.mkdir(parents=True)
    upload.touch()
    command = [sys.executable, "-B", serve.__file__, str(folder), str(folder / "storage"), f"--program={folder}/program", "--max-size=1G"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "buildfleet: online: the upstream answers\n"
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(10) == 0
    process.stdout.close()
    assert not upload.exists()


@pytest.mark.parametrize(("given", "used"), [pytest.param({}, "none", id="not set"), pytest.param({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp", id="set")])
def test_version_3_sends_traces_only_if_asked(folder, given, used):
    command = [sys.executable, "-B", serve.__file__, str(folder), str(folder / "storage"), f"--program={folder}/program"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"], **given})
    assert process.stdout.readline() == "buildfleet: online: the upstream answers\n"
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(10) == 0
    process.stdout.close()
    assert set((folder / "exporters").read_text().splitlines()) == {used}
