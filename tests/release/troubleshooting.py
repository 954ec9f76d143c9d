# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/troubleshooting.md and docs/zh/troubleshooting.md: what engines say, what it means, what cures it.

Made of the recorded logs of real engines and of the diagnosis itself. `python tests/release/troubleshooting.py` writes both pages.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import typing as t
from pathlib import Path

from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.diagnosis import cure_text, diagnose

TOP = Path(__file__).resolve().parents[2]
PAGES = {"en": TOP / "docs/troubleshooting.md", "zh": TOP / "docs/zh/troubleshooting.md"}
MOST_MESSAGES = 4

# Which process, what happened: the order is the one in which a reader should look.
GROUPS = {
    "token_unreachable": ("The token server is not reached", "连不上令牌服务器"),
    "mirror_sends_token_elsewhere": ("A mirror sends clients elsewhere for a token", "镜像站把客户端引到别处取令牌"),
    "reset": ("The registry resets the connection", "与镜像仓库的连接被重置"),
    "timeout": ("The registry does not answer", "镜像仓库没有响应（超时）"),
    "refused": ("The registry refuses the connection", "镜像仓库拒绝连接"),
    "dns": ("A name is not known", "域名解析失败"),
    "tls": ("A certificate is not trusted, or is another's", "证书不受信任，或者不是该主机的证书"),
    "proxy_unreachable": ("The proxy is not reached", "连不上代理"),
    "proxy_auth": ("The proxy wants other credentials", "代理认证失败"),
    "proxy_refused": ("The proxy says no", "代理拒绝访问该主机"),
    "mirror_error": ("A mirror answers with an error", "镜像站返回错误"),
    "rate_limited": ("Too many requests", "请求次数超限"),
    "token_denied": ("The token server says no", "令牌服务器拒绝"),
    "denied": ("Access is denied", "没有权限拉取"),
    "not_found": ("The image is not there", "镜像或标签不存在"),
    "engine_down": ("The engine does not answer", "Docker 引擎没有响应"),
    "buildx_missing": ("buildx is missing", "缺少 buildx 插件"),
    "legacy_cannot": ("The legacy builder cannot do it", "旧版构建器不支持"),
    "disk_full": ("The disk is full", "磁盘已满"),
    "bad_dockerfile": ("The Dockerfile or the context is wrong", "Dockerfile 或构建上下文有误"),
    "step": ("A RUN step does not reach the network", "RUN 步骤连不上网"),
    "step_failed": ("A RUN step failed by itself", "RUN 步骤自身失败"),
    "unknown": ("The registry answers with an error", "镜像仓库返回错误"),
}

BETWEEN_CHINESE = re.compile(r"(?<=[一-龥]) (?=[一-龥])")  # a blank stands beside Latin letters alone
WHO = {
    "en": {"daemon": "the daemon", "client": "the client", "step": "a `RUN` step", None: "nobody: it is not the network"},
    "zh": {"daemon": "守护进程（dockerd）", "client": "客户端（docker / buildx / compose）", "step": "`RUN` 步骤", None: "无（与网络无关）"},
}
TEXT = {
    "en": {
        "head": """# Troubleshooting by error message

Search this page for your error message. Each message was recorded on a real engine (20.10, 26.1, 28.5) behind our lab's firewall, with names and
addresses changed; below it is what `docker_build_check` makes of it. To diagnose your own host:

```
ansible build_servers -i inventory -b -m buildfleet.docker.docker_build_check -a environment_of=login
```

`pull` works and `build` does not: that is [why.md](why.md).
Which cure to take when you have the choice: [which-cure.md](which-cure.md).
""",
        "builders": {"buildkit": "BuildKit", "legacy": "legacy builder"},
        "asked": "**Who asked:** {who}. **Cause:** `{cause}`. ({builders})",
        "cure": "**Cure:** {cure}",
        "foot": "*Made by `python tests/release/troubleshooting.py` from recorded logs and the table in `plugins/module_utils/_diagnosis`; not by hand.*\n",
    },
    "zh": {
        "head": """# 按报错查原因

在本页按 Ctrl+F 搜索 Docker 的报错原文。每条报错都是在实验环境的「墙」后面、从真实引擎（20.10、26.1、28.5）录下来的，只换掉了主机名和地址；
下面是 `docker_build_check` 对它的判断。想直接诊断自己的主机：

```
ansible build_servers -i inventory -b -m buildfleet.docker.docker_build_check -a environment_of=login
```

`docker pull` 正常而 `docker build` 失败，原因见[中文说明](../../README.zh-CN.md)。
""",
        "builders": {"buildkit": "BuildKit", "legacy": "旧版构建器"},
        "asked": "**请求方**：{who}。**原因代码**：`{cause}`（{builders}）。",  # a colon within the stars would keep them from being read as bold
        "cure": "**办法**：{cure}",
        "foot": "*本页由 `python tests/release/troubleshooting.py` 根据录下的日志和 `plugins/module_utils/_diagnosis` 里的规则生成，请勿手工修改。*\n",
    },
}
# Names of the lab, as a reader would have them.
NAMES = (
    (r"(?:auth-|client-)?proxy\.lab(:\d+)?|127\.0\.0\.1:3128", "proxy.example.com:3128"),
    (r"(?:auth-)?socks\.lab(:\d+)?", "socks.example.com:1080"),
    (r"(?:mirror|relay|selfsigned|plain)\.lab(:\d+)?|127\.0\.0\.1:5000|10\.57\.0\.20\b(:\d+)?", "mirror.example.com"),
    (r"(?:nosuch|silent)\.lab", "name.example.com"),
    (r"(\d+\.\d+\.\d+\.\d+):\d{5}->", "10.0.0.9:50000->"),
    (r"10\.57\.0\.53", "10.0.0.1"),
    (r"10\.57\.0\.\d+", "10.0.0.2"),
    (r"(docker\.io/token)\?[^\s\"]*?(?=\"|: |$)", r"\1?scope=…"),
    (r"(/build)\?buildargs=.*?(?=\": |$)", r"\1?…"),
    (r"^[\d.]+ (?=wget)", ""),
    (r"(ingest|sha256)([/:])[0-9a-f]{60,}", r"\1\2…"),
    (r"\s*\(did you mean .*?\)\s*$", ""),
    (r"(\?ns=)[\w.]+", r"\1docker.io"),
)


class Entry(t.NamedTuple):
    cause: str
    asked_by: str | None
    name: str  # of the cure
    cure: str
    chinese: str
    builder: str
    message: str


def recorded() -> t.Any:
    """The unit test that knows what each recorded log is."""
    path = TOP / "tests/unit/plugins/module_utils/_diagnosis/test_diagnosis.py"
    spec = importlib.util.spec_from_file_location("recorded_logs", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def as_a_reader_has_it(text: str) -> str:
    for pattern, replacement in NAMES:
        text = re.sub(pattern, replacement, text)
    return text.strip()


def decisive(lines: t.Sequence[str]) -> str:
    """The engine's last word, which is what people paste into a search."""
    words = r"^(?:ERROR|failed to solve|Error response|error|Get|Head|docker:|Cannot|unable|permission|The command)"
    for pattern in (r"^ERROR: failed to solve", words, r"rror|ailed|denied|No space"):
        found = [line for line in lines if re.search(pattern, line)]
        if found:
            return as_a_reader_has_it(found[-1])
    return ""


def entries() -> t.Iterator[Entry]:
    source = recorded()
    for case in source.cases():
        path, expected, known = case.values
        facts = source.facts(expected, known)
        verdict = diagnose(path.read_text(), facts)
        if verdict.cause == "ok" or path.parent.name.startswith("stopped-"):
            continue
        here = "proxy.example.com" if verdict.cause.startswith("proxy_") else "mirror.example.com"
        verdict = verdict._replace(host=verdict.host and verdict.host.replace("127.0.0.1", here))
        said = [line for line in verdict.lines if "wget: " in line] if verdict.asked_by == "step" else []
        message = as_a_reader_has_it(re.sub(r"^#\d+ [\d.]+ ", "", said[-1])) if said else decisive(verdict.lines)
        if message:
            cure, chinese = (as_a_reader_has_it(cure_text(verdict.cure_name, verdict, chinese)) for chinese in (False, True))
            found = BETWEEN_CHINESE.sub("", chinese)
            yield Entry(verdict.cause, verdict.asked_by, verdict.cure_name, cure, found, path.stem.partition("-")[2], message)


def page(language: str) -> str:
    text, number = TEXT[language], 0 if language == "en" else 1
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries():
        found.setdefault(("step" if entry.asked_by == "step" else entry.cause, entry.name), []).append(entry)
    parts = [text["head"]]
    for cause, titles in GROUPS.items():
        for (_cause, _name), group in ((key, group) for key, group in found.items() if key[0] == cause):
            title = titles[number]
            if f"## {title}\n" not in parts:
                parts.append(f"## {title}\n")
            messages: dict[str, str] = {}
            for entry in group:
                messages.setdefault(entry.message, entry.builder)
            kept = list(messages.items())[:MOST_MESSAGES]
            parts.append("```text\n" + "\n".join(message for message, _builder in kept) + "\n```\n")
            askers = dict.fromkeys(WHO[language][entry.asked_by] for entry in group)
            builders = dict.fromkeys(text["builders"][entry.builder] for entry in group)
            both = "; ".join(builders) if language == "en" else "、".join(builders)
            who = (" or " if language == "en" else "或").join(askers)
            causes = ("`, `" if language == "en" else "`、`").join(dict.fromkeys(entry.cause for entry in group))
            parts.append(text["asked"].format(who=who, cause=causes, builders=both) + "\n")
            parts.append(text["cure"].format(cure=group[0].cure if language == "en" else group[0].chinese) + "\n")
    return "\n".join([*parts, text["foot"]])


if __name__ == "__main__":
    for name, file in PAGES.items():
        file.write_text(page(name))
        sys.stdout.write(f"{file.relative_to(TOP)}\n")
