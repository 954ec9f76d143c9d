# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import grp
import os
import pwd
import types

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Account, File
from ansible_collections.buildfleet.docker.plugins.module_utils._host.accounts import account, account_of, acting_as, hand_over, members
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, HostError


@pytest.fixture
def nobody():
    if os.geteuid() != 0:
        pytest.skip("only root can act as somebody else")
    found = account("nobody")
    return found._replace(home="/nonexistent")


@pytest.fixture
def home(tmp_path, nobody):
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
        folder.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, nobody.uid, nobody.gid)
    return home


def test_an_account_is_known_or_not():
    assert account("root") == ("root", pwd.getpwnam("root").pw_dir, 0, 0)
    assert account("no-such-user") is None
    assert account("a\0b") is None


def test_the_owner_of_a_file_is_known_or_not():
    assert account_of(0) == account("root")
    assert account_of(987654) is None


def test_the_members_of_a_group_are_its_users(monkeypatch):
    monkeypatch.setattr(grp, "getgrnam", {"docker": types.SimpleNamespace(gr_mem=["nobody", "no-such-user"])}.__getitem__)
    assert members("docker") == [account("nobody")]
    assert members("no-such-group") is None


def test_what_is_made_belongs_to_the_user_and_root_is_itself_again(home, nobody):
    groups = os.getgroups()
    with acting_as(nobody):
        Host().write(f"{home}/.docker/config.json", File(b"{}", 0o600, nobody.uid, nobody.gid))
    assert {os.stat(path).st_uid for path in (home / ".docker", home / ".docker/config.json")} == {nobody.uid}
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, os.getgid(), groups)


def test_a_link_leads_root_nowhere_that_the_user_could_not_go(tmp_path, home, nobody):
    secret = tmp_path / "shadow"
    secret.write_text("secret")
    secret.chmod(0o600)
    (home / "config.json").symlink_to(secret)
    with acting_as(nobody), pytest.raises(HostError, match="Permission denied"):
        Host().read(f"{home}/config.json")
    with acting_as(nobody), pytest.raises(HostError, match="Permission denied"):
        Host().write(f"{home}/config.json", File(b"x", 0o600, nobody.uid, nobody.gid))
    assert secret.read_text() == "secret"


def test_a_folder_of_roots_is_not_writable_for_its_user(home, nobody):
    with acting_as(nobody):
        assert Host().can_write(f"{home}/.docker/buildx/buildkitd.default.toml")
    (home / ".docker").mkdir(mode=0o755)
    with acting_as(nobody):
        assert not Host().can_write(f"{home}/.docker/config.json")
    assert Host().can_write(f"{home}/.docker/config.json")


def test_who_may_not_lock_is_told_to_become(home, nobody):
    home.chmod(0o755)
    with acting_as(nobody), pytest.raises(HostError, match=r"cannot be locked: Permission denied\. This module needs become: true\."), Host().lock("/run/no"):
        pass


def test_only_a_file_of_the_user_is_handed_over(tmp_path, home, nobody):
    mine, other = home / "mine", tmp_path / "other"
    for path in (mine, other):
        path.write_text("x")
        path.chmod(0o644)
    os.chown(mine, nobody.uid, nobody.gid)
    hand_over(str(mine), nobody, nobody.uid, 0)
    hand_over(str(other), nobody, nobody.uid, nobody.gid)
    assert (mine.stat().st_uid, mine.stat().st_gid) == (nobody.uid, 0)
    assert other.stat().st_uid == 0


@pytest.fixture
def calls(monkeypatch):
    """What this process asked of the system, which here says yes to everybody."""
    made = []
    for name in ("setgroups", "setegid", "seteuid", "fchown"):
        monkeypatch.setattr(os, name, lambda *arguments, name=name: made.append((name, *arguments)))
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 4713])
    return made


def test_rights_are_taken_in_the_order_in_which_they_may_be_and_come_back_after_a_fault(calls):
    jane, ours = Account("jane", "/home/jane", 4711, 4712), (os.getgroups(), os.getegid(), os.geteuid())
    with pytest.raises(KeyError), acting_as(jane):
        assert calls == [("setgroups", [4712, 4713]), ("setegid", 4712), ("seteuid", 4711)]
        raise KeyError
    assert calls[3:] == [("seteuid", ours[2]), ("setegid", ours[1]), ("setgroups", ours[0])]


@pytest.mark.parametrize("user", [None, Account("us", "/", os.geteuid(), os.getegid())])
def test_nobody_else_is_ourselves(calls, user):
    with acting_as(user):
        assert calls == []


def test_a_file_is_handed_over_by_its_owner_alone(calls, tmp_path):
    (tmp_path / "file").write_text("x")
    us, jane = (Account("x", "/", uid, 4712) for uid in (os.geteuid(), 4711))
    hand_over(str(tmp_path / "file"), jane, 1, 2)
    assert not [call for call in calls if call[0] == "fchown"]
    hand_over(str(tmp_path / "file"), us, 1, 2)
    assert [call[2:] for call in calls if call[0] == "fchown"] == [(1, 2)]
