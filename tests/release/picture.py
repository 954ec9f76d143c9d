# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of README and why.md, in both languages, for a light and a dark page.

    python tests/release/picture.py

writes docs/pictures/. One file serves both colour schemes: browsers evaluate its media query inside <img> too.
"""

from __future__ import annotations

import typing as t
from pathlib import Path
from xml.sax.saxutils import escape

DOCS = Path(__file__).resolve().parents[2] / "docs"
PICTURES = {"en": DOCS / "pictures/three-processes.svg", "zh": DOCS / "pictures/three-processes.zh.svg"}

STYLE = """
  svg { --page: #ffffff; --card: #f6f8fa; --line: #8c959f; --text: #1f2328; --quiet: #59636e; --way: #116329; --wall: #b3261e; --hatch: #f3c9c6 }
  @media (prefers-color-scheme: dark) {
    svg { --page: #0d1117; --card: #161b22; --line: #6e7681; --text: #f0f6fc; --quiet: #9da7b1; --way: #57c06a; --wall: #ff7b72; --hatch: #5c2320 }
  }
  text { font: 14px system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", sans-serif; fill: var(--text) }
  .name { font-size: 18px; font-weight: 700 } .quiet { fill: var(--quiet) } .middle { text-anchor: middle }
  .way { fill: var(--way); font-weight: 600 } .wall { fill: var(--wall); font-weight: 600 }
  .code { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
  .page { fill: var(--page) } .card { fill: var(--card); stroke: var(--line) } .gate { fill: var(--page); stroke: var(--way); stroke-width: 2 }
  path { fill: none; stroke: var(--line); stroke-width: 2 } .good { stroke: var(--way) } .bad { stroke: var(--wall) } .dashed { stroke-dasharray: 6 5 }
  .tip { stroke: none; fill: var(--line) } .good.tip { fill: var(--way) }
"""


class Card(t.NamedTuple):
    name: str
    programs: str
    requests: str
    settings: t.Tuple[t.Tuple[str, str], ...]  # what configures it, and what it writes


class Words(t.NamedTuple):
    title: str
    description: str
    cards: t.Tuple[Card, Card, Card]
    build: str
    token: str
    blocked: str
    firewall: str
    firewall_width: int
    gate: str
    registries: str
    proof: str


ENGLISH = Words(
    title="What buildfleet.docker configures",
    description=(
        "A build has three processes that use the network: client, daemon and step. A firewall lets only a proxy or a mirror through. "
        "docker_build_env makes the client leave its token request to the daemon and gives steps a proxy; docker_daemon_proxy and "
        "docker_registry_hosts configure proxy and mirrors of the daemon. A real build on each host proves it."
    ),
    cards=(
        Card(
            "client", "docker build, buildx, compose", "requests BuildKit's token", (("docker_build_env", "BUILDKIT_NO_CLIENT_TOKEN=1"), ("", "or HTTPS_PROXY"))
        ),
        Card(
            "daemon", "dockerd", "requests manifests, layers", (("docker_daemon_proxy", "proxies, registry-mirrors"), ("docker_registry_hosts", "hosts.toml"))
        ),
        Card("step", "RUN apt, pip, npm, curl", "requests what it downloads", (("docker_build_env step_proxy", "proxies in"), ("", "~/.docker/config.json"))),
    ),
    build="build",
    token="token",
    blocked="auth.docker.io: blocked",
    firewall="firewall",
    firewall_width=86,
    gate="proxy or mirror",
    registries="Docker Hub, auth.docker.io, ghcr.io, package servers",
    proof="Then a real build in a login shell of each host proves it; undo restores every file, byte for byte.",
)
CHINESE = Words(
    title="buildfleet.docker 配置什么",
    description=(
        "一次构建里有三个进程要上网：客户端、守护进程和构建步骤。防火墙只放行代理或镜像站。docker_build_env 让客户端把取令牌的事交给守护进程，"
        "并给构建步骤配代理；docker_daemon_proxy 和 docker_registry_hosts 配置守护进程的代理和镜像站。最后在每台主机上真正构建一次来验证。"
    ),
    cards=(
        Card("客户端", "docker build、buildx、compose", "请求 BuildKit 的令牌", (("docker_build_env", "BUILDKIT_NO_CLIENT_TOKEN=1"), ("", "或 HTTPS_PROXY"))),
        Card("守护进程", "dockerd", "请求镜像清单和镜像层", (("docker_daemon_proxy", "proxies、registry-mirrors"), ("docker_registry_hosts", "hosts.toml"))),
        Card("构建步骤", "RUN apt、pip、npm、curl", "下载 Dockerfile 里的一切", (("docker_build_env step_proxy", "~/.docker/config.json"), ("", "的 proxies"))),
    ),
    build="构建",
    token="令牌",
    blocked="auth.docker.io：被拦截",
    firewall="防火墙",
    firewall_width=66,
    gate="代理或镜像站",
    registries="Docker Hub、auth.docker.io、ghcr.io、软件源",
    proof="然后在每台主机的登录环境里真正构建一次来验证；undo 把每个文件逐字节还原。",
)
WORDS = {"en": ENGLISH, "zh": CHINESE}


def _text(x: int, y: int, words: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}"' + (f' class="{kind}"' if kind else "") + f">{escape(words)}</text>"


def _card(x: int, card: Card) -> t.List[str]:
    lines = [(words, kind) for setting in card.settings for words, kind in zip(setting, ("way", "code"), strict=True) if words]
    return [
        f'<rect class="card" x="{x}" y="20" width="268" height="212" rx="8"/>',
        _text(x + 16, 50, card.name, "name"),
        _text(x + 16, 74, card.programs, "quiet"),
        _text(x + 16, 98, card.requests),
        f'<path d="M{x + 16} 116H{x + 252}"/>',
        *(_text(x + 16, 142 + 24 * number, words, kind) for number, (words, kind) in enumerate(lines)),
    ]


def _arrow(path: str, tip: str, kind: str = "") -> t.List[str]:
    return [f'<path class="{kind}" d="{path}"/>', f'<path class="{kind} tip" d="{tip}"/>']


def picture(language: str) -> str:
    words = WORDS[language]
    parts = [
        '<rect class="page" width="960" height="492" rx="12"/>',
        *(line for number, card in enumerate(words.cards) for line in _card(20 + 326 * number, card)),
        *_arrow("M288 70H338", "M346 70l-10 -5v10z"),
        _text(317, 60, words.build, "quiet middle"),
        *_arrow("M614 70H664", "M672 70l-10 -5v10z"),
        _text(643, 60, "RUN", "quiet middle"),
        *_arrow("M288 162H338", "M346 162l-10 -5v10z", "good"),
        _text(317, 152, words.token, "way middle"),
        '<pattern id="hatch" width="10" height="10" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<path style="stroke:var(--hatch);stroke-width:8" d="M0 0V10"/></pattern>',
        '<rect x="20" y="318" width="920" height="36" fill="url(#hatch)"/>',
        '<path class="bad" d="M20 318H940M20 354H940"/>',
        '<path class="bad dashed" d="M154 232V308"/>',
        '<path class="bad" d="M147 303l14 14M161 303l-14 14"/>',
        _text(174, 280, words.blocked, "wall"),
        f'<rect class="page" x="30" y="325" width="{words.firewall_width}" height="22" rx="4"/>',
        _text(42, 341, words.firewall, "wall"),
        '<rect class="gate" x="370" y="306" width="220" height="60" rx="8"/>',
        _text(480, 341, words.gate, "way middle"),
        *_arrow("M480 232V296", "M480 304l-5 -10h10z", "good"),
        *_arrow("M806 232V268H550V296", "M550 304l-5 -10h10z", "good"),
        *_arrow("M480 366V390", "M480 398l-5 -10h10z", "good"),
        '<rect class="card" x="20" y="400" width="920" height="42" rx="8"/>',
        _text(480, 426, words.registries, "middle"),
        _text(480, 470, words.proof, "quiet middle"),
    ]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 492" width="960" height="492" role="img" aria-labelledby="title desc"'
        f' xml:lang="{language}">\n<title id="title">{escape(words.title)}</title>\n<desc id="desc">{escape(words.description)}</desc>\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


if __name__ == "__main__":
    for name, file in PICTURES.items():
        file.write_text(picture(name), encoding="utf-8")
