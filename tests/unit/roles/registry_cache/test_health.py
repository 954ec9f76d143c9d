# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On lines as docker-registry 2.8.2 writes them."""

from __future__ import annotations

import json
import os
import sys

import health
import pytest

ONE, TWO = ("sha256:" + digit * 64 for digit in "12")
ONLINE = "buildfleet: online: the upstream answers"
OFFLINE = "buildfleet: OFFLINE: serving stored images only, the upstream does not answer (no answer within 10 seconds)"
NOTHING = {"online": None, "offline": 0, "errors": 0, "rate_limited": 0, "last_error": "", "since": "", "layers": 0, "from_storage": 0}
NOTHING.update(sent_bytes=0, downloaded_bytes=0)


def sent(time, digest=ONE, duration="500ms", size=1000, method="GET", status=200, repository="team/app", kind="blobs"):
    return (
        f'time="2026-11-27T08:{time}Z" level=info msg="response completed" go.version=go1.19.8 http.request.host="127.0.0.1:5000" '
        f'http.request.method={method} http.request.uri="/v2/{repository}/{kind}/{digest}" http.request.useragent="docker/26 (linux; \\"x\\")" '
        f"http.response.duration={duration} http.response.status={status} http.response.written={size}"
    )


def stored(time, digest=ONE, repository="team/app"):
    return f'time="2026-11-27T08:{time}Z" level=info msg="Adding new scheduler entry for {repository}@{digest} with ttl=167h59m59.999996s" version=2.8.2'


def failed(status, code, detail):
    return (
        f'time="2026-11-27T08:00:00.5Z" level=error msg="response completed with error" err.code="{code}" err.detail="{detail}" '
        f"err.message=unknown http.request.method=GET http.request.uri=/v2/team/app/manifests/latest http.response.status={status}"
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([], {}, id="no log"),
        pytest.param(
            [sent("00:02.941525127")],
            {"since": "2026-11-27 08:00:02", "layers": 1, "from_storage": 1, "sent_bytes": 1000},
            id="stored before the log begins",
        ),
        pytest.param(
            [sent("00:02.941525127", ONE + "?ns=docker.io")],
            {"since": "2026-11-27 08:00:02", "layers": 1, "from_storage": 1, "sent_bytes": 1000},
            id="for BuildKit",
        ),
        pytest.param(
            [sent("00:02.9"), stored("00:03.1")],
            {"since": "2026-11-27 08:00:02", "layers": 1, "sent_bytes": 1000, "downloaded_bytes": 2000},
            id="not stored: one download for the client, one for the storage",
        ),
        pytest.param(
            [stored("00:02.7").replace("version=2.8.2", "version=v3.1.1"), sent("00:02.9"), sent("00:03")],
            {"since": "2026-11-27 08:00:02", "layers": 2, "sent_bytes": 2000, "downloaded_bytes": 2000},
            id="version 3: the storage gets it with the first client",
        ),
        pytest.param(
            [stored("00:02.7"), sent("00:02.9")],
            {"since": "2026-11-27 08:00:02", "layers": 1, "sent_bytes": 1000, "downloaded_bytes": 2000},
            id="the storage was first",
        ),
        pytest.param(
            [sent("00:02.9"), stored("00:03.1"), sent("00:03.9"), sent("09:00")],
            {"since": "2026-11-27 08:00:02", "layers": 3, "from_storage": 2, "sent_bytes": 3000, "downloaded_bytes": 2000},
            id="then it is stored",
        ),
        pytest.param(
            [sent("00:02.9"), sent("00:03"), stored("00:03.1")],
            {"since": "2026-11-27 08:00:02", "layers": 2, "sent_bytes": 2000, "downloaded_bytes": 3000},
            id="two at once",
        ),
        pytest.param(
            [sent("01:40", duration="1m40s"), stored("02:50")],
            {"since": "2026-11-27 08:01:40", "layers": 1, "sent_bytes": 1000, "downloaded_bytes": 2000},
            id="a slow line: stored long after it was sent",
        ),
        pytest.param(
            [sent("00:02.9"), stored("00:03.1"), sent("30:00"), sent("50:01"), stored("50:01.2")],
            {"since": "2026-11-27 08:00:02", "layers": 3, "from_storage": 1, "sent_bytes": 3000, "downloaded_bytes": 4000},
            id="removed and fetched again",
        ),
        pytest.param(
            [sent("00:02.9"), stored("00:03.1"), sent("00:03.8", TWO), sent("00:03.8", repository="team/other")],
            {"since": "2026-11-27 08:00:02", "layers": 3, "from_storage": 2, "sent_bytes": 3000, "downloaded_bytes": 2000},
            id="another layer, another repository",
        ),
        pytest.param(
            [sent("00:02.9"), f"buildfleet: shared 1000 /v2/team/app/blobs/{ONE}", f"buildfleet: shared 400 /v2/team/app/blobs/{ONE}", stored("00:03.1")],
            {"since": "2026-11-27 08:00:02", "layers": 3, "from_storage": 2, "sent_bytes": 2400, "downloaded_bytes": 2000},
            id="two waited for the same download",
        ),
        pytest.param(["buildfleet: shared nothing"], {}, id="no line of nginx"),
        pytest.param(
            [f'2026/11/27 08:00:02 [error] 7#7: *1 upstream timed out, request: "GET /v2/ HTTP/1.1", referrer: "{sent("00:02.9").partition(" ")[2]}"'],
            {},
            id="an error of nginx, with what a client writes into a header",
        ),
        pytest.param(
            [sent("00:02.9", method="HEAD"), sent("00:02.9", kind="manifests"), sent("00:02.9", status=404), 'GET "/v2/" 200', stored("00:03", TWO)],
            {"since": "2026-11-27 08:00:02"},
            id="no layer was sent",
        ),
        pytest.param([ONLINE], {"online": True}, id="online"),
        pytest.param([ONLINE, OFFLINE, ONLINE, OFFLINE], {"online": False, "offline": 2}, id="offline"),
        pytest.param(["buildfleet: evicting 1 images, 2 blobs, 1.0 MB"], {}, id="another message of ours"),
        pytest.param(
            [failed(404, "manifest unknown", "unknown tag=latest"), failed(401, "unauthorized", "authentication required")],
            {"since": "2026-11-27 08:00:00"},
            id="no error of the upstream",
        ),
        pytest.param(
            [failed(429, "toomanyrequests", "You have reached your pull rate limit"), failed(500, "unknown", "toomanyrequests: slow down")],
            {"since": "2026-11-27 08:00:00", "errors": 2, "rate_limited": 2, "last_error": "toomanyrequests: slow down"},
            id="rate limit",
        ),
        pytest.param(
            [failed(500, "unknown", 'Get \\"https://builder:secret@cdn.example/blob?verify=abc%3D\\": proxyconnect tcp: EOF')],
            {"since": "2026-11-27 08:00:00", "errors": 1, "last_error": 'Get "https://xxxxx:xxxxx@cdn.example/blob": proxyconnect tcp: EOF'},
            id="no secret",
        ),
        pytest.param(
            [failed(503, "unavailable", "").replace(" err.message=unknown", "")],
            {"since": "2026-11-27 08:00:00", "errors": 1, "last_error": "status 503"},
            id="without a message",
        ),
    ],
)
def test_what_a_cache_did(lines, expected):
    assert health.count(lines) == {**NOTHING, **expected}


HEALTH = {**NOTHING, "online": True, "since": "2026-11-27 08:00:02", "layers": 12, "from_storage": 9, "sent_bytes": 35_100_000, "downloaded_bytes": 950}
HEALTH.update(stored_bytes=12_345_678_901, oldest_days=6.5, limit_bytes=0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "online; 12.3 GB stored, the oldest 6.5 days ago; since 2026-11-27 08:00:02: 9 of 12 layers from its storage, 35 MB sent, 950 B downloaded."),
        (
            {"online": False, "offline": 2, "limit_bytes": 53_687_091_200, "since": ""},
            "OFFLINE, its registry does not answer; 12.3 GB of at most 53.7 GB stored, the oldest 6.5 days ago; nothing in its log; 2 times offline.",
        ),
        (
            {"online": None, "since": "", "errors": 3, "last_error": "EOF"},
            "its log does not say whether its registry answers; 12.3 GB stored, the oldest 6.5 days ago; nothing in its log; 3 errors, the last: EOF.",
        ),
        (
            {"since": "", "errors": 3, "rate_limited": 1, "last_error": "slow down"},
            "online; 12.3 GB stored, the oldest 6.5 days ago; nothing in its log; 3 errors, 1 by the rate limit, the last: slow down.",
        ),
    ],
    ids=["online", "offline", "unknown", "rate limit"],
)
def test_in_words(changes, expected):
    assert health.sentence({**HEALTH, **changes}) == expected


def test_the_age_of_the_oldest_image(tmp_path):
    for number, age in enumerate((3, 86400 * 2)):
        folder = tmp_path / f"docker/registry/v2/blobs/sha256/a{number}/{'a' + str(number):0<64}"
        folder.mkdir(parents=True)
        (folder / "data").write_bytes(b"12345")
        os.utime(folder / "data", (1_000_000 - age, 1_000_000 - age))
    assert health.stored_now(str(tmp_path), 1_000_000) == {"stored_bytes": 10, "oldest_days": 2.0}
    assert health.stored_now(str(tmp_path / "none"), 1_000_000) == {"stored_bytes": 0, "oldest_days": 0.0}


def test_a_blob_that_is_removed_while_they_are_counted(tmp_path, monkeypatch):
    folder = tmp_path / "docker/registry/v2/blobs/sha256/a0" / f"{'a0':0<64}"
    folder.mkdir(parents=True)
    (folder / "data").write_bytes(b"12345")
    listed = list(folder.iterdir())
    monkeypatch.setattr(health.Path, "glob", lambda self, pattern: [*listed, folder / "removed/data"])
    monkeypatch.setattr(health.Path, "exists", lambda self: True)
    os.utime(folder / "data", (1_000_000, 1_000_000))
    assert health.stored_now(str(tmp_path), 1_000_000 + 86400) == {"stored_bytes": 5, "oldest_days": 1.0}


def test_the_program(tmp_path, monkeypatch, capsys):
    journal = tmp_path / "journalctl"
    journal.write_text(f"#!{sys.executable}\nimport sys\nopen({str(tmp_path / 'asked')!r}, 'w').write(' '.join(sys.argv[1:]))\nprint({ONLINE!r})\n")
    journal.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    health.main(["--max-size=1G", "buildfleet-registry-cache.service", str(tmp_path / "storage")])
    printed = json.loads(capsys.readouterr().out)
    assert printed == {**NOTHING, "online": True, "stored_bytes": 0, "oldest_days": 0.0, "limit_bytes": 1 << 30, "text": printed["text"]}
    assert printed["text"] == "online; 0 B of at most 1.1 GB stored; nothing in its log."
    assert (tmp_path / "asked").read_text() == ("--unit=buildfleet-registry-cache.service --since=-24h --lines=200000 --output=cat --no-pager --quiet")
