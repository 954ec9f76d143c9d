# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fix of each cause, one sentence in English and in Chinese; 'Set X Y' names the module and its option."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.hosts import TOKEN_SERVER, is_hub, is_loopback, of_hub, registry_of
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.log import PUSH
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import UNREACHED, Evidence, Verdict
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import WANTS_LOGIN


class Cure(t.NamedTuple):
    english: str
    chinese: str


CURES = {
    # The daemon's network access.
    "no daemon proxy": Cure(
        "Set docker_daemon_proxy https_proxy (or registry_mirrors), so that the daemon reaches {host} another way.",
        "给守护进程设置 `docker_daemon_proxy` 的 `https_proxy`（或 `registry_mirrors`），让它改用其他途径访问 {host}。",
    ),
    "daemon proxy": Cure(
        "Set docker_daemon_proxy https_proxy to a proxy that reaches {host}, and keep {host} out of its no_proxy.",
        "把 `docker_daemon_proxy` 的 `https_proxy` 换成能访问 {host} 的代理，并且不要把 {host} 写进它的 `no_proxy`。",
    ),
    "layers of the hub": Cure(
        "Have the firewall or the proxy allow {host} too, where Docker Hub keeps its layers, or set docker_daemon_proxy https_proxy (or registry_mirrors).",
        "请防火墙或代理的管理员也放行 {host}（Docker Hub 的镜像层存放在那里），或者设置 `docker_daemon_proxy` 的 `https_proxy`（或 `registry_mirrors`）。",
    ),
    "layers": Cure(
        "Have the firewall or the proxy allow {host} too, where the registry keeps its layers, or set docker_daemon_proxy https_proxy.",
        "请防火墙或代理的管理员也放行 {host}（镜像仓库的镜像层存放在那里），或者设置 `docker_daemon_proxy` 的 `https_proxy`。",
    ),
    "mirror": Cure(
        "Repair the mirror {host}, or set docker_daemon_proxy registry_mirrors to another one.",
        "修复镜像站 {host}，或者在 `docker_daemon_proxy` 的 `registry_mirrors` 里换一个。",
    ),
    "registry": Cure(
        "Set docker_daemon_proxy {scheme}_proxy to a proxy that reaches {host}, or correct the name{where}.",
        "给 `docker_daemon_proxy` 的 `{scheme}_proxy` 设置能访问 {host} 的代理，或者改正{where}镜像名。",
    ),
    "way": Cure(
        "Set docker_daemon_proxy {scheme}_proxy to a proxy that reaches {host}.",
        "给 `docker_daemon_proxy` 的 `{scheme}_proxy` 设置能访问 {host} 的代理。",
    ),
    "cut off": Cure(
        "Build again. If the connection is cut off again, the lines in log show where: a proxy or a firewall may limit the size or the time of a transfer.",
        "再构建一次。如果连接又中断，`log` 中的行会显示中断的位置：中间的代理或防火墙可能限制了传输的大小或时间。",
    ),
    "client way": Cure(
        "Set docker_build_env {scheme}_proxy to a proxy that reaches {host}.",
        "给 `docker_build_env` 的 `{scheme}_proxy` 设置能访问 {host} 的代理。",
    ),
    "no IPv6 route": Cure(
        "Configure an IPv6 route on this host, or make its resolver omit IPv6 addresses: {host} was requested by IPv6, which this host has no route for.",
        "给这台主机配置 IPv6 路由，或者让它的 DNS 不返回 IPv6 地址：请求 {host} 时用的是 IPv6 地址，而主机没有 IPv6 出口。",
    ),
    # Certificates: the server can be reached.
    "http answer": Cure(
        "Set docker_daemon_proxy insecure_registries: [http://{registry}], or install a certificate on {host}: it answers without TLS.",
        "设置 `docker_daemon_proxy` 的 `insecure_registries: [http://{registry}]`，或者给 {host} 配置证书：它不使用 TLS。",
    ),
    "http answer of a builder": Cure(
        "Set http = true for {registry} in the buildkitd.toml of the builder {builder}, or install a certificate on {host}: it answers without TLS.",
        "在构建器 {builder} 的 buildkitd.toml 里给 {registry} 设置 http = true，或者给 {host} 配置证书：它不使用 TLS。",
    ),
    "unknown authority": Cure(
        "Install the authority's certificate with the role proxy_ca (or in the host's own store): neither the daemon nor the client trusts it.",
        "用角色 `proxy_ca` 安装签发机构的证书：守护进程和客户端都不信任该 CA。",
    ),
    "unknown authority to a builder": Cure(
        "Create the builder {builder} again with the authority's certificate as ca of {registry} in its buildkitd.toml: the host's store does not reach it.",
        "重新创建构建器 {builder}，在它的 buildkitd.toml 里为 {registry} 设置 ca：主机的证书库对它不起作用。",
    ),
    "clock is behind": Cure(
        "Set this host's clock (chronyc makestep, timedatectl): it is behind, so the certificate of {host} is not valid yet.",
        "校准这台主机的时钟（`chronyc makestep`、`timedatectl`）：时钟慢了，{host} 的证书还没有生效。",
    ),
    "certificate expired": Cure(
        "Have the owner of {host} renew its certificate; or set this host's clock (timedatectl), if it is wrong.",
        "请 {host} 的管理员更新证书；如果这台主机的时钟不对，先校准时钟（`timedatectl`）。",
    ),
    "no SANs": Cure(
        "Have the owner of {host} issue a certificate with this name or address in its SANs, use the name that it has, "
        "or set docker_daemon_proxy insecure_registries: [https://{registry}].",
        "请 {host} 的管理员重新签发证书，把这个名字或地址写进 SAN；或者改用证书里已有的名字；或者设置 `docker_daemon_proxy` 的 "
        "`insecure_registries: [https://{registry}]`。",
    ),
    # Tokens.
    "daemon token": Cure(
        "Set docker_build_env daemon_token: true.",
        "设置 `docker_build_env` 的 `daemon_token: true`：改由守护进程通过它自己的代理去取令牌。",
    ),
    "client token": Cure(
        "Set docker_build_env https_proxy to a proxy that reaches {host}, or docker_daemon_proxy https_proxy with docker_build_env daemon_token: true.",
        "给 `docker_build_env` 的 `https_proxy` 设置能访问 {host} 的代理；或者设置 `docker_daemon_proxy` 的 `https_proxy`，再设 `daemon_token: true`。",
    ),
    "builder token": Cure(
        "Set docker_build_env https_proxy to a proxy that reaches {host}: the client fetches the token for the builder {builder}.",
        "给 `docker_build_env` 的 `https_proxy` 设置能访问 {host} 的代理：构建器 {builder} 的令牌由客户端去取。",
    ),
    "token of the daemon": Cure(
        "Set docker_daemon_proxy https_proxy to a proxy that reaches {host}.",
        "给 `docker_daemon_proxy` 的 `https_proxy` 设置能访问 {host} 的代理。",
    ),
    "token_denied": Cure(
        "Log in with the right credentials (docker login), or log out: the token server {host} does not accept what it was sent.",
        "用正确的账号 `docker login`，或者 `docker logout`：{host} 不接受收到的凭据。",
    ),
    "token_denied, anonymous": Cure(
        "Correct the name of {reference} if it is wrong, or ask the owner of {host} why it issues no anonymous token: no credentials were sent.",
        "如果 {reference} 写错了，请改正；否则请向 {host} 的管理员询问为什么不签发匿名令牌：请求里没有凭据，不是账号的问题。",
    ),
    "no token": Cure(
        "Ask the owner of {host} why its answer contains no token, or find out which proxy or firewall answers in its name.",
        "向 {host} 的管理员询问它的应答里为什么没有令牌，或者查明是哪个代理或防火墙以它的名义应答。",
    ),
    "token_denied, forbidden": Cure(
        "Have whoever runs the firewall or the proxy allow {host}: Docker Hub answers wrong credentials with status 401, not 403.",
        "请防火墙或代理的管理员放行 {host}：账号错误时 Docker Hub 返回 401，而不是 403。",
    ),
    # Proxies.
    "daemon proxy_unreachable": Cure(
        "Set docker_daemon_proxy https_proxy to a proxy that answers.",
        "把 `docker_daemon_proxy` 的 `https_proxy` 换成能连上的代理。",
    ),
    "client proxy_unreachable": Cure(
        "Set docker_build_env https_proxy to a proxy that answers.",
        "把 `docker_build_env` 的 `https_proxy` 换成能连上的代理。",
    ),
    "step proxy_unreachable": Cure(
        "Set docker_build_env step_proxy to a proxy that build containers reach.",
        "把 `docker_build_env` 的 `step_proxy` 换成构建容器里也能连上的代理（不能是 127.0.0.1）。",
    ),
    "step proxy on the loopback": Cure(
        "Set docker_build_env step_proxy to an address of the proxy that build containers reach: {host} is the build container itself.",
        "把 `docker_build_env` 的 `step_proxy` 设为构建容器能连上的代理地址：{host} 是构建容器自己。",
    ),
    "builder proxy_unreachable": Cure(
        "Create the builder {builder} again with a proxy that it reaches (buildx create --driver-opt env.HTTPS_PROXY=URL).",
        "重新创建构建器 {builder}，给它配置一个能连上的代理（`buildx create --driver-opt env.HTTPS_PROXY=URL`）。",
    ),
    "builder proxy on the loopback": Cure(
        "Create the builder {builder} again with a proxy that it reaches (buildx create --driver-opt env.HTTPS_PROXY=URL): "
        "it runs in a container, whose loopback is its own.",
        "重新创建构建器 {builder}，给它配置一个能连上的代理（`buildx create --driver-opt env.HTTPS_PROXY=URL`）：它运行在容器里，127.0.0.1 是它自己。",
    ),
    "builder proxy URL": Cure(
        "Create the builder {builder} again with the proxy's URL as http://HOST:PORT (buildx create --driver-opt env.HTTPS_PROXY=URL).",
        "重新创建构建器 {builder}，把代理的 URL 写成 `http://主机:端口`（`buildx create --driver-opt env.HTTPS_PROXY=URL`）。",
    ),
    "unnamed proxy without TLS": Cure(
        "Write the proxy's URL with http:// in {process}: the connection to the proxy itself does not use TLS.",
        "在 {process} 里把代理的 URL 写成 `http://`：与代理本身的连接不使用 TLS。",
    ),
    "proxy without TLS": Cure(
        "Write the URL of the proxy {host} with http:// in {process}: the connection to the proxy itself does not use TLS.",
        "在 {process} 里把代理 {host} 的 URL 写成 `http://`：与代理本身的连接不使用 TLS。",
    ),
    "malformed URL": Cure(
        "Correct the proxy's URL in {process}: it must read http://HOST:PORT.",
        "改正 {process} 里代理的 URL：格式是 `http://主机:端口`。",
    ),
    "daemon proxy_auth": Cure(
        "Set docker_daemon_proxy proxy_username and proxy_password to what the proxy accepts.",
        "把 `docker_daemon_proxy` 的 `proxy_username` 和 `proxy_password` 改成代理认可的；原样填写，不要自己做 URL 编码。",
    ),
    "client proxy_auth": Cure(
        "Set docker_build_env https_proxy to a proxy that accepts this host, or daemon_token: true.",
        "把 `docker_build_env` 的 `https_proxy` 换成不需要密码的代理，或者设置 `daemon_token: true`。",
    ),
    "client proxy_auth for a builder": Cure(
        "Set docker_build_env https_proxy to a proxy that accepts this host: the client fetches the token for the builder {builder}.",
        "把 `docker_build_env` 的 `https_proxy` 换成不需要密码的代理：构建器 {builder} 的令牌由客户端去取。",
    ),
    "step proxy_auth": Cure(
        "Set docker_build_env step_proxy to a proxy that accepts build containers.",
        "把 `docker_build_env` 的 `step_proxy` 换成接受构建容器请求的代理。",
    ),
    "builder proxy_auth": Cure(
        "Create the builder {builder} again with a proxy that accepts it (buildx create --driver-opt env.HTTPS_PROXY=URL).",
        "重新创建构建器 {builder}，给它配置一个接受其请求的代理（`buildx create --driver-opt env.HTTPS_PROXY=URL`）。",
    ),
    "proxy_refused": Cure(
        "Have the proxy's owner allow this request, or set {process} to another proxy.",
        "请代理的管理员放行这个请求，或者把 {process} 换成另一个代理。",
    ),
    "page on the way": Cure(
        "Have whoever runs the firewall or the proxy allow this request, or set {process} to another proxy.",
        "请防火墙或代理的管理员放行这个请求，或者把 {process} 换成另一个代理。",
    ),
    "page on the way of a builder": Cure(
        "Have whoever runs the firewall or the proxy allow this request, or create the builder {builder} again with another proxy "
        "(buildx create --driver-opt env.HTTPS_PROXY=URL).",
        "请防火墙或代理的管理员放行这个请求，或者重新创建构建器 {builder}，换一个代理（`buildx create --driver-opt env.HTTPS_PROXY=URL`）。",
    ),
    # Mirrors.
    "mirror_error": Cure(
        "Set docker_daemon_proxy registry_mirrors to a mirror that answers; {host} answers {reason}, which only its owner can change.",
        "在 `docker_daemon_proxy` 的 `registry_mirrors` 里换一个能用的镜像站；{host} 返回 {reason}，需由其管理员处理。",
    ),
    "mirror in FROM": Cure(
        "Use another mirror in the Dockerfile (dockerfile_mirror mirrors); {host} answers {reason}, which only its owner can change.",
        "在 Dockerfile 里换一个镜像站（`dockerfile_mirror` 的 `mirrors`）；{host} 返回 {reason}，需由其管理员处理。",
    ),
    "mirror in a name": Cure(
        "Name another mirror{where}; {host} answers {reason}, which only its owner can change.",
        "改正{where}镜像名，换一个镜像站；{host} 返回 {reason}，需由其管理员处理。",
    ),
    "mirror in FROM, unreached": Cure(
        "Use another mirror in the Dockerfile (dockerfile_mirror mirrors), or set docker_daemon_proxy {scheme}_proxy to a proxy that reaches {host}.",
        "在 Dockerfile 里换一个镜像站（`dockerfile_mirror` 的 `mirrors`），或者给 `docker_daemon_proxy` 的 `{scheme}_proxy` 设置能访问 {host} 的代理。",
    ),
    "mirror in a name, unreached": Cure(
        "Name another mirror{where}, or set docker_daemon_proxy {scheme}_proxy to a proxy that reaches {host}.",
        "改正{where}镜像名，换一个镜像站；或者给 `docker_daemon_proxy` 的 `{scheme}_proxy` 设置能访问 {host} 的代理。",
    ),
    "mirror of another registry": Cure(
        "Set docker_registry_hosts registries to a mirror that answers; {host} answers {reason}, which only its owner can change.",
        "在 `docker_registry_hosts` 的 `registries` 里换一个能用的镜像站；{host} 返回 {reason}，需由其管理员处理。",
    ),
    "mirror of another registry lacks": Cure(
        "Correct the name or tag of {reference}, or set docker_registry_hosts registries to a mirror that has it: {host} does not.",
        "改正 {reference} 的名字或标签，或者在 `docker_registry_hosts` 的 `registries` 里换一个有它的镜像站：{host} 上没有。",
    ),
    "mirror of another registry, unreached": Cure(
        "Repair the mirror {host}, or set docker_registry_hosts registries to another one.",
        "修复镜像站 {host}，或者在 `docker_registry_hosts` 的 `registries` 里换一个。",
    ),
    "mirror of another registry wants a login": Cure(
        "Set username and password of the mirror {host} in docker_registry_hosts registries, or correct them there.",
        "在 `docker_registry_hosts` 的 `registries` 里给镜像站 {host} 设置（或改正）`username` 和 `password`。",
    ),
    # A mirror of any registry that a hosts.toml names.
    "mirror of hosts.toml elsewhere": Cure(
        "Name a mirror in {file} that serves images without a token (role registry_cache), or have the mirror's owner rewrite its realm.",
        "在 {file} 里换一个不需要令牌的镜像站（角色 `registry_cache` 可以自建），或者请镜像站改写 realm。",
    ),
    "mirror of a foreign hosts.toml": Cure(
        "Name another mirror in {file}, or remove {host} there: {reason}.",
        "在 {file} 里换一个镜像站，或者删除其中的 {host}：{reason}。",
    ),
    "mirror of a foreign hosts.toml lacks": Cure(
        "Correct the name or tag of {reference}, or name a mirror in {file} that has it: {host} does not.",
        "改正 {reference} 的名字或标签，或者在 {file} 里换一个有它的镜像站：{host} 上没有。",
    ),
    "mirror of a foreign hosts.toml wants a login": Cure(
        "Give the mirror {host} a login in {file} (header with Authorization), or correct it there.",
        "在 {file} 里给镜像站 {host} 设置（或改正）登录信息（`header` 里的 `Authorization`）。",
    ),
    "mirror wants a login": Cure(
        "Have the owner of the mirror {host} allow anonymous pulls, or set docker_daemon_proxy registry_mirrors to another one: Docker sends no "
        "credentials to mirrors.",
        "请镜像站 {host} 的管理员允许匿名拉取，或者在 `docker_daemon_proxy` 的 `registry_mirrors` 里换一个：Docker 不会把账号发给镜像站。",
    ),
    "mirror without the content": Cure(
        "Have the owner of the mirror {host} fetch {reference} again, or set docker_daemon_proxy registry_mirrors to another one: "
        "it has the tag but not its content.",
        "请镜像站 {host} 的管理员重新同步 {reference}，或者在 `docker_daemon_proxy` 的 `registry_mirrors` 里换一个：它有这个标签，却没有对应的内容。",
    ),
    "mirror of a builder": Cure(
        "Create the builder {builder} again with another mirror in its buildkitd.toml (docker_build_env builder_mirrors); {host}: {reason}.",
        "重新创建构建器 {builder}，在它的 buildkitd.toml 里换一个镜像站（`docker_build_env` 的 `builder_mirrors`）；{host}：{reason}。",
    ),
    "mirror elsewhere, proxied": Cure(
        "Set docker_build_env daemon_token: true.",
        "设置 `docker_build_env` 的 `daemon_token: true`。",
    ),
    "mirror elsewhere": Cure(
        "Set docker_daemon_proxy registry_mirrors to a mirror that serves images without a token "
        "(role registry_cache), or have the mirror's owner rewrite its realm.",
        "在 `docker_daemon_proxy` 的 `registry_mirrors` 里换一个不需要令牌的镜像站（角色 `registry_cache` 可以自建），或者请镜像站改写 realm。",
    ),
    "mirror elsewhere, in a name": Cure(
        "Name a mirror{where} that serves images without a token (role registry_cache), have the mirror's owner rewrite its realm, "
        "or set docker_daemon_proxy https_proxy to a proxy that reaches {host}.",
        "改正{where}镜像名，换一个不需要令牌的镜像站（角色 `registry_cache` 可以自建）；或者请镜像站改写 realm；或者给 `docker_daemon_proxy` 的 `https_proxy` "
        "设置能访问 {host} 的代理。",
    ),
    "mirror elsewhere, client": Cure(
        "Set docker_build_env https_proxy to a proxy that reaches {host}, or use a mirror that serves images without a token (role registry_cache).",
        "给 `docker_build_env` 的 `https_proxy` 设置能访问 {host} 的代理，或者换一个不需要令牌的镜像站（角色 `registry_cache`）。",
    ),
    "mirror lacks": Cure(
        "Set docker_daemon_proxy registry_mirrors to a mirror that has {reference}, or https_proxy so that the daemon "
        "can ask Docker Hub itself; or correct the name.",
        "在 `docker_daemon_proxy` 的 `registry_mirrors` 里换一个有 {reference} 的镜像站，或者设置 `https_proxy`，让守护进程能访问 Docker Hub；或者改正镜像名。",
    ),
    # A builder in a container.
    "builder": Cure(
        "Create the builder {builder} again with a proxy of its own (buildx create --driver-opt env.HTTPS_PROXY=URL), "
        "or set docker_build_env builder_mirrors: it reads neither daemon.json nor the daemon's proxy.",
        "重新创建构建器 {builder}，给它单独配置代理（`buildx create --driver-opt env.HTTPS_PROXY=URL`），或者设置 `docker_build_env` 的 `builder_mirrors`："
        "它既不读 daemon.json，也不用守护进程的代理。",
    ),
    "no SANs of a builder": Cure(
        "Have the owner of {host} issue a certificate with this name or address in its SANs, or set insecure = true for {registry} in the buildkitd.toml of "
        "the builder {builder}.",
        "请 {host} 的管理员签发包含这个名字或地址（SAN）的证书，或者在构建器 {builder} 的 buildkitd.toml 里给 {registry} 设置 insecure = true。",
    ),
    "proxy_refused to a builder": Cure(
        "Have the proxy's owner allow this request, or create the builder {builder} again with another proxy (buildx create --driver-opt env.HTTPS_PROXY=URL).",
        "请代理的管理员放行这个请求，或者重新创建构建器 {builder}，换一个代理（`buildx create --driver-opt env.HTTPS_PROXY=URL`）。",
    ),
    # The registry's answer.
    "rate_limited to a builder": Cure(
        "Log in (docker login), or set docker_build_env builder_mirrors to a mirror of your own (role registry_cache), and create the builder {builder} again.",
        "`docker login` 登录，或者在 `docker_build_env` 的 `builder_mirrors` 里写上自己的镜像站（角色 `registry_cache`），再重新创建构建器 {builder}。",
    ),
    "denied a push": Cure(
        "Log in (docker login) with a user that may push {reference}, or push to another name.",
        "用有推送权限的账号 `docker login`，或者换一个名字推送 {reference}。",
    ),
    "rate_limited": Cure(
        "Log in (docker login), or set docker_daemon_proxy registry_mirrors to a mirror of your own (role registry_cache).",
        "`docker login` 登录，或者用 `docker_daemon_proxy` 的 `registry_mirrors` 指向自己的镜像站（角色 `registry_cache`）。",
    ),
    "rate_limited elsewhere": Cure(
        "Log in at {host} (docker login), or ask it less often.",
        "登录 {host}（`docker login`），或者减少请求次数。",
    ),
    "rate_limited where nobody logs in": Cure(
        "Try again later, and send {host} fewer requests: it limits their number.",
        "稍后再试，并减少对 {host} 的请求次数：它限制请求的数量。",
    ),
    "forbidden at the hub": Cure(
        "Have whoever runs the firewall or the proxy allow {host}, or set docker_daemon_proxy https_proxy (or registry_mirrors): "
        "Docker Hub answers wrong credentials with status 401, not 403.",
        "请防火墙或代理的管理员放行 {host}，或者设置 `docker_daemon_proxy` 的 `https_proxy`（或 `registry_mirrors`）："
        "账号错误时 Docker Hub 返回 401，而不是 403。",
    ),
    "denied": Cure(
        "Log in (docker login) with a user that may read {reference}, or correct its name.",
        "用有权限的账号 `docker login`，或者改正镜像名 {reference}。",
    ),
    "git without a login": Cure(
        "Give the build a login for {host}: --secret id=GIT_AUTH_TOKEN with BuildKit, --ssh default for an ssh URL; or correct the URL of the repository.",
        "让构建能登录 {host}：BuildKit 用 `--secret id=GIT_AUTH_TOKEN`，ssh 地址用 `--ssh default`；或者改正仓库地址。",
    ),
    "not permitted": Cure(
        "Set docker_daemon_proxy https_proxy to a proxy elsewhere, or name another registry that has {reference}: {host} refuses everybody at this address.",
        "把 `docker_daemon_proxy` 的 `https_proxy` 设为别处的代理，或者改用有 {reference} 的其他镜像仓库：{host} 拒绝来自本机地址的一切请求。",
    ),
    "denied where nobody logs in": Cure(
        "Try again later, or correct the name of {reference}: {host} is open to everybody.",
        "稍后再试，或者改正镜像名 {reference}：{host} 对所有人开放，不需要登录。",
    ),
    "not_found": Cure(
        "Correct the name or tag of {reference}: {host} does not have it.",
        "改正 {reference} 的名字或标签：{host} 上没有它。",
    ),
    "platform": Cure(
        "Use a tag of {reference} that was built for this platform, or another --platform: the image exists, but only for other platforms.",
        "换一个支持当前平台的 {reference} 标签，或者用 `--platform` 指定别的平台：镜像存在，只是没有这个平台的版本。",
    ),
    "content missing": Cure(
        "Have the owner of {reference} push it again, or use another tag: {host} has its manifest but not its content.",
        "请 {reference} 的发布者重新推送，或者换一个标签：{host} 上有它的清单，却没有内容。",
    ),
    "registry_error": Cure(
        "Try again later, or set docker_daemon_proxy registry_mirrors to a mirror.",
        "稍后再试，或者给 `docker_daemon_proxy` 的 `registry_mirrors` 设置镜像站。",
    ),
    "try again": Cure("Try again later: {host} answers with an error.", "稍后再试：{host} 返回错误。"),
    "too large": Cure(
        "Raise the limit for the size of a request at the server in front of the registry (client_max_body_size of nginx), or push smaller layers.",
        "调大镜像仓库前面那台服务器的请求大小上限（nginx 的 `client_max_body_size`），或者推送更小的镜像层。",
    ),
    "wrong content": Cure(
        "Build once without the mirror or the proxy, to find out which of them changes or truncates the content: it does not match its digest.",
        "暂时去掉中间的镜像站或代理再构建一次，看是谁改动或截断了内容：收到的内容与摘要（digest）不符。",
    ),
    # RUN steps.
    "step": Cure(
        "Set docker_build_env step_proxy, so that RUN steps reach {host}.",
        "设置 `docker_build_env` 的 `step_proxy`，让 RUN 步骤能访问 {host}。",
    ),
    "step of compose": Cure(
        "Set docker_build_env step_proxy and buildkit: true (it needs the buildx plugin), or name http_proxy and https_proxy in build.args of the compose "
        "file: with the legacy builder docker compose gives RUN steps only HTTP_PROXY and HTTPS_PROXY, which apt and wget do not read.",
        "设置 `docker_build_env` 的 `step_proxy` 和 `buildkit: true`（需要 buildx 插件），或者在 compose 文件的 `build.args` 里写上 "
        "`http_proxy` 和 `https_proxy`：使用旧版构建器时，docker compose 只把 `HTTP_PROXY` 和 `HTTPS_PROXY` 传给 RUN 步骤，"
        "而 apt 和 wget 不读它们。",
    ),
    "step, unknown authority": Cure(
        "Trust the authority's certificate in the image, or pass it to the step with --mount=type=secret (docs/which-cure.md, Trust the CA in RUN steps): "
        "{host} was reached, but the image does not trust the CA of its certificate.",
        "在镜像里安装签发机构的证书，或者用 `--mount=type=secret` 传给这一步（见 docs/which-cure.md 的 Trust the CA in RUN steps）：{host} 已经连上，"
        "只是镜像不信任签发它证书的 CA。",
    ),
    "step, certificate expired": Cure(
        "Update ca-certificates in the image, or have the owner of {host} renew its certificate; set this host's clock, if it is wrong.",
        "更新镜像里的 ca-certificates，或者请 {host} 的管理员更新证书；如果主机时钟不对，先校准时钟。",
    ),
    "step, certificate of another name": Cure(
        "Find out which server answers the step as {host}: its certificate is for another name.",
        "查明是哪台服务器以 {host} 的名义应答：它的证书不属于这个域名。",
    ),
    "step, http answer": Cure(
        "Write the proxy's URL with http:// in docker_build_env step_proxy, or correct the URL in the step: what answers as {host} does not use TLS.",
        "把 `docker_build_env` 的 `step_proxy` 里代理的 URL 写成 `http://`，或者改正这一步里的 URL：以 {host} 的名义应答的服务器不使用 TLS。",
    ),
    "step, version or cipher": Cure(
        "Use a base image with a newer TLS library: {host} and the step have no TLS version or cipher in common.",
        "换一个 TLS 库更新的基础镜像：{host} 与这一步没有共同的 TLS 版本或算法。",
    ),
    "step_failed": Cure("Correct the RUN step: it ended with {reason}.", "改正这个 RUN 步骤：{reason}。"),
    "step, clock": Cure(
        "Set this host's clock (chronyc makestep, timedatectl): it is behind, so what the step downloaded is not valid yet.",
        "校准这台主机的时钟（`chronyc makestep`、`timedatectl`）：时钟慢了，这一步下载的内容还没有生效。",
    ),
    "step, unclear": Cure(
        "Run the program again with more output, to see why the download failed; set docker_build_env step_proxy if build containers need a proxy.",
        "让程序输出更多信息后再运行一次，查看下载失败的原因；如果构建容器只能通过代理上网，设置 `docker_build_env` 的 `step_proxy`。",
    ),
    # Not the network.
    "no answer": Cure("Start the engine (systemctl start docker).", "启动引擎：`systemctl start docker`。"),
    "ended during the build": Cure(
        "Find out why the engine stopped (journalctl -u docker), and build again when it runs.",
        "用 `journalctl -u docker` 查看引擎为什么退出，等它运行后再构建。",
    ),
    "the engine's certificate is not accepted": Cure(
        "Check DOCKER_HOST, DOCKER_CERT_PATH and no_proxy in the environment of the user who builds: the client does not accept the engine's certificate.",
        "检查构建用户环境变量里的 `DOCKER_HOST`、`DOCKER_CERT_PATH` 和 `no_proxy`：客户端不信任引擎的证书。",
    ),
    "permission denied": Cure(
        "Run the task with become: true, or add the user to the group docker.",
        "任务加上 `become: true`，或者把用户加入 `docker` 组。",
    ),
    "docker is not installed": Cure("Install Docker on this host.", "在这台主机上安装 Docker。"),
    "disk_full": Cure(
        "Free space on the engine's disk: in /var/lib/docker, with the containerd image store in /var/lib/containerd (docker system df shows what is used).",
        "清理引擎所在的磁盘：`/var/lib/docker`，使用 containerd 镜像存储时是 `/var/lib/containerd`（`docker system df` 可以看到占用）。",
    ),
    "buildx_missing": Cure(
        "Install the buildx plugin, or set docker_build_env buildkit: false.",
        "安装 buildx 插件，或者设置 `docker_build_env` 的 `buildkit: false`。",
    ),
    "buildx_missing of a builder": Cure(
        "Install the buildx plugin (package docker-buildx, or docker-buildx-plugin): without it docker knows no builders and none of their options.",
        "安装 buildx 插件（软件包 docker-buildx 或 docker-buildx-plugin）：没有它，docker 不认识构建器，也不认识它们的选项。",
    ),
    "older than compose needs": Cure(
        "Upgrade the buildx plugin as the message says, or set docker_build_env buildkit: false.",
        "按报错信息升级 buildx 插件，或者设置 `docker_build_env` 的 `buildkit: false`。",
    ),
    "legacy_cannot": Cure(
        "Set docker_build_env buildkit: true, or builder: buildkit here: the legacy builder cannot do {reason}.",
        "设置 `docker_build_env` 的 `buildkit: true`（或者在本任务里用 `builder: buildkit`）：旧版构建器不支持 {reason}。",
    ),
    "bad_dockerfile": Cure("Correct the Dockerfile or the context: {reason}.", "改正 Dockerfile 或构建上下文：{reason}。"),
    "ADD of a missing file": Cure(
        "Correct the URL of ADD in the Dockerfile: its server answers {reason}.",
        "改正 Dockerfile 里 ADD 的 URL：服务器返回 {reason}。",
    ),
    "credential helper": Cure(
        "Remove credsStore and credHelpers from ~/.docker/config.json of the user who builds, or repair the helper that they name: the client runs it first.",
        "删除构建用户 ~/.docker/config.json 里的 `credsStore` 和 `credHelpers`，或者修好它们指定的程序：客户端会先调用它。",
    ),
    "git is missing": Cure(
        "Install git on the engine's host and restart Docker: with the containerd image store BuildKit looks for git only when Docker starts.",
        "在引擎所在的主机上安装 git，然后重启 Docker：使用 containerd 镜像存储时，BuildKit 只在 Docker 启动时查找 git。",
    ),
    "no active session": Cure(
        "Build with docker build or docker buildx build: the program that started this build opened no session, through which BuildKit gets "
        "tokens from the client.",
        "改用 `docker build` 或 `docker buildx build`：发起构建的程序没有建立会话（session），BuildKit 要通过它向客户端取令牌。",
    ),
    "the cache of GitHub Actions": Cure(
        "Try again later, or build without cache-to and cache-from of type=gha: the cache service of GitHub answers with an error.",
        "稍后再试，或者构建时去掉 `type=gha` 的 cache-to 和 cache-from：GitHub 的缓存服务返回错误。",
    ),
    "cache of the builder": Cure(
        "Remove the cache of the builder (docker builder prune), and build again: it refers to content that no longer exists.",
        "清除构建器的缓存（`docker builder prune`）后重新构建：缓存里记录的内容已经不存在。",
    ),
    "docker driver": Cure(
        "Create a builder with docker buildx create, or enable the containerd image store: the default builder does not support this.",
        "用 `docker buildx create` 创建一个构建器，或者启用 containerd 镜像存储：默认的构建器不支持这个功能。",
    ),
    "the container did not start": Cure(
        "See the engine's log (journalctl -u docker): the container of the step did not start.",
        "查看引擎的日志（`journalctl -u docker`）：这一步的容器没有启动。",
    ),
    "timeout": Cure(
        "Set docker_daemon_proxy https_proxy (or registry_mirrors) if {host} is slow or silent, or a longer timeout here.",
        "如果 {host} 很慢或没有响应，设置 `docker_daemon_proxy` 的 `https_proxy`（或 `registry_mirrors`）；也可以把 `timeout` 调大。",
    ),
    "timeout of a registry": Cure(
        "Set docker_daemon_proxy https_proxy if {host} is slow or silent, or a longer timeout here.",
        "如果 {host} 很慢或没有响应，设置 `docker_daemon_proxy` 的 `https_proxy`；也可以把 `timeout` 调大。",
    ),
    "timeout of the client": Cure(
        "Set docker_build_env https_proxy if {host} is slow or silent, or a longer timeout here.",
        "如果 {host} 很慢或没有响应，设置 `docker_build_env` 的 `https_proxy`；也可以把 `timeout` 调大。",
    ),
    "timeout of a step": Cure(
        "Set docker_build_env step_proxy if {host} is slow or silent, or a longer timeout here.",
        "如果 {host} 很慢或没有响应，设置 `docker_build_env` 的 `step_proxy`；也可以把 `timeout` 调大。",
    ),
    "timeout of the build": Cure(
        "Set a longer timeout here, or read the lines in log: they show what the build was doing.",
        "把 `timeout` 调大，或者查看 `log` 里的原文：它们显示构建当时在做什么。",
    ),
    "unknown": Cure("Read the lines in log, and please report them.", "查看 `log` 里的原文，并请反馈给我们。"),
}
# Where the name of the image is written: after 'the name', and before 镜像名.
WHERE = {
    "dockerfile": Cure(" in the Dockerfile", " Dockerfile 里的"),
    "syntax": Cure(" after # syntax= or in BUILDKIT_SYNTAX", " `# syntax=` 后（或 `BUILDKIT_SYNTAX` 里）的"),
    "context": Cure(" in the named context (--build-context, additional_contexts)", " 命名上下文（`--build-context`、`additional_contexts`）里的"),
    "probe": Cure(" in docker_build_check image", " `docker_build_check` 的 `image` 里的"),
    "builder": Cure(" in docker_builder image", " `docker_builder` 的 `image` 里的"),
    "": Cure("", ""),
}
PROCESS = {"client": "docker_build_env https_proxy", "step": "docker_build_env step_proxy", "daemon": "docker_daemon_proxy https_proxy"}
_OPEN_TO_ALL = ("mcr.microsoft.com", "registry.k8s.io")


def cure_name(found: Verdict, known: Evidence, anonymous: bool) -> str:
    """The row of the table. ``anonymous``: the refused token was requested without credentials."""
    reason = found.reason or ""
    if reason.startswith("no end within"):
        return _for_a_builder(_of_our_timeout(found), found)
    if found.asked_by == "step":
        return _OF_COMPOSE.get(_of_step(found), _of_step(found)) if known.upper_case_proxies else _of_step(found)
    if found.cause in UNREACHED:
        return _for_a_builder(_of_unreached(found, known, reason), found)
    special = _of_cause(found, known, anonymous)
    return _for_a_builder(special or found.cause, found)


# A builder in a container reads neither daemon.json nor the daemon's environment.
_BUILDERS_OWN = {
    "no SANs": "no SANs of a builder",
    "http answer": "http answer of a builder",
    "unknown authority": "unknown authority to a builder",
    "token of the daemon": "builder",
    "mirror elsewhere": "builder",
    "mirror elsewhere, in a name": "builder",
    "mirror lacks": "mirror of a builder",
    "mirror of another registry lacks": "mirror of a builder",
    "registry_error": "try again",
    "forbidden at the hub": "builder",
    "not permitted": "builder",
    "proxy_refused": "proxy_refused to a builder",
    "page on the way": "page on the way of a builder",
}


# A mirror that hosts.toml names is not in daemon.json: the row of docker_registry_hosts, and that of a file of others.
_IN_HOSTS_TOML = {
    "mirror": ("mirror of another registry, unreached", "mirror of a foreign hosts.toml"),
    "mirror_error": ("mirror of another registry", "mirror of a foreign hosts.toml"),
    "mirror without the content": ("mirror of another registry", "mirror of a foreign hosts.toml"),
    "mirror wants a login": ("mirror of another registry wants a login", "mirror of a foreign hosts.toml wants a login"),
    "mirror lacks": ("mirror of another registry lacks", "mirror of a foreign hosts.toml lacks"),
    "mirror elsewhere": ("mirror of hosts.toml elsewhere", "mirror of hosts.toml elsewhere"),
}
_IN_HOSTS_TOML.update({own: (own, foreign) for own, foreign in _IN_HOSTS_TOML.values()})
_IN_HOSTS_TOML.update(dict.fromkeys(("http answer", "no SANs"), _IN_HOSTS_TOML["mirror"]))


def _for_a_builder(name: str, found: Verdict) -> str:
    if found.mirror_named_by:
        own, foreign = _IN_HOSTS_TOML.get(name, (name, name))
        return foreign if found.mirror_named_by.startswith("/") else own
    if not found.instance:
        return name
    if name == "rate_limited":
        return "rate_limited to a builder"
    return _BUILDERS_OWN.get(name, name) if found.asked_by == "daemon" else name


def _is_push(found: Verdict) -> bool:
    """Whether the image was to be pushed, so that its name is in the command and not in the Dockerfile."""
    return any(PUSH.search(line) or " unexpected status: 40" in line for line in found.lines)


# What only a proxy that the step reads can cure.
_OF_COMPOSE = dict.fromkeys(("step", "step, unclear"), "step of compose")


def _of_our_timeout(found: Verdict) -> str:
    if found.asked_by in ("client", "step"):
        return "timeout of the client" if found.asked_by == "client" else "timeout of a step"
    if found.instance:
        return "builder"
    if found.asked_by is None:
        return "timeout of the build"
    if found.role == "mirror":
        return _of_unreached_mirror(found)
    return "timeout" if found.role == "hub" else "timeout of a registry"


def _of_step(found: Verdict) -> str:
    reason = found.reason or ""
    if found.cause == "tls":
        name = f"step, {reason}"
        return "clock is behind" if reason == "clock is behind" else name if name in CURES else "step, unknown authority"
    if found.cause == "proxy_unreachable" and is_loopback(found.host or ""):
        return "step proxy on the loopback"
    if found.cause in ("proxy_unreachable", "proxy_auth"):
        return f"step {found.cause}"
    if found.cause == "step_failed":  # the step of network_step, which only fetches a URL
        return "step, unclear"
    return "step" if found.cause in UNREACHED else found.cause


def _of_unreached(found: Verdict, known: Evidence, reason: str) -> str:
    if reason in ("clock is behind", "certificate expired", "no IPv6 route", "unknown authority"):
        return reason
    if found.asked_by != "client" and _is_a_registry(found):
        if reason == "no SANs" or (reason.startswith("certificate of") and found.role != "other"):
            return "no SANs"
        if reason == "http answer":
            return reason
    return _way(found, known)


def _is_a_registry(found: Verdict) -> bool:
    """Whether the host can be a registry with a setting of its own: neither Docker Hub, nor a store of layers, nor a server of other files."""
    if found.host in _OPEN_TO_ALL:
        return False
    return found.role in ("registry", "mirror") or (found.role == "other" and (not found.host or any("/v2/" in line for line in found.lines)))


def _way(found: Verdict, known: Evidence) -> str:
    """Fixes for a host that could not be reached."""
    if found.asked_by == "client":
        return "client way"
    if found.instance:
        return "mirror of a builder" if found.role == "mirror" and not _in_the_name(found) else "builder"
    if found.role == "mirror":
        return _of_unreached_mirror(found)
    if found.role == "store":
        return "layers of the hub" if found.host_is_hubs else "layers"
    if found.role in ("hub", "registry") and _is_push(found):
        return "way"
    if found.role == "hub":
        return "daemon proxy" if known.daemon_proxy else "no daemon proxy"
    return "registry" if found.role == "registry" else "way" if found.host or found.reason != "reset" else "cut off"


def _in_the_name(found: Verdict) -> bool:
    """Whether the host, a mirror or its token server, belongs to the registry in the image's name."""
    registry = registry_of(found.reference or "")
    return not is_hub(registry) and f".{found.host}".endswith(f".{registry}")


def _of_unreached_mirror(found: Verdict) -> str:
    if _in_the_name(found):
        return "mirror in FROM, unreached" if found.named_in == "dockerfile" else "mirror in a name, unreached"
    return "mirror" if of_hub(found.reference) else "mirror of another registry, unreached"


def _of_cause(found: Verdict, known: Evidence, anonymous: bool) -> str:
    cause, reason, client = found.cause, found.reason or "", found.asked_by == "client"
    if cause in ("engine_down", "buildx_missing"):
        return reason
    if cause == "token_unreachable":
        return _of_token(found, known, client)
    if cause == "token_denied":
        return _of_denied_token(found, reason, anonymous)
    if cause == "mirror_sends_token_elsewhere":
        return _of_token_elsewhere(found, known, client)
    if cause.startswith("proxy_"):
        return _of_proxy(found, reason, client)
    if cause == "mirror_error":
        return _of_mirror(found, reason)
    if cause == "not_found":
        return _of_not_found(found, reason)
    if cause == "denied":
        return _of_denied(found, known, reason)
    if cause == "rate_limited":
        return _of_rate_limit(found)
    if cause in ("step_failed", "bad_dockerfile"):
        return _OF_REASON.get((cause, reason), cause)
    return _of_unknown(found, reason) if cause == "unknown" else ""


_OF_REASON = {
    ("step_failed", "clock is behind"): "step, clock",
    ("step_failed", "a download that failed without saying why"): "step, unclear",
    ("bad_dockerfile", "status 404"): "ADD of a missing file",
    ("bad_dockerfile", "status 410"): "ADD of a missing file",
}


def _of_token(found: Verdict, known: Evidence, client: bool) -> str:
    reason = found.reason or ""
    if reason in ("clock is behind", "certificate expired", "no IPv6 route", "unknown authority"):
        return reason
    if not client:
        return "token of the daemon"
    return "builder token" if found.instance else "daemon token" if known.daemon_proxy else "client token"


def _of_denied_token(found: Verdict, reason: str, anonymous: bool) -> str:
    if re.match(r"status 5\d\d", reason):
        return "try again"
    if reason == "status 429":
        return "rate_limited where nobody logs in"
    if reason == "no token":
        return reason
    if found.host == TOKEN_SERVER and reason == "status 403":
        return "token_denied, forbidden"
    if anonymous and any(map(PUSH.search, found.lines)):
        return "denied a push"
    return "token_denied, anonymous" if anonymous else "token_denied"


def _of_token_elsewhere(found: Verdict, known: Evidence, client: bool) -> str:
    if client:
        return "mirror elsewhere, proxied" if known.daemon_proxy and not found.instance else "mirror elsewhere, client"
    return "mirror elsewhere" if of_hub(found.reference) else "mirror elsewhere, in a name"


def _of_not_found(found: Verdict, reason: str) -> str:
    if reason in ("platform", "content missing"):
        return reason
    if found.role == "store":
        return "content missing"
    if found.role != "mirror" or _in_the_name(found):
        return found.cause
    return "mirror lacks" if of_hub(found.reference) else "mirror of another registry lacks"


def _of_denied(found: Verdict, known: Evidence, reason: str) -> str:
    if reason in ("not permitted", "git without a login"):
        return reason
    if found.host in _OPEN_TO_ALL:
        return "denied where nobody logs in"
    if _is_push(found):
        return "denied a push"
    if found.role == "store":
        return _way(found, known)
    return "forbidden at the hub" if found.host_is_hubs and reason == "status 403" else found.cause


def _of_rate_limit(found: Verdict) -> str:
    if found.host in _OPEN_TO_ALL or found.role == "store":
        return "rate_limited where nobody logs in"
    return "rate_limited elsewhere" if found.host and not found.host_is_hubs else found.cause


def _of_proxy(found: Verdict, reason: str, client: bool) -> str:
    asker = "builder" if found.instance and not client else found.asked_by or "daemon"
    if found.cause == "proxy_auth":
        return "client proxy_auth for a builder" if found.instance and client else f"{asker} proxy_auth"
    if found.cause == "proxy_refused":
        return "page on the way" if reason == "html page" else found.cause
    if asker == "builder":
        url = reason in ("tls", "malformed URL")
        return "builder proxy URL" if url else "builder proxy on the loopback" if is_loopback(found.host or "") else "builder proxy_unreachable"
    if reason in ("unknown authority", "malformed URL"):
        return reason
    if reason == "tls":
        return "proxy without TLS" if found.role == "proxy" else "unnamed proxy without TLS"
    return f"{asker} proxy_unreachable"


def _of_mirror(found: Verdict, reason: str) -> str:
    if _in_the_name(found):
        return "mirror in FROM" if found.named_in == "dockerfile" else "mirror in a name"
    if found.instance:
        return "mirror of a builder"
    if not of_hub(found.reference):  # registry-mirrors are mirrors of Docker Hub only
        return "mirror of another registry wants a login" if reason in (WANTS_LOGIN, "status 401") else "mirror of another registry"
    if reason in (WANTS_LOGIN, "status 401", "denied"):
        return "mirror wants a login"
    return "mirror without the content" if reason == "content missing" else "mirror_error"


def _of_unknown(found: Verdict, reason: str) -> str:
    if reason.startswith("docker-credential") or reason == "credential helper":
        return "credential helper"
    if reason in CURES:
        return reason
    return ("registry_error" if found.host_is_hubs and not _is_push(found) else "try again") if found.host else ""
