/* Copyright (c) 2026, The buildfleet authors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later */
"use strict";
(() => {
  const hosts = [...document.querySelectorAll(".host")].map((item) => ({ item, tags: new Set(["all", ...item.dataset.tags.split(" ")]), text: null }));
  const buttons = [...document.querySelectorAll("button[data-filter]")];
  const search = document.getElementById("search");
  const clear = document.getElementById("clear");
  let filter = "all";

  const has = (host, words) => {
    host.text ??= host.item.textContent.toLowerCase();
    return words.every((word) => host.text.includes(word));
  };

  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const host of hosts) {
      const wanted = host.tags.has(filter) && has(host, words);
      host.item.hidden = !wanted;
      count += wanted;
    }
    const plain = filter === "all" && !words.length;
    const all = hosts.length === 1 ? "1 host" : `${hosts.length} hosts`;
    document.getElementById("shown").textContent = plain ? all : `${count} of ${all}`;
    document.getElementById("none").hidden = count > 0;
    clear.hidden = plain;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.filter === filter));
    // A link to what is shown; where a viewer forbids it, the page works without.
    const hash = plain ? "" : `#${filter}/${encodeURIComponent(search.value)}`;
    try { history.replaceState(null, "", hash || location.pathname + location.search); } catch { /* sandboxed */ }
  };

  const choose = (tag) => {
    filter = tag;
    show();
  };

  const start = () => {
    const [tag, ...text] = location.hash.slice(1).split("/");
    filter = buttons.some((button) => button.dataset.filter === tag) ? tag : "all";
    try { search.value = decodeURIComponent(text.join("/")); } catch { search.value = ""; }
    show();
  };

  for (const button of buttons) {
    button.addEventListener("click", () => {
      choose(filter === button.dataset.filter ? "all" : button.dataset.filter);
      if (button.closest(".causes") && filter !== "all") document.getElementById("hosts").closest("section").scrollIntoView();
    });
  }
  clear.addEventListener("click", () => {
    search.value = "";
    choose("all");
    search.focus();
  });
  search.addEventListener("input", show);
  addEventListener("hashchange", start);
  addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target !== search && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.focus();
    }
    if (event.key === "Escape" && !clear.hidden) clear.click();
  });
  document.documentElement.classList.add("live");
  start();
})();
