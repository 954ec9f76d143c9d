# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[4] / "roles/registry_cache/files/certificate"
NAMES = ("cache1.example.com", "10.0.0.1", "fd00::1")

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl on this machine")


def certificate(folder, authority, *names):
    return subprocess.run([PROGRAM, folder, authority, *names], check=True, capture_output=True, text=True).stdout


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], check=False, capture_output=True, text=True).returncode == 0


def valid_for(folder, option, name):
    return openssl("verify", "-CAfile", folder / "ca.pem", option, name, folder / "cache.pem")


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture()
def made(tmp_path):
    assert certificate(tmp_path / "tls", "renew", *NAMES) == "changed\n"
    return tmp_path / "tls"


def test_a_certificate_for_each_name_and_no_other(made):
    assert valid_for(made, "-verify_hostname", "cache1.example.com")
    assert valid_for(made, "-verify_ip", "10.0.0.1")
    assert valid_for(made, "-verify_ip", "fd00::1")
    assert not valid_for(made, "-verify_hostname", "registry-1.docker.io")


def test_only_root_reads_the_keys_and_nothing_else_is_left(made):
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in made.iterdir()} == dict.fromkeys(
        ("ca.key", "ca.pem", "cache.key", "cache.pem", "names"), 0o600
    )


@pytest.mark.parametrize("name", ["registry-1.docker.io", "10.0.0.2", "fd00::2"])
@pytest.mark.parametrize("names", [NAMES, ("cache1.example.com",), ("10.0.0.1",)])
def test_its_authority_can_issue_for_no_other_name(tmp_path, names, name):
    certificate(tmp_path, "renew", *names)
    kind = "DNS" if name.endswith("io") else "IP"
    (tmp_path / "extensions").write_text(f"subjectAltName={kind}:{name}\n")
    openssl("req", "-new", "-key", tmp_path / "cache.key", "-subj", "/O=x", "-out", tmp_path / "request")
    signed = ("-CA", tmp_path / "ca.pem", "-CAkey", tmp_path / "ca.key", "-set_serial", "1", "-extfile", tmp_path / "extensions")
    assert openssl("x509", "-req", "-in", tmp_path / "request", *signed, "-out", tmp_path / "forged.pem")
    assert not openssl("verify", "-CAfile", tmp_path / "ca.pem", tmp_path / "forged.pem")


@pytest.mark.parametrize("authority", ["renew", "keep"])
def test_what_is_valid_stays(made, authority):
    before = contents(made)
    assert certificate(made, authority, *NAMES) == ""
    assert contents(made) == before


def test_the_timer_renews_the_certificate_and_not_the_authority(made):
    before = contents(made)
    (made / "cache.pem").unlink()
    assert certificate(made, "keep") == "changed\n"
    after = contents(made)
    assert (after["ca.key"], after["ca.pem"], after["names"]) == (before["ca.key"], before["ca.pem"], before["names"])
    assert after["cache.pem"] != before["cache.pem"]
    assert valid_for(made, "-verify_hostname", "cache1.example.com")


def test_other_names_have_an_authority_of_their_own(made):
    before = contents(made)
    assert certificate(made, "renew", "cache2.example.com") == "changed\n"
    assert contents(made)["ca.key"] != before["ca.key"]
    assert valid_for(made, "-verify_hostname", "cache2.example.com")


def test_an_authority_whose_key_was_lost_is_made_again(made):
    (made / "ca.key").write_bytes((made / "cache.key").read_bytes())
    assert certificate(made, "renew", *NAMES) == "changed\n"
    assert valid_for(made, "-verify_ip", "10.0.0.1")


def test_two_runs_at_once_make_one_authority(tmp_path):
    runs = [subprocess.Popen([PROGRAM, tmp_path, "renew", *NAMES], stdout=subprocess.PIPE, text=True) for _run in range(4)]
    assert sorted((run.communicate()[0], run.returncode) for run in runs) == [("", 0), ("", 0), ("", 0), ("changed\n", 0)]
    assert valid_for(tmp_path, "-verify_ip", "10.0.0.1")
