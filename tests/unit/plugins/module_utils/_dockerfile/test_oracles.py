# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BuildKit's own parser and a second one agree with every edit, on ordinary and tricky files, and on the corpus that `make corpus` names.

No test here asks our parser.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.compose import rewrite_compose
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import KINDS, rewrite
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors
from ansible_collections.buildfleet.docker.plugins.modules import dockerfile_mirror

_spec = importlib.util.spec_from_file_location("judges", Path(__file__).parents[4] / "oracles/judges.py")
judges = sys.modules.setdefault("judges", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(judges)

MAP = {
    "docker.io": "mirror.example.com/hub",
    "gcr.io": "mirror.example.com/gcr",
    "ghcr.io": "mirror.example.com/ghcr",
    "mcr.microsoft.com": "mirror.example.com/mcr",
    "quay.io": "mirror.example.com/quay",
}
FORWARD = Mirrors(MAP)
BACK = Mirrors({mirror: registry for registry, mirror in MAP.items()})
pytestmark = [pytest.mark.slow, pytest.mark.no_cover]  # the corpus takes twice the time when every line is counted


def verdict(parser, data):
    try:
        return judges.images(data, parser)
    except (judges.Refused, IndexError):
        return None


def disagreements(name, data, parser):
    """Sentences, and how many references there were and how many were skipped with a reason."""
    before = verdict(parser, data)
    result = rewrite(data, FORWARD)
    refused = [skip for skip in result.skipped if not skip.reference]
    if refused or before is None:
        return ([f"{name}: {parser.__name__} refuses it, and it was edited"] if before is None and not refused and result.changes else []), 0, 0
    after = verdict(parser, result.after)
    wrong = "refused after the rewrite" if after is None else judges.difference(before, after, MAP, len(result.skipped))
    return [f"{name}: {wrong}; skipped: {result.skipped}"] if wrong else [], len(before), len(result.skipped)


def test_the_cases_name_what_is_pulled():
    from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.instructions import Rejected
    from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import references

    for name, data, pulls in judges.cases():
        try:
            found = references(data)
        except Rejected:
            found = None
        assert found == pulls, name


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [
        pytest.param("alpine", "mirror.example.com/hub/library/alpine", id="short"),
        pytest.param("alpine:", "mirror.example.com/hub/library/alpine:", id="a tag without its variable"),
        pytest.param("org/", "mirror.example.com/hub/org/", id="an image without its variable"),
        pytest.param("org/:1", "mirror.example.com/hub/org/:1", id="an image without its variable, with a tag"),
        pytest.param("org//tool", "mirror.example.com/hub/org//tool", id="a folder without its variable"),
        pytest.param("gcr.io/", "mirror.example.com/gcr/", id="a registry before a variable"),
        pytest.param("gcr.io//tool@sha256:0", "mirror.example.com/gcr//tool@sha256:0", id="a registry before a variable and more"),
        pytest.param("other.example.com/", "other.example.com/", id="another registry before a variable"),
        pytest.param("/tool", "/tool", id="a registry without its variable"),
        pytest.param("", "", id="nothing but a variable"),
        pytest.param(":1", ":1", id="nothing but a variable, with a tag"),
    ],
)
def test_the_text_before_a_variable_without_a_value_names_the_registry(reference, wanted):
    assert judges.mirrored(reference, MAP) == wanted


@pytest.mark.parametrize("parser", [judges.buildkit_parser, judges.e2b_parser], ids=lambda parser: parser.__name__)
def test_after_the_rewrite_every_image_of_a_tricky_file_is_at_its_mirror(parser):
    judged = [disagreements(name, data, parser) for name, data, _rest in judges.cases()]
    assert [sentence for wrong, _seen, _skipped in judged for sentence in wrong] == []
    assert sum(seen for _wrong, seen, _skipped in judged) >= 80


@pytest.mark.parametrize("parser", [judges.buildkit_parser, judges.e2b_parser], ids=lambda parser: parser.__name__)
def test_after_the_rewrite_every_image_is_at_its_mirror(parser):
    wrong: list[str] = []
    references = skipped = refused = 0
    for name, data in judges.ordinary("dockerfiles"):
        if b"\0" in data:
            continue  # the Go package stops at NUL
        bad, seen, left = disagreements(name, data, parser)
        wrong += bad
        references += seen
        skipped += left
        refused += not seen
    print(f"{parser.__name__}: {references} references, {skipped} skipped ({skipped / references:.2%}), {refused} files without a verdict")
    assert not wrong, "\n".join(wrong[:20])
    assert skipped <= 0.02 * references


# What the layer above their parsers refuses (frontend/dockerfile/instructions/parse.go); the flags were tried on engines 20.10, 26.1 and 28.5.
ABOVE_THEIR_PARSERS = (
    "FROM takes",
    "is not a valid stage name",
    "before the first FROM",
    "HEALTHCHECK takes NONE",
    "has no flag --",
    "has more than one --",
    "needs a value after --",
    "takes true or false after --",
    "has a variable in from",
)


def test_a_file_that_was_left_as_refused_is_refused_by_a_judge_too():
    refused = 0
    for name, data in judges.dockerfiles():
        reasons = [skip.reason for skip in rewrite(data, FORWARD).skipped if not skip.reference]
        if reasons and b"\0" not in data:
            if any(words in reasons[0] for words in ABOVE_THEIR_PARSERS):
                continue
            judged = verdict(judges.e2b_parser, data), verdict(judges.buildkit_parser, data)
            # Their parsers take an empty file and one without FROM; BuildKit's next layer does not.
            assert None in judged or not [kind for kind, _rest in judged[0] if kind == "from"], name
            refused += 1
    assert refused


def test_twice_is_once_and_back_gives_the_bytes():
    lost, total = [], 0
    for name, data in judges.ordinary("dockerfiles"):
        once = rewrite(data, FORWARD)
        total += 1
        twice = rewrite(once.after, FORWARD)
        assert (twice.after, twice.changes) == (once.after, []), name
        if rewrite(once.after, BACK).after != data:
            lost.append((name, [change.before for change in once.changes]))
    print(f"given back byte for byte: {1 - len(lost) / total:.2%} of {total} files")
    # The undo writes familiar names; only a name that was spelled out before can come back shorter.
    unexplained = [name for name, spelled in lost if not any(text.strip("\"'").startswith(("docker.io", "index.docker.io", "library/")) for text in spelled)]
    assert not unexplained
    assert len(lost) <= 0.02 * total


class Module:
    """The module on a tree, without Ansible."""

    check_mode = _diff = False

    def __init__(self, tree, mirrors):
        self.params = {"paths": [str(tree)], "mirrors": mirrors, "patterns": ["*"], "excludes": [], "build_args": None, "kinds": list(KINDS)}
        self.params.update(backup=False, strict=False)

    def warn(self, text):
        pass


def test_a_whole_tree_comes_back_byte_for_byte(tmp_path):
    try:
        os.setxattr(tmp_path, "user.x", b"")
    except OSError:
        pytest.skip("this file system keeps no extended attributes")
    first = {}
    for kind, name in (("dockerfiles", "Dockerfile"), ("compose", "compose.yaml")):
        for number, (_rest, data) in enumerate(judges.ordinary(kind)):
            path = tmp_path / kind / str(number) / name
            path.parent.mkdir(parents=True)
            path.write_bytes(data)
            first[path] = data
    there = dockerfile_mirror.work(Module(tmp_path, MAP))["counts"]
    assert there["files"] == len(first) and there["unreadable"] == 0
    dockerfile_mirror.work(Module(tmp_path, {mirror: registry for registry, mirror in MAP.items()}))
    lost = [path for path, data in first.items() if path.read_bytes() != data]
    print(f"the module gave back byte for byte: {1 - len(lost) / there['changed']:.2%} of {there['changed']} files that changed")
    assert len(lost) <= 0.01 * there["changed"]


def test_compose_files_change_at_the_images_alone():
    import yaml

    changed, lost = 0, []
    for name, data in judges.ordinary("compose"):
        once = rewrite_compose(data, FORWARD)
        if once.after == data:
            continue
        changed += 1
        assert rewrite_compose(once.after, FORWARD).after == once.after, name
        if rewrite_compose(once.after, BACK).after != data:
            lost.append(name)
        for before, after in zip(yaml.compose_all(data.decode()), yaml.compose_all(once.after.decode())):
            assert _shape(before) == _shape(after), name
    print(f"given back byte for byte: {1 - len(lost) / changed:.2%} of {changed} compose files that changed")
    assert len(lost) <= 0.01 * changed


def _shape(node):
    """A document with every image taken out."""
    if node.id == "mapping":
        is_image_volume = any((key.value, value.value) == ("type", "image") for key, value in node.value)
        names = IMAGES | ({"source"} if is_image_volume else set())
        return [
            (key.value, "image" if (value.id == "scalar" and "mirror.example.com" in str(value.value) + key.value) or key.value in names else _shape(value))
            for key, value in node.value
        ]
    if node.id == "sequence":
        return ["image" if each.id == "scalar" and "=" in each.value else _shape(each) for each in node.value]
    return node.value


IMAGES = {"image", "dockerfile_inline", "args", "additional_contexts"}


def test_a_newer_buildkit_has_no_other_opinion():
    """On a sample; `python tests/oracles/second_opinion.py` takes more."""
    done = subprocess.run([sys.executable, judges.__file__.replace("judges", "second_opinion"), "--files=20"], capture_output=True, text=True, check=False)
    if done.stdout.startswith("skipped: "):
        pytest.skip(done.stdout)
    assert done.returncode == 0 and "0 do not" in done.stdout, done.stdout + done.stderr
