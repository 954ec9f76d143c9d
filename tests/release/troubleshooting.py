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

from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis import diagnosis

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
    "proxy_auth": ("The proxy wants other credentials", "代理要求（另外的）用户名和密码"),
    "proxy_refused": ("The proxy says no", "代理拒绝访问该主机"),
    "mirror_error": ("A mirror answers with an error", "镜像站返回错误"),
    "rate_limited": ("Too many requests", "请求次数超限"),
    "token_denied": ("The token server says no", "令牌服务器拒绝"),
    "denied": ("Access is denied", "没有权限拉取"),
    "not_found": ("The image is not there", "镜像或标签不存在"),
    "engine_down": ("The engine does not answer", "Docker 引擎没有响应"),
    "buildx_missing": ("buildx is missing", "缺少 buildx 插件"),
    "legacy_cannot": ("The legacy builder cannot do it", "旧版构建器做不到"),
    "disk_full": ("The disk is full", "磁盘已满"),
    "bad_dockerfile": ("The Dockerfile or the context is wrong", "Dockerfile 或构建上下文有误"),
    "step": ("A RUN step does not reach the network", "RUN 步骤连不上网"),
    "step_failed": ("A RUN step failed by itself", "RUN 步骤自身失败"),
    "unknown": ("The registry answers with an error", "镜像仓库返回错误"),
}

# The cures of _diagnosis, for readers of Chinese.
CHINESE = {
    "no daemon proxy": "给守护进程设置 `docker_daemon_proxy` 的 `https_proxy`（或 `registry_mirrors`），让它换一条路访问 {host}。",
    "daemon proxy": "把 `docker_daemon_proxy` 的 `https_proxy` 换成能访问 {host} 的代理，并且不要把 {host} 写进它的 `no_proxy`。",
    "mirror": "修好镜像站 {host}，或者在 `docker_daemon_proxy` 的 `registry_mirrors` 里换一个。",
    "registry": "给 `docker_daemon_proxy` 的 `https_proxy` 设置能访问 {host} 的代理，或者改正 Dockerfile 里的名字。",
    "daemon token": "设置 `docker_build_env` 的 `daemon_token: true`：改由守护进程通过它自己的代理去取令牌。",
    "client token": "给 `docker_build_env` 的 `https_proxy` 设置能访问 {host} 的代理；或者给守护进程设代理，再设 `daemon_token: true`。",
    "token of the daemon": "给 `docker_daemon_proxy` 的 `https_proxy` 设置能访问 {host} 的代理。",
    "token_denied": "用正确的账号 `docker login`，或者 `docker logout`：{host} 不接受收到的凭据。",
    "daemon proxy_unreachable": "给 `docker_daemon_proxy` 的 `https_proxy` 换一个能连上的代理（注意代理自己的协议通常是 `http://`）。",
    "client proxy_unreachable": "给 `docker_build_env` 的 `https_proxy` 换一个能连上的代理。",
    "step proxy_unreachable": "给 `docker_build_env` 的 `step_proxy` 换一个构建容器里也能连上的代理（不能是 127.0.0.1）。",
    "daemon proxy_auth": "把 `docker_daemon_proxy` 的 `proxy_username` 和 `proxy_password` 改成代理认可的；原样填写，不要自己做 URL 编码。",
    "client proxy_auth": "给 `docker_build_env` 的 `https_proxy` 换一个不要密码的代理，或者用 `daemon_token: true`。",
    "step proxy_auth": "给 `docker_build_env` 的 `step_proxy` 换一个接受构建容器的代理。",
    "proxy_refused": "请代理的管理员放行该主机，或者换一个代理。",
    "mirror_error": "在 `docker_daemon_proxy` 的 `registry_mirrors` 里换一个能用的镜像站；{host} 的回答是 {reason}，只有它的管理员能改。",
    "mirror elsewhere, proxied": "设置 `docker_build_env` 的 `daemon_token: true`。",
    "mirror elsewhere": "在 `docker_daemon_proxy` 的 `registry_mirrors` 里换一个不需要令牌的镜像站（角色 `registry_cache` 可以自建），或者请镜像站改写 realm。",
    "mirror elsewhere, client": "给 `docker_build_env` 的 `https_proxy` 设置能访问 {host} 的代理，或者换一个不需要令牌的镜像站（角色 `registry_cache`）。",
    "unknown authority": "用角色 `proxy_ca` 安装签发机构的证书：守护进程和客户端都还不认识它。",
    "rate_limited": "`docker login` 登录，或者用 `registry_mirrors` 指向自己的镜像站（角色 `registry_cache`）。",
    "denied": "用有权限的账号 `docker login`，或者改正镜像名 {reference}。",
    "not_found": "改正 {reference} 的名字或标签：{host} 上没有它。",
    "mirror lacks": "镜像站 {host} 上没有 {reference}：改正名字或标签，请镜像站同步它，或者换一条能访问 Docker Hub 的路。",
    "no answer": "启动引擎：`systemctl start docker`。",
    "ended during the build": "用 `journalctl -u docker` 看引擎为什么退出，等它运行后再构建。",
    "permission denied": "任务加上 `become: true`，或者把用户加入 `docker` 组。",
    "docker is not installed": "在这台主机上安装 Docker。",
    "disk_full": "清理引擎所在的磁盘（`docker system df` 可以看到占用）。",
    "buildx_missing": "安装 buildx 插件，或者设置 `docker_build_env` 的 `buildkit: false`。",
    "legacy_cannot": "设置 `docker_build_env` 的 `buildkit: true`（或者在这里用 `builder: buildkit`）：旧版构建器不支持 {reason}。",
    "bad_dockerfile": "改正 Dockerfile 或构建上下文：{reason}。",
    "step": "设置 `docker_build_env` 的 `step_proxy`，让 RUN 步骤能访问 {host}。",
    "timeout": "如果 {host} 很慢或没有响应，设置 `docker_daemon_proxy` 的 `https_proxy`（或 `registry_mirrors`）；也可以把 `timeout` 调大。",
    "step_failed": "改正这个 RUN 步骤：{reason}。",
    "registry_error": "稍后再试，或者给 `docker_daemon_proxy` 的 `registry_mirrors` 设置镜像站。",
    "unknown": "看 `log` 里的原文，并请告诉我们。",
}
BETWEEN_CHINESE = re.compile(r"(?<=[一-龥]) (?=[一-龥])")  # a blank stands beside Latin letters alone
UNNAMED = {"host": "镜像仓库", "reason": "错误", "reference": "镜像"}  # where the engine does not say which
WHO = {
    "en": {"daemon": "the daemon", "client": "the client", "step": "a `RUN` step", None: "nobody: it is not the network"},
    "zh": {"daemon": "守护进程（dockerd）", "client": "客户端（docker / buildx / compose）", "step": "`RUN` 步骤", None: "与网络无关"},
}
TEXT = {
    "en": {
        "head": """# Troubleshooting by error message

Search this page for what your engine says. Each message was recorded on a real engine (20.10, 26.1, 28.5) behind our lab's wall, with names and
addresses changed; below it stands what `docker_build_check` makes of it. To have it said for your own host:

```
ansible build_servers -i inventory -b -m buildfleet.docker.docker_build_check -a environment_of=login
```

`pull` works and `build` does not: that is [why.md](https://github.com/buildfleet/buildfleet.docker/blob/main/docs/why.md).
Which cure to take when you have the choice: [which-cure.md](https://github.com/buildfleet/buildfleet.docker/blob/main/docs/which-cure.md).
""",
        "builders": {"buildkit": "BuildKit", "legacy": "legacy builder"},
        "asked": "**Who asked:** {who}. **Cause:** `{cause}`. ({builders})",
        "cure": "**Cure:** {cure}",
        "foot": "*Made by `python tests/release/troubleshooting.py` from recorded logs and the table in `plugins/module_utils/_diagnosis`; not by hand.*\n",
    },
    "zh": {
        "head": """# 按报错查原因

在本页搜索引擎的原话。每条报错都是在实验环境的「墙」后面、从真实引擎（20.10、26.1、28.5）录下来的，只换掉了主机名和地址；
下面是 `docker_build_check` 对它的判断。想直接诊断自己的主机：

```
ansible build_servers -i inventory -b -m buildfleet.docker.docker_build_check -a environment_of=login
```

`docker pull` 正常而 `docker build` 失败，原因见[中文说明](../../README.zh-CN.md)。
""",
        "builders": {"buildkit": "BuildKit", "legacy": "旧版构建器"},
        "asked": "**谁在请求**：{who}。**原因代码**：`{cause}`（{builders}）。",  # a colon within the stars would keep them from being read as bold
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
        verdict = diagnosis.diagnose(path.read_text(), facts)
        if verdict.cause == "ok" or path.parent.name.startswith("stopped-"):
            continue
        here = "proxy.example.com" if verdict.cause.startswith("proxy_") else "mirror.example.com"
        verdict = verdict._replace(host=verdict.host and verdict.host.replace("127.0.0.1", here), cure=(verdict.cure or "").replace("127.0.0.1", here))
        said = [line for line in verdict.lines if "wget: " in line] if verdict.asked_by == "step" else []
        message = as_a_reader_has_it(re.sub(r"^#\d+ [\d.]+ ", "", said[-1])) if said else decisive(verdict.lines)
        name = diagnosis._cure_name(verdict, facts)
        values = {key: as_a_reader_has_it(getattr(verdict, key) or unnamed) for key, unnamed in UNNAMED.items()}
        if message:
            cure, chinese = as_a_reader_has_it(verdict.cure), BETWEEN_CHINESE.sub("", CHINESE[name].format(**values))
            yield Entry(verdict.cause, verdict.asked_by, name, cure, chinese, path.stem.partition("-")[2], message)


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
