# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import re

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._module import Refused
from ansible_collections.buildfleet.docker.plugins.modules import dockerfile_mirror

HUB = {"docker.io": "mirror.example.com/hub"}


UNKNOWN_REGISTRY = "A variable in it has no default, so its registry is not known; give it one, or a value in build_args."


class Fake:
    check_mode = False
    _diff = True

    def __init__(self, **params):
        defaults = {
            "patterns": ["Dockerfile", "Dockerfile.*", "compose.yaml"],
            "excludes": [".git", "*~"],
            "build_args": None,
            "kinds": list(dockerfile_mirror.KINDS),
            "backup": False,
            "strict": False,
        }
        self.params = dict(defaults, mirrors=HUB, **params)
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture
def tree(tmp_path):
    files = {
        "a/Dockerfile": b"FROM alpine\n",
        "a/Dockerfile.dev": b"FROM quay.io/x/y\n",
        "b/Dockerfile": b"ARG X\nFROM $X\n",
        ".git/Dockerfile": b"FROM alpine\n",
        "b/Dockerfile.old~": b"FROM alpine\n",
        "c/notes.txt": b"FROM alpine\n",
    }
    for name, contents in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(contents)
    return tmp_path


def run(tree, **params):
    module = Fake(paths=[str(tree)], **params)
    result = dockerfile_mirror.work(module)
    module.warnings = [warning for warning in module.warnings if "left as written" not in warning]
    return result, module


def test_a_run_says_how_much_it_left_and_where(tree):
    module = Fake(paths=[str(tree)])
    dockerfile_mirror.work(module)
    assert module.warnings == [f"1 reference left as written. The first: {tree}/b/Dockerfile, line 2 ($X): {UNKNOWN_REGISTRY}"]
    (tree / "a/Dockerfile").write_bytes(b"FROM $Y\n")
    dockerfile_mirror.work(module)
    assert module.warnings[1] == f"2 references left as written. The first: {tree}/a/Dockerfile, line 1 ($Y): {UNKNOWN_REGISTRY}"


def test_a_tree_is_rewritten_once(tree):
    os.chmod(tree / "a/Dockerfile", 0o640)
    result, _rest = run(tree)
    assert result["counts"] == {"files": 3, "changed": 1, "edits": 1, "skipped": 1, "unreadable": 0}
    assert result["files"][0] == {
        "path": str(tree / "a/Dockerfile"),
        "edits": [{"line": 1, "kind": "from", "before": "alpine", "after": "mirror.example.com/hub/library/alpine"}],
        "skipped": [],
    }
    assert (tree / "a/Dockerfile").read_bytes() == b"FROM mirror.example.com/hub/library/alpine\n"
    assert (tree / "a/Dockerfile").stat().st_mode & 0o777 == 0o640
    assert (tree / ".git/Dockerfile").read_bytes() == (tree / "c/notes.txt").read_bytes() == b"FROM alpine\n"
    assert "-FROM alpine\n+FROM mirror.example.com/hub/library/alpine\n" in result["diff"]["prepared"]
    assert not run(tree)[0]["changed"]
    assert sorted(os.listdir(tree / "a")) == ["Dockerfile", "Dockerfile.dev"]


def test_check_mode_writes_nothing(tree, monkeypatch):
    monkeypatch.setattr(Fake, "check_mode", True)
    assert run(tree)[0]["changed"]
    assert (tree / "a/Dockerfile").read_bytes() == b"FROM alpine\n"


def test_a_dry_run_may_come_before_the_sources(tree, monkeypatch):
    monkeypatch.setattr(Fake, "check_mode", True)
    result, module = run(tree / "later")
    assert not result["changed"]
    assert module.warnings == [f"{tree}/later does not exist; an earlier task may create it outside of check mode."]


def test_strict_changes_nothing(tree):
    with pytest.raises(Refused, match=r"^strict: 1 reference cannot be rewritten, so nothing was changed\. The first: ") as refused:
        run(tree, strict=True)
    assert str(refused.value).partition("The first: ")[2] == f"{tree}/b/Dockerfile, line 2 ($X): {UNKNOWN_REGISTRY}"
    assert refused.value.result["counts"]["skipped"] == 1
    assert (tree / "a/Dockerfile").read_bytes() == b"FROM alpine\n"


def test_strict_writes_where_everything_can_be_rewritten(tree):
    (tree / "b/Dockerfile").unlink()
    result, _rest = run(tree, strict=True)
    assert result["changed"] and (tree / "a/Dockerfile").read_bytes() == b"FROM mirror.example.com/hub/library/alpine\n"


def test_ten_files_that_cannot_be_read_are_named_and_the_others_counted(tree):
    for number in range(12):
        os.mkfifo(tree / f"a/Dockerfile.pipe{number}")
    result, module = run(tree)
    assert result["counts"]["unreadable"] == 12
    assert len(module.warnings) == 11 and module.warnings[-1] == "2 more files could not be read."
    assert all(re.fullmatch(rf"{tree}/a/Dockerfile\.pipe\d+ is not a regular file\.", warning) for warning in module.warnings[:10])


def test_backup(tree):
    run(tree, backup=True)
    (backup,) = (tree / "a").glob("Dockerfile.*~")
    assert backup.read_bytes() == b"FROM alpine\n"
    assert not run(tree, backup=True)[0]["changed"]


def test_our_backups_are_no_sources_whatever_is_excluded(tree):
    (tree / "a/Dockerfile.4711.2026-11-24@15:28:16~").write_bytes(b"FROM alpine\n")
    result, _rest = run(tree, excludes=[".git"])
    assert [os.path.basename(file["path"]) for file in result["files"]] == ["Dockerfile", "Dockerfile", "Dockerfile.old~"]


def test_a_service_that_another_compose_file_beside_it_builds(tree):
    (tree / "a/compose.yaml").write_text("services: {web: {image: me/web}, db: {image: redis}}\n")
    (tree / "a/docker-compose.ci.yml").write_text("services: {web: {build: .}}\n")
    (tree / "b/compose.yaml").write_text("services: {web: {image: me/web}}\n")
    (tree / "b/values.yaml").write_text("services: {web: {build: .}}\n")
    result, _rest = run(tree, kinds=["compose"])
    (skip,) = result["files"][0]["skipped"]
    assert skip["reference"] == "me/web" and "docker-compose.ci.yml" in skip["reason"]
    assert (tree / "a/compose.yaml").read_text() == "services: {web: {image: me/web}, db: {image: mirror.example.com/hub/library/redis}}\n"
    assert (tree / "b/compose.yaml").read_text() == "services: {web: {image: mirror.example.com/hub/me/web}}\n"


SPELLED = b"ARG A=docker.io\nFROM $A/library/alpine\nFROM docker.io/redis\nFROM redis\nFROM ${X}php\nFROM library/nginx\n"


@pytest.fixture
def spelled(tree):
    (tree / "a/Dockerfile").write_bytes(SPELLED)
    try:
        os.setxattr(tree / "a/Dockerfile", "user.x", b"")
        os.removexattr(tree / "a/Dockerfile", "user.x")
    except OSError:
        pytest.skip("this file system keeps no extended attributes")
    assert run(tree)[0]["counts"]["changed"] == 1
    assert b"docker.io" not in (tree / "a/Dockerfile").read_bytes()
    return tree


def undo(tree, **mirrors):
    module = Fake(paths=[str(tree)])
    module.params["mirrors"] = mirrors or {"mirror.example.com/hub": "docker.io"}
    dockerfile_mirror.work(module)
    return (tree / "a/Dockerfile").read_bytes()


def test_the_undo_gives_every_byte_back(spelled):
    assert undo(spelled) == SPELLED
    assert os.listxattr(spelled / "a/Dockerfile") == []


def test_a_file_that_was_edited_since_gets_familiar_names(spelled):
    with open(spelled / "a/Dockerfile", "ab") as file:
        file.write(b"RUN x\n")
    assert undo(spelled).endswith(b"FROM redis\nFROM redis\nFROM ${X:-}php\nFROM nginx\nRUN x\n")


def test_another_map_is_no_undo(spelled):
    assert b"FROM quay.io/library/redis\nFROM quay.io/library/redis\n" in undo(spelled, **{"mirror.example.com/hub": "quay.io"})


def test_what_a_named_context_replaces_in_a_dockerfile_inside_the_compose_file_is_left_and_said(tree):
    before = b"services:\n  x:\n    build:\n      additional_contexts: {redis: ../fork}\n      dockerfile_inline: |\n        FROM redis\n"
    (tree / "a/compose.yaml").write_bytes(before)
    result, _module = run(tree)
    assert (tree / "a/compose.yaml").read_bytes() == before
    assert [(skip["line"], skip["reference"], skip["reason"]) for skip in result["files"][1]["skipped"]] == [
        (6, "redis", "The build context redis replaces it, so it is not pulled; what is pulled is written there.")
    ]
    assert [os.path.basename(file["path"]) for file in result["files"]] == ["Dockerfile", "compose.yaml", "Dockerfile"]


def test_an_image_that_another_compose_file_beside_it_builds(tree):
    (tree / "a/compose.yaml").write_text("services: {worker: {image: me/web}, db: {image: redis}}\n")
    (tree / "a/docker-compose.ci.yml").write_text("services: {web: {build: ., image: docker.io/me/web:latest}}\n")
    (skip,) = run(tree, kinds=["compose"])[0]["files"][0]["skipped"]
    assert skip["reference"] == "me/web" and skip["reason"].startswith("An image of this name is built by docker-compose.ci.yml, ")


@pytest.mark.parametrize("context", ["app", "."])
def test_a_dry_run_says_what_a_run_does_whatever_comes_first(tmp_path, monkeypatch, context):
    (tmp_path / "app").mkdir()
    (tmp_path / context / "Dockerfile").write_text("ARG BASE=alpine\nFROM $BASE\nARG BASE\nLABEL x=$BASE\n")
    (tmp_path / "compose.yaml").write_text(f"services: {{a: {{build: {{context: {context}, args: {{BASE: redis}}}}}}}}\n")
    monkeypatch.setattr(Fake, "check_mode", True)
    dry = run(tmp_path)[0]
    monkeypatch.setattr(Fake, "check_mode", False)
    assert run(tmp_path)[0] == dry
    assert "BASE: redis" in (tmp_path / "compose.yaml").read_text()


def test_args_whose_context_stands_in_another_compose_file(tree):
    (tree / "b/compose.yaml").write_text("services: {a: {build: {args: {BASE: 'redis:7', MODE: debug}}}}\n")
    (tree / "b/docker-compose.yml").write_text("services: {a: {build: {context: ../a}}}\n")
    (skip,) = run(tree, kinds=["compose", "arg"])[0]["files"][0]["skipped"]
    assert skip["reference"] == "redis:7" and "does not say which Dockerfile gets it" in skip["reason"]


def test_links_are_followed_inside_the_tree_alone(tree, tmp_path_factory):
    build_arg_positions = tmp_path_factory.mktemp("outside") / "Dockerfile"
    build_arg_positions.write_bytes(b"FROM alpine\n")
    (tree / "real").write_bytes(b"FROM alpine\n")
    (tree / "b/Dockerfile.link").symlink_to("../real")
    (tree / "b/Dockerfile.out").symlink_to(build_arg_positions)
    (tree / "b/loop").symlink_to("..")
    (tree / "b/Dockerfile.git").symlink_to("../.git/Dockerfile")
    assert run(tree)[0]["counts"]["changed"] == 2
    assert (tree / "b/Dockerfile.link").is_symlink()
    assert (tree / "real").read_bytes() == b"FROM mirror.example.com/hub/library/alpine\n"
    assert build_arg_positions.read_bytes() == (tree / ".git/Dockerfile").read_bytes() == b"FROM alpine\n"


def test_a_folder_that_cannot_be_read_is_counted_and_named(tree, monkeypatch):
    scandir = os.scandir

    def denied(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    module = Fake(paths=[str(tree)])
    assert dockerfile_mirror.work(module)["counts"]["unreadable"] == 1
    assert module.warnings == [f"{tree}/b cannot be read: Permission denied."]


def test_what_cannot_be_read_is_counted_and_named(tree):
    os.mkfifo(tree / "a/Dockerfile.pipe")
    with open(tree / "a/Dockerfile.big", "wb") as big:
        big.truncate(8 * 1024 * 1024 + 1)
    result, module = run(tree)
    assert result["counts"]["unreadable"] == 2
    assert module.warnings == [f"{tree}/a/Dockerfile.big is larger than 8 MiB.", f"{tree}/a/Dockerfile.pipe is not a regular file."]


def refused(tree, **params):
    with pytest.raises(Refused) as error:
        run(tree, **params)
    return str(error.value), error.value.result


@pytest.fixture
def locked(tree, monkeypatch):
    """Two folders in which nothing can be made, for root too, and one in which it can."""
    for name in ("b/Dockerfile.x", "c/Dockerfile"):
        (tree / name).write_bytes(b"FROM alpine\n")
    opened, access = os.open, os.access

    def denied(path, flags, *rest, **more):
        if flags & os.O_CREAT and "/c/" not in path:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", denied)
    monkeypatch.setattr(os, "access", lambda path, *rest, **more: path.endswith("/c") or (os.path.isfile(path) and access(path, *rest, **more)))
    return tree


LOCKED = [("a/Dockerfile", b"FROM alpine\n"), ("b/Dockerfile.x", b"FROM alpine\n"), ("c/Dockerfile", b"FROM mirror.example.com/hub/library/alpine\n")]


@pytest.mark.parametrize("backup", [False, True])
def test_a_file_that_cannot_be_written_is_named_and_all_others_are_done(locked, backup):
    message, result = refused(locked, backup=backup)
    assert [(name, (locked / name).read_bytes()) for name, _rest in LOCKED] == LOCKED
    name = r"/a/Dockerfile\.\d+\.[0-9@:-]+~" if backup else "/a/Dockerfile"
    sentence = " cannot be written: Permission denied\\. 2 files in all cannot be written\\. Make it writable and run this again; all other files are done\\."
    assert re.fullmatch(f"{re.escape(str(locked))}{name}{sentence}", message)
    assert (result["changed"], result["truncated"]) == (True, False)
    assert result["counts"] == {"files": 5, "changed": 1, "edits": 1, "skipped": 1, "unreadable": 0}
    assert [(file["path"], len(file["edits"])) for file in result["files"]] == [(f"{locked}/b/Dockerfile", 0), (f"{locked}/c/Dockerfile", 1)]
    assert "/c/" in result["diff"]["prepared"] and "/a/" not in result["diff"]["prepared"]


def test_check_mode_says_what_cannot_be_written(locked, monkeypatch):
    monkeypatch.setattr(Fake, "check_mode", True)
    (locked / "b/Dockerfile.x").unlink()
    message, result = refused(locked)
    assert message == f"{locked}/a/Dockerfile cannot be written: its folder is not writable. Make it writable first."
    assert (result["changed"], result["counts"]["changed"]) == (True, 1)
    assert not (locked / "c/Dockerfile").read_bytes().startswith(b"FROM mirror")


def test_check_mode_reports_a_file_whose_attributes_cannot_be_read_as_a_run_does(tree, monkeypatch):
    def broken(_file):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "listxattr", broken)
    (tree / "c/Dockerfile").write_bytes(b"FROM alpine\n")
    monkeypatch.setattr(Fake, "check_mode", True)
    predicted, result = refused(tree)
    monkeypatch.setattr(Fake, "check_mode", False)
    message, _result = refused(tree)
    assert [text.partition(" Make it")[0] for text in (predicted, message)] == [
        f"{tree}/a/Dockerfile cannot be written: Input/output error. 2 files in all cannot be written."
    ] * 2
    assert not result["changed"] and (tree / "c/Dockerfile").read_bytes() == b"FROM alpine\n"


def test_strict_writes_nothing_where_a_file_cannot_be_written(locked):
    (locked / "b/Dockerfile").unlink()
    message, result = refused(locked, strict=True)
    assert message == (f"strict: {locked}/a/Dockerfile cannot be written: its folder is not writable. 2 files in all cannot be written. Nothing was changed.")
    assert not result["changed"]
    assert (locked / "c/Dockerfile").read_bytes() == b"FROM alpine\n"


def test_edits_and_skips_are_bounded_over_all_files(tree):
    (tree / "a/Dockerfile").write_bytes(b"FROM alpine\n" * 1990)
    (tree / "a/Dockerfile.dev").write_bytes(b"FROM alpine\nARG X\n" + b"FROM $X\n" * 1500)
    result, _rest = run(tree)
    assert [(len(file["edits"]), len(file["skipped"])) for file in result["files"]] == [(1990, 0), (1, 9)]
    assert result["truncated"]
    assert result["counts"] == {"files": 3, "changed": 2, "edits": 1991, "skipped": 1501, "unreadable": 0}


def test_a_link_is_what_its_own_name_says(tree):
    (tree / "c/stack").write_bytes(b"services: {db: {image: redis}}\n")
    (tree / "c/compose.yaml").symlink_to("stack")
    (tree / "c/images.yml").write_bytes(b"FROM alpine\n")
    (tree / "c/Dockerfile").symlink_to("images.yml")
    (tree / "b/Dockerfile").unlink()
    result, _rest = run(tree)
    assert (result["counts"]["changed"], result["counts"]["skipped"]) == (3, 0)
    assert (tree / "c/stack").read_bytes() == b"services: {db: {image: mirror.example.com/hub/library/redis}}\n"
    assert (tree / "c/images.yml").read_bytes() == b"FROM mirror.example.com/hub/library/alpine\n"
    assert (tree / "c/compose.yaml").is_symlink() and (tree / "c/Dockerfile").is_symlink()


@pytest.mark.parametrize("name", ["Dockerfile.yml", "dockerfile.web.yaml", "Containerfile.yaml"])
def test_what_begins_as_a_dockerfile_is_one(tree, name):
    (tree / "c" / name).write_bytes(b"FROM alpine\n")
    run(tree / "c", patterns=["*.yml", "*.yaml"])
    assert (tree / "c" / name).read_bytes() == b"FROM mirror.example.com/hub/library/alpine\n"


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_folder_and_a_link_to_it_are_the_same_files(tree, monkeypatch, check_mode):
    monkeypatch.setattr(Fake, "check_mode", check_mode)
    (tree / "link").symlink_to("a")
    module = Fake(paths=[str(tree / "link"), str(tree / "a")])
    assert dockerfile_mirror.work(module)["counts"] == {"files": 2, "changed": 1, "edits": 1, "skipped": 0, "unreadable": 0}


def test_what_a_killed_run_left_is_removed_by_a_run_that_writes(tree, monkeypatch):
    left = tree / "a/.buildfleet-Dockerfile-0123abcd"
    left.write_bytes(b"FROM alpine\n")
    os.utime(left, (0, 0))
    with monkeypatch.context() as patch:
        patch.setattr(Fake, "check_mode", True)
        assert (run(tree)[0]["counts"]["files"], left.exists()) == (3, True)
    assert (run(tree)[0]["counts"]["files"], left.exists()) == (3, False)


def test_an_empty_path_is_none(tree):
    module = Fake(paths=["", str(tree)])
    assert dockerfile_mirror.work(module)["counts"]["files"] == 3


def test_the_result_is_bounded(tree):
    for number in range(250):
        (tree / f"c/Dockerfile.{number}").write_bytes(b"FROM alpine\n")
    result, _rest = run(tree)
    assert (len(result["files"]), result["truncated"], result["counts"]["changed"]) == (200, True, 251)


def supplied(by):
    return f"The build context alpine of {by} replaces it, so it is not pulled; what is pulled is written there."


def left(result, path):
    """The reasons why references of the file were left."""
    return [skip["reason"] for file in result["files"] for skip in file["skipped"] if file["path"] == str(path)]


@pytest.mark.parametrize("kinds", [["from"], list(dockerfile_mirror.KINDS)])
def test_what_a_named_context_supplies_is_left(tree, kinds):
    (tree / "a/compose.yaml").write_bytes(b"services: {x: {build: {context: ., additional_contexts: {alpine: ../fork}}}}\n")
    result, module = run(tree, kinds=kinds)
    assert (left(result, tree / "a/Dockerfile"), module.warnings) == ([supplied("compose.yaml")], [])
    assert (tree / "a/Dockerfile").read_bytes() == b"FROM alpine\n"


BAKE = b'target "x" {\n  contexts = {\n    alpine = "docker-image://quay.io/alpine:3.13"\n  }\n'


def bake(tree, name, contents):
    """What a run leaves in a/Dockerfile because of it."""
    (tree / name).write_bytes(contents)
    result, module = run(tree, patterns=["*"])
    assert ((tree / name).read_bytes(), result["counts"]["unreadable"], module.warnings) == (contents, 0, [])
    assert not any(name in file["path"] for file in result["files"])
    assert result["counts"]["files"] == 5 + os.path.exists(tree / "docker-bake.hcl") * (name != "docker-bake.hcl")
    return left(result, tree / "a/Dockerfile")


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        pytest.param("a/docker-bake.hcl", BAKE + b"}\n", id="beside it"),
        pytest.param("docker-bake.override.hcl", BAKE + b'  context = "./b/../a"\n}\n', id="above it"),
        pytest.param("a/docker-bake.json", b'{"target": {"x": {"contexts": {"alpine::linux/arm64": "target:y"}}}}', id="for one platform"),
        pytest.param("b/docker-bake.json", b'{"target": {"x": {"context": "../a", "contexts": {"alpine": "target:y"}}}}', id="JSON"),
    ],
)
def test_what_a_named_context_of_a_bake_file_supplies_is_left(tree, name, contents):
    assert bake(tree, name, contents) == [supplied(name.rpartition("/")[2])]


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        pytest.param("a/docker-bake.hcl", BAKE.replace(b"alpine =", b"redis =") + b"}\n", id="another name"),
        pytest.param("b/docker-bake.hcl", BAKE + b"}\n", id="another Dockerfile"),
        pytest.param("a/docker-bake.hcl", BAKE, id="no HCL"),
        pytest.param("a/docker-bake.json", BAKE, id="no JSON"),
    ],
)
def test_a_bake_file_that_says_nothing_about_it_leaves_nothing(tree, name, contents):
    assert bake(tree, name, contents) == []


def test_a_bake_file_with_its_overrides_as_bake_merges_them(tree):
    (tree / "docker-bake.hcl").write_bytes(b'target "x" { context = "a" }\n')
    assert bake(tree, "docker-bake.override.hcl", BAKE + b"}\n") == [supplied("docker-bake.override.hcl")]


def test_a_bake_file_that_is_excluded_or_cannot_be_read_is_none(tree):
    (tree / "a/docker-bake.json").write_bytes(b"{}")
    (tree / "a/docker-bake.override.json").mkdir()
    (tree / "a/docker-bake.override.hcl").write_bytes(BAKE + b"}\n")
    result, module = run(tree, excludes=["*~", ".git", "*.override.*"])
    assert (module.warnings, result["counts"]["files"], result["counts"]["unreadable"]) == ([], 4, 0)
    assert left(result, tree / "a/Dockerfile") == []


def test_a_bake_file_may_be_named_alone_or_be_a_link(tree):
    (tree / "common.hcl").write_bytes(BAKE + b"}\n")
    (tree / "a/docker-bake.hcl").symlink_to("../common.hcl")
    result, module = run(tree)
    assert (module.warnings, result["counts"]["files"], left(result, tree / "a/Dockerfile")) == ([], 4, [supplied("docker-bake.hcl")])
    module = Fake(paths=[str(tree / "a/docker-bake.hcl"), str(tree / "a/Dockerfile")])
    result = dockerfile_mirror.work(module)
    assert (result["counts"], left(result, tree / "a/Dockerfile")) == (
        {"files": 2, "changed": 0, "edits": 0, "skipped": 1, "unreadable": 0},
        [supplied("docker-bake.hcl")],
    )
    assert (tree / "common.hcl").read_bytes() == BAKE + b"}\n"


@pytest.mark.parametrize(
    ("rule", "warned"),
    [
        pytest.param({"action": "CONVERT", "updates": {"identifier": "docker-image://docker.io/library/alpine:latest@sha256:x"}}, True, id="pins it"),
        pytest.param({"action": "DENY"}, True, id="denies it"),
        pytest.param({"action": "CONVERT", "updates": {"identifier": "docker-image://mirror.example.com/hub/library/alpine:latest"}}, False, id="same mirror"),
    ],
)
def test_a_source_policy_that_no_longer_matches_is_a_warning(tree, monkeypatch, rule, warned):
    policy = tree / "policy.json"
    rule["selector"] = {"identifier": "docker-image://docker.io/library/alpine:latest", "match_type": "EXACT"}
    policy.write_text(json.dumps({"version": 1, "rules": [rule]}))
    monkeypatch.setenv("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", str(policy))
    sentence = f"{tree}/a/Dockerfile: the source policy {policy} has a rule about alpine, which no longer matches; write the mirror's name in the rule."
    assert run(tree)[1].warnings == [sentence] * warned


@pytest.mark.parametrize("contents", ["", "{}", "[]", '{"rules": [{}]}', "no JSON"])
def test_a_source_policy_that_cannot_be_read_is_none(tree, monkeypatch, contents):
    (tree / "policy.json").write_text(contents)
    monkeypatch.setenv("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", str(tree / "policy.json"))
    assert run(tree)[1].warnings == []


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"paths": [""]}, "paths: set at least one file or directory."),
        ({"paths": ["/no/such"]}, "paths: /no/such does not exist. Correct the path."),
        ({"paths": ["/"], "mirrors": {}}, "mirrors: set at least one registry and its mirror."),
        ({"paths": ["/"], "mirrors": {"docker.io": "https://m"}}, "mirrors: 'https://m' must be written without https://, as in an image name."),
    ],
)
def test_what_is_refused(params, message):
    module = Fake(paths=params["paths"])
    module.params.update(params)
    with pytest.raises(Refused, match=f"^{re.escape(message)}$"):
        dockerfile_mirror.work(module)


def test_a_host_without_yaml_needs_it_for_compose_alone(tree, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    assert run(tree)[0]["changed"]
    (tree / "a/compose.yaml").write_bytes(b"services: {}\n")
    with pytest.raises(Refused, match=r"^Compose files need PyYAML on the host: install python3-yaml there, or remove compose from kinds.$"):
        run(tree)
    assert run(tree, kinds=["from"])[0]["counts"]["files"] == 4
    (tree / "a/compose.yaml").write_bytes(b"services: {x: {build: .}}\n")
    with pytest.raises(Refused, match=r"^Compose files need PyYAML on the host: "):
        run(tree)
    assert run(tree, kinds=["from"])[0]["counts"]["files"] == 4


def test_a_file_that_compose_reads_outside_of_paths_is_reported_where_the_map_names_something(tree):
    (tree / "a/compose.yaml").write_text("include: [../c/db.yml, ../c/quay.yml, ../c/none.yml]\nservices:\n  x: {build: {context: ../c, dockerfile: x.df}}\n")
    (tree / "c/db.yml").write_text("services: {db: {image: redis}}\n")
    (tree / "c/quay.yml").write_text("services: {db: {image: quay.io/a/b}}\n")
    (tree / "c/x.df").write_text("FROM alpine\n")
    result, _module = run(tree / "a")
    reason = "Compose reads {} too, which is outside paths or excluded; add it to paths."
    assert left(result, tree / "a/compose.yaml") == [reason.format("../c/db.yml"), reason.format("../c/x.df")]
    assert (tree / "c/db.yml").read_text() == "services: {db: {image: redis}}\n"
    result, _module = run(tree)
    assert (left(result, tree / "a/compose.yaml"), (tree / "c/x.df").read_text()) == ([], "FROM mirror.example.com/hub/library/alpine\n")


def test_what_the_patterns_leave_out_is_not_followed(tree):
    (tree / "a/compose.yaml").write_text("services: {x: {build: .}}\n")
    result, _module = run(tree, patterns=["compose.yaml"])
    assert (result["counts"]["files"], (tree / "a/Dockerfile").read_text()) == (1, "FROM alpine\n")
    result, _module = run(tree, patterns=["Dockerfile.dev"])
    assert (result["counts"]["files"], (tree / "a/Dockerfile").read_text()) == (1, "FROM alpine\n")


def test_one_compose_file_that_is_named_alone_reports_nothing_beside_it(tree):
    (tree / "a/my.yml").write_text("services: {x: {build: .}, y: {image: redis}}\n")
    result, module = run(tree / "a/my.yml")
    assert (result["counts"]["files"], result["counts"]["edits"], result["counts"]["skipped"], module.warnings) == (1, 1, 0, [])
    (tree / "a/compose.yaml").write_text("include: [my.yml]\nservices: {x: {build: .}, y: {image: redis}}\n")
    result, module = run(tree / "a/compose.yaml")
    assert (result["counts"]["files"], result["counts"]["edits"], result["counts"]["skipped"], module.warnings) == (1, 1, 0, [])


def test_a_built_service_of_a_folder_below_is_named_with_its_folder(tree):
    (tree / "compose.yaml").write_text("services: {web: {extends: {file: a/base.yml, service: web}, image: me/web}}\n")
    (tree / "a/base.yml").write_text("services: {web: {image: me/web}, b: {build: .}}\n")
    (tree / "b/compose.yaml").write_text("include: [../compose.yaml]\nservices: {web: {image: me/web, build: .}}\n")
    result, _module = run(tree)
    (skip,) = left(result, tree / "compose.yaml")
    assert skip.startswith("Its service is built by b/compose.yaml, so it names the result")


def test_a_service_that_a_file_above_builds(tree):
    (tree / "compose.yaml").write_text("include: [a/base.yml]\nservices: {web: {image: me/web, build: a}}\n")
    (tree / "a/base.yml").write_text("services: {b: {image: me/web}}\n")
    result, _module = run(tree)
    (skip,) = left(result, tree / "a/base.yml")
    assert skip.startswith(f"An image of this name is built by {tree}/compose.yaml, so it names the result")


def test_bake_files_know_what_compose_files_supply(tree):
    (tree / "a/compose.yaml").write_text("services: {x: {build: {context: ., additional_contexts: {redis: ./x}}}}\n")
    (tree / "a/Dockerfile").write_text("ARG B\nFROM $B\n")
    (tree / "a/docker-bake.hcl").write_text('target "x" { args = { B = "redis" } }\n')
    assert run(tree)[0]["counts"]["edits"] == 0


def test_an_argument_that_a_build_gives_is_no_skip(tree):
    (tree / "a/compose.yaml").write_text("services: {x: {build: {context: ../b, args: {X: redis}}}}\n")
    result, _module = run(tree)
    assert (result["counts"]["skipped"], (tree / "b/Dockerfile").read_bytes()) == (0, b"ARG X\nFROM $X\n")
    assert "X: mirror.example.com/hub/library/redis" in (tree / "a/compose.yaml").read_text()
