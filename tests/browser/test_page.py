# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in a real browser, with 3 hosts and with 1,000. Screenshots are stored in .build/report."""

from __future__ import annotations

import sys
import typing as t
from itertools import pairwise
from pathlib import Path

import pytest

from ansible_collections.buildfleet.docker.plugins.plugin_utils._page import page
from ansible_collections.buildfleet.docker.plugins.plugin_utils._report import Observed, report

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import fleet  # noqa: E402
from chromium import Chromium, program  # noqa: E402

PICTURES = HERE.parents[1] / ".build" / "report"
NOW = "2026-11-24T14:55:00Z"
HOSTILE = '</script></pre><img src="http://example.invalid/x" onerror="pwned=1"><script>pwned=2</script><svg onload="pwned=3">\' "'
SHOWN = "document.querySelectorAll('.host:not([hidden])').length"


@pytest.fixture(scope="session")
def browser() -> t.Iterator[Chromium]:
    found = program()
    if not found:
        pytest.skip("No Chromium is here, and it cannot be installed (apt-get install chromium, as root).")
    chromium = Chromium(found)
    yield chromium
    chromium.close()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    evil = dict(fleet.FAILURES[0], log=[HOSTILE] * 3, msg=HOSTILE, cure=HOSTILE)
    fleets = {
        "three": fleet.three(),
        "some": fleet.many(60),
        "thousand": fleet.many(1000),
        "worst": fleet.worst(1000),
        "hostile": {HOSTILE: Observed(evil, fleet.info(0))},
    }
    for name, observed in fleets.items():
        (folder / name).with_suffix(".html").write_text(page(report(observed, NOW)), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in fleets}


@pytest.fixture(autouse=True)
def calm(browser: Chromium) -> None:
    browser.look()


@pytest.mark.parametrize("name", ["three", "thousand", "worst", "hostile"])
def test_no_request_and_no_complaint(browser, files, name):
    browser.open(files[name])
    assert browser.requests == [files[name].as_uri()]
    assert browser.complaints == []


@pytest.mark.parametrize("name", ["three", "thousand", "worst"])
def test_it_is_painted_within_a_second(browser, files, name):
    def seconds() -> float:
        browser.open(files[name])
        painted, loaded = browser.run(
            "[performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.getEntriesByType('navigation')[0].loadEventEnd]"
        )
        return max(painted, loaded) / 1000

    fastest = min(seconds() for _attempt in range(3))  # others work on this machine too
    print(f"{name}: {fastest:.2f} s")
    assert fastest < 1


def test_what_hosts_say_is_text(browser, files):
    browser.open(files["hostile"])
    assert browser.run("typeof pwned") == "undefined"
    assert browser.run("document.querySelectorAll('img, .host script, .host svg').length") == 0
    assert browser.run("document.querySelector('.host h3').textContent") == HOSTILE


def test_the_policy_stops_a_script_that_would_get_in(browser, files):
    browser.open(files["three"])
    browser.run("document.body.insertAdjacentHTML('beforeend', '<button id=evil onclick=\"pwned=1\">x</button>'); document.getElementById('evil').click()")
    assert browser.run("typeof pwned") == "undefined"


def test_filters(browser, files):
    browser.open(files["thousand"])
    counts = report(fleet.many(1000), NOW)["counts"]
    assert browser.run(SHOWN) == 1000
    for state in ("failed", "unreachable", "drifted", "ok"):
        browser.run(f"document.querySelector('[data-filter=\"state:{state}\"]').click()")
        assert browser.run(SHOWN) == counts[state]
        assert browser.run("document.getElementById('shown').textContent") == f"{counts[state]} of 1000 hosts"
        assert browser.run("document.querySelectorAll('[aria-pressed=\"true\"]').length") == 1
    browser.run("document.querySelector('[data-filter=pending]').click()")
    assert browser.run(SHOWN) == counts["restart_pending"]
    browser.run("document.querySelector('[data-filter=pending]').click()")
    assert browser.run(SHOWN) == 1000


@pytest.mark.parametrize("process", ["daemon", "client", "step"])
def test_filters_by_process_and_by_cause(browser, files, process):
    browser.open(files["thousand"])
    shown = report(fleet.many(1000), NOW)
    browser.run(f"document.querySelector('[data-filter=\"{process}:failed\"]').click()")
    assert browser.run(SHOWN) == shown["processes"][process]["failed"]
    for number, cause in enumerate(shown["causes"]):
        browser.run(f"document.querySelector('[data-filter=\"cause:{number}\"]').click()")
        assert browser.run(SHOWN) == len(cause["hosts"])


def test_search_with_a_filter_and_a_link_to_both(browser, files):
    browser.open(files["thousand"])
    browser.run("document.querySelector('[data-filter=\"state:failed\"]').click()")
    browser.key("/")
    browser.write("FRANKFURT auth.docker.io")
    hosts = report(fleet.many(1000), NOW)["hosts"]
    wanted = [host["name"] for host in hosts if host["state"] == "failed" and "frankfurt" in host["name"] and "auth.docker.io" in str(host["why"])]
    assert browser.run("[...document.querySelectorAll('.host:not([hidden]) h3')].map(title => title.textContent)") == wanted != []
    fragment = browser.run("location.hash")
    browser.open(files["thousand"], fragment)
    assert browser.run(SHOWN) == len(wanted)
    browser.key("Escape")
    assert browser.run(SHOWN) == 1000
    assert browser.run("location.hash") == ""


def test_search_is_quick_and_says_when_nothing_is_found(browser, files):
    browser.open(files["thousand"])
    milliseconds = browser.run(
        "(() => { const search = document.getElementById('search'), start = performance.now(); search.value = 'no such word';"
        " search.dispatchEvent(new Event('input')); document.body.offsetHeight; return performance.now() - start; })()"
    )
    assert milliseconds < 500
    assert browser.run(SHOWN) == 0
    assert browser.run("document.getElementById('none').hidden") is False


def test_the_keyboard_reaches_everything(browser, files):
    browser.open(files["three"])
    reached = []
    for _press in range(40):
        browser.key("Tab")
        reached.append(browser.run("document.activeElement.dataset.filter || document.activeElement.id || document.activeElement.localName"))
    for wanted in ("all", "state:ok", "state:failed", "client:failed", "cause:0", "search", "summary"):
        assert wanted in reached
    browser.run("document.querySelector('[data-filter=\"state:failed\"]').focus()")
    browser.key("Enter")
    assert browser.run(SHOWN) == 1


def test_every_control_has_a_name_and_every_heading_its_level(browser, files):
    browser.open(files["three"])
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    controls = [node for node in nodes if node.get("role", {}).get("value") in ("button", "searchbox", "DisclosureTriangle")]
    assert len(controls) > 10
    assert [node for node in controls if not node.get("name", {}).get("value")] == []
    levels = browser.run("[...document.querySelectorAll('h1, h2, h3')].map(title => +title.localName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


# The WCAG's formula, for each text against the nearest colour behind it.
CONTRAST = """
(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (item) => { for (; item; item = item.parentElement) { const c = parts(getComputedStyle(item).backgroundColor);
    if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
  document.querySelectorAll("details").forEach((item) => item.open = true);
  const poor = [];
  for (const item of document.querySelectorAll("body *")) {
    if (![...item.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || ["SCRIPT", "STYLE"].includes(item.tagName)) continue;
    const [a, b] = [light(parts(getComputedStyle(item).color)), light(behind(item))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${item.localName}.${item.className} ${item.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return poor;
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser, files, scheme):
    browser.look(scheme)
    for name in ("three", "some"):
        browser.open(files[name])
        assert browser.run(CONTRAST) == []
    assert browser.run("getComputedStyle(document.body).backgroundColor") == ("rgb(244, 246, 248)" if scheme == "light" else "rgb(14, 18, 23)")


def test_a_phone_scrolls_in_one_direction_only(browser, files):
    browser.look(width=360, height=740, phone=True)
    for name in ("three", "some", "hostile"):
        browser.open(files[name])
        browser.run("document.querySelectorAll('details').forEach((item, index) => { item.open = index < 5; })")
        assert browser.run("document.scrollingElement.scrollWidth") <= 360


def test_it_is_read_without_scripts(browser, files):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.call("Page.navigate", url=files["three"].as_uri())
        browser.run("1")
        PICTURES.mkdir(parents=True, exist_ok=True)
        browser.picture(PICTURES / "without-scripts.png")
        root = browser.call("DOM.getDocument", depth=0)["root"]["nodeId"]
        assert len(browser.call("DOM.querySelectorAll", nodeId=root, selector=".host")["nodeIds"]) == 3
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("name", ["three", "some"])
def test_pictures_and_print(browser, files, name):
    PICTURES.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        browser.look(scheme)
        browser.open(files[name])
        browser.picture(PICTURES / f"{name}-{scheme}.png")
    browser.look(width=390, height=844, phone=True)
    browser.open(files[name])
    browser.picture(PICTURES / f"{name}-phone.png")
    browser.look()
    browser.open(files[name])
    browser.print(PICTURES / f"{name}.pdf")
    assert (PICTURES / f"{name}.pdf").read_bytes().startswith(b"%PDF")
