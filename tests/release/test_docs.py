# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages: current where they are made, and no link leads nowhere."""

from __future__ import annotations

import re

import pytest
import troubleshooting
from conftest import TOP, files_of_the_project

PAGES = sorted(name for name in files_of_the_project() if name.endswith(".md"))
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", re.M)
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.M | re.S)


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    path = TOP / page
    lost = []
    for found in LINK.findall(CODE.sub("", path.read_text())):
        target = found[0] or found[1]
        if re.match(r"[a-z]+:", target):
            continue
        file, _hash, anchor = target.partition("#")
        aim = path.parent / file if file else path
        if not aim.exists() or (anchor and anchor not in anchors(aim.read_text())):
            lost.append(target)
    assert lost == []


def test_every_page_is_reached_from_the_index():
    index = (TOP / "docs/index.md").read_text()
    pages = {name.removeprefix("docs/") for name in PAGES if name.startswith("docs/") and name != "docs/index.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


@pytest.mark.parametrize("language", troubleshooting.PAGES)
def test_troubleshooting_is_made_of_the_diagnosis(language):
    made = troubleshooting.page(language)
    assert troubleshooting.PAGES[language].read_text() == made, "python tests/release/troubleshooting.py writes it anew"
    assert "{" not in re.sub(r"```.*?```", "", made, flags=re.S)


def test_every_cause_has_a_heading_and_every_cure_its_chinese():
    entries = list(troubleshooting.entries())
    assert {entry.cause for entry in entries} <= set(troubleshooting.GROUPS)
    assert set(troubleshooting.diagnosis._CURES) <= set(troubleshooting.CHINESE)
    assert len(entries) > 100
