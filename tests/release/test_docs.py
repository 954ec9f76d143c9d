# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages: generated ones are up to date, and no link is dead."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import picture
import pytest
import troubleshooting
from conftest import TOP, files_of_the_project

PAGES = sorted(name for name in files_of_the_project() if name.endswith(".md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", re.M)
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.M | re.S)


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def lost_links(path: Path) -> list[str]:
    lost = []
    for found in LINK.findall(CODE.sub("", path.read_text())):
        target = found[0] or found[1]
        if re.match(r"[a-z]+:", target):
            continue
        file, _hash, anchor = target.partition("#")
        aim = path.parent / file if file else path
        if not aim.exists() or (anchor and anchor not in anchors(aim.read_text())):
            lost.append(target)
    return lost


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    assert lost_links(TOP / page) == []


@pytest.mark.parametrize("page", PAGES)
def test_no_link_needs_github_to_be_read(page):
    links = [found[0] or found[1] for found in LINK.findall(CODE.sub("", (TOP / page).read_text()))]
    assert [link for link in links if "github.com/buildfleet" in link] == []


def test_every_page_of_the_tarball_is_reached_from_its_index_and_leads_to_nothing_outside(tarball, tmp_path):
    with tarfile.open(tarball) as opened:
        opened.extractall(tmp_path)
    pages = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.md")}
    # The evidence has its own index, which the first one links.
    reached = {"docs/index.md"}
    for index in ("docs/index.md", "docs/evidence/README.md"):
        assert index in reached
        links = [found[0] for found in LINK.findall((tmp_path / index).read_text())]
        reached |= {str((tmp_path / index).parent.joinpath(link).resolve().relative_to(tmp_path)) for link in links if ":" not in link}
    assert {page for page in pages if page.startswith("docs/")} - reached == set()
    assert {page: lost for page in pages if (lost := lost_links(tmp_path / page))} == {}


@pytest.mark.parametrize("language", picture.PICTURES)
def test_the_picture_is_made_of_its_words_and_can_be_read_aloud(language):
    drawn = picture.PICTURES[language].read_text()
    assert drawn == picture.picture(language), "python tests/release/picture.py draws it anew"
    svg = ElementTree.fromstring(drawn)
    labels = {each.get("id"): each.text for each in svg if each.tag.endswith(("}title", "}desc"))}
    assert labels == {"title": picture.WORDS[language].title, "desc": picture.WORDS[language].description}
    assert svg.get("aria-labelledby").split() == list(labels)
    assert "prefers-color-scheme: dark" in drawn and "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("language", troubleshooting.PAGES)
def test_troubleshooting_is_made_of_the_diagnosis(language):
    made = troubleshooting.page(language)
    assert troubleshooting.PAGES[language].read_text() == made, "python tests/release/troubleshooting.py writes it anew"
    assert "{" not in re.sub(r"```.*?```", "", made, flags=re.S)


def test_every_cause_has_a_heading():
    entries = list(troubleshooting.entries())
    assert {entry.cause for entry in entries} <= set(troubleshooting.GROUPS)
    assert len(entries) > 100
