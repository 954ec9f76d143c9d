# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes docs/pictures/report.webp, the report of an invented fleet: tests/environment python tests/browser/picture.py"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

import fleet
from chromium import Chromium, program

from ansible_collections.buildfleet.docker.plugins.plugin_utils._page import page
from ansible_collections.buildfleet.docker.plugins.plugin_utils._report import report

PICTURE = Path(__file__).parents[2] / "docs/pictures/report.webp"


def main() -> None:
    browser = Chromium(program())
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "report.html"
            file.write_text(page(report(fleet.many(40), "2026-11-27T08:00:00Z")), encoding="utf-8")
            browser.look(width=720, height=400)
            browser.open(file)
            PICTURE.write_bytes(base64.b64decode(browser.call("Page.captureScreenshot", format="webp", quality=5)["data"]))
    finally:
        browser.close()
    print(f"{PICTURE.name}: {PICTURE.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
