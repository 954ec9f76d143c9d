# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a real build in the environment of the process that builds, and remove everything that it created."""

from __future__ import annotations

import functools
import os
import re
import typing as t
from urllib.parse import quote

from ansible_collections.buildfleet.docker.plugins.module_utils._build import leftovers
from ansible_collections.buildfleet.docker.plugins.module_utils._build.judge import blame, judge, requested_by, with_content
from ansible_collections.buildfleet.docker.plugins.module_utils._build.request import BuildRequest, BuildUser, build_environment, default_builder
from ansible_collections.buildfleet.docker.plugins.module_utils._build.result import Outcome
from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.booleans import parse_bool
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.diagnosis import reference
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.hosts import familiar
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.legacy import legacy_cannot
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.log import builder_used
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.proof import passed, proved
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import Evidence, Verdict
from ansible_collections.buildfleet.docker.plugins.module_utils._host import components
from ansible_collections.buildfleet.docker.plugins.module_utils._host.build_cache import BuilderCache, Cache, EngineCache
from ansible_collections.buildfleet.docker.plugins.module_utils._host.build_host import BuildHost
from ansible_collections.buildfleet.docker.plugins.module_utils._host.builder_nodes import Nodes
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import HostError
from ansible_collections.buildfleet.docker.plugins.module_utils._host.steps import running_steps
from ansible_collections.buildfleet.docker.plugins.module_utils._registry import hosts_file
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.candidate import Candidate, asker, too_late, try_candidate
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import DOCKER_HUB, split_registry
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_probe import ask_for_image
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Mirror, host_of

_NAME = "buildfleet-check"
_CONTAINERD = "/var/lib/containerd"
_PATIENCE = 8  # seconds for each mirror after a failed build
_START = 60  # seconds for a stopped builder


class _Store(t.NamedTuple):
    """What the engine stores: image names and ids."""

    tags: t.Dict[str, str]
    images: t.FrozenSet[str]


class _CacheBefore(t.NamedTuple):
    cache: Cache
    ids: t.FrozenSet[str]  # of its records before the build


def check(host: BuildHost, request: BuildRequest, builder: BuildUser, env: t.Mapping[str, str], name: str) -> Outcome:
    """Build, judge, clean up. ``name`` is unique to this run and marks what is ours."""
    environment = build_environment(builder, request, env)
    known = Evidence(
        image="" if request.context or request.compose_file else request.image,
        timeout=request.timeout,
        network_step=request.network_step,
        daemon_token=parse_bool(environment.get("BUILDKIT_NO_CLIENT_TOKEN", "")) is True,
        client_proxy=environment.get("HTTPS_PROXY") or environment.get("https_proxy", ""),
    )
    sock = _socket(environment)
    cannot = next((reason for reason in map(legacy_cannot, _dockerfiles(host, request)) if reason), "")
    if cannot and _will_be_legacy(host, request, environment, sock):
        return Outcome(judge("", known._replace(cannot=cannot)))
    before = _store(host, sock)
    traces = _Traces(host, environment, builder.user)
    nodes = Nodes(host, sock, traces.buildx, environment.get("BUILDX_BUILDER", ""))
    caches = [] if _is_legacy(request, environment) else _caches(host, sock, nodes, environment, builder.user)
    others = running_steps(host) if sock else {}
    started, log, code = host.now(), "", 0
    sources = [request.context] if request.context else []
    try:
        for step in _steps(request):
            left = request.timeout - (host.now() - started)
            with host.folder(step.files, builder.user) as folder:
                sources.append(folder)
                argv = (
                    step.argv(name, folder, request.builder if request.named else "")
                    if not request.compose_file or step.files
                    else _compose(host, request, name, environment)
                )
                done = host.run_group(argv, environment, step.folder or folder, max(left, 1), builder.user)
            log, code = log + done.out + done.err + "\n", done.code
            if code:
                break
        seconds = host.now() - started
        known = known._replace(code=code, timed_out=code == 124 and seconds >= request.timeout - 1)
        if code:
            known = _with_facts(host, sock, known, reference(log, known) or request.image, log)
            if request.compose_file and not step.files and builder_used(log) == "legacy":
                known = known._replace(upper_case_proxies=_gives_upper_case_proxies(host, environment))
        if builder_used(log) == "legacy":  # by default; a build with a heredoc even succeeds, but does something else
            known = known._replace(cannot=cannot)
        verdict = judge(log, known)
        stored = familiar(_tagged(verdict.reference or request.image)) in before.tags
        proof = proved(log, request.pull, stored) if verdict.cause == "ok" else None
        if proof:
            verdict = verdict._replace(sentence=passed(proof))
        if proof and request.network_step:
            proof["step"] = "fresh"
            verdict = verdict._replace(sentence=f"{verdict.sentence} A RUN step reached {host_of(request.network_step)}.")
        asked = _ask_mirrors(host, known.mirrors, verdict)
        if any(mirror.content for mirror in asked):
            verdict = judge(log, with_content(known, asked))
        outcome = Outcome(blame(verdict, asked), round(seconds, 1), proof, _left(sock), asked)
    finally:
        # A builder lists its records only while it runs, and its image can be removed only after it.
        _clean_caches(host, [each for each in caches if isinstance(each.cache, BuilderCache)], log, len(sources), stopped=code == 124)
        nodes.restore()
        _clean(host, sock, before, log, name)
        _clean_caches(host, [each for each in caches if isinstance(each.cache, EngineCache)], log, len(sources), stopped=code == 124)
        traces.clean(sources)
    if code != 124 or not sock:
        return outcome
    kept = [record for cache, ids in caches for record in _ours(cache.records() or [], ids, log, len(sources))]
    return outcome._replace(left=leftovers.sentences(running_steps(host), others, log, [record for record in kept if record.get("InUse")]))


class _Step(t.NamedTuple):
    """One docker build: of a probe with these files, or of the user's own context."""

    files: t.Mapping[str, str]
    options: t.Tuple[str, ...] = ()
    folder: str = ""

    def argv(self, name: str, folder: str, builder: str = "") -> t.List[str]:
        program = ["docker", "buildx", "build", "--builder", builder] if builder else ["docker", "build"]
        return [*program, "--tag", name, *self.options, self.folder or folder]


def _steps(request: BuildRequest) -> t.List[_Step]:
    options = (("--pull",) if request.pull else ()) + (("--force-rm",) if request.builder == "legacy" else ())
    # COPY, because it needs the layers of the base image and nothing in them; the unique text prevents a cache hit.
    probe = f"FROM {request.image}\nCOPY Dockerfile /{_NAME}\n"
    fetch = f"RUN if command -v wget >/dev/null; then wget -O /dev/null '{request.network_step}'; else curl -fsSL -o /dev/null '{request.network_step}'; fi\n"
    if not request.context and not request.compose_file:
        return [_Step({"Dockerfile": probe + (fetch if request.network_step else "")}, (*options, "--no-cache"))]
    own = _Step({}, options + (("--file", request.file) if request.file else ()), request.context or os.path.dirname(os.path.abspath(request.compose_file)))
    return [own] + ([_Step({"Dockerfile": probe + fetch}, (*options, "--no-cache"))] if request.network_step else [])


def _compose(host: BuildHost, request: BuildRequest, name: str, environment: t.Mapping[str, str]) -> t.List[str]:
    return [*_compose_program(host, environment), "--project-name", name, "--file", request.compose_file, "build", *(["--pull"] if request.pull else [])]


def _compose_program(host: BuildHost, environment: t.Mapping[str, str]) -> t.List[str]:
    plugin = host.run(["docker", "compose", "version"], env=environment).code == 0
    return ["docker", "compose"] if plugin else ["docker-compose"]


def _gives_upper_case_proxies(host: BuildHost, environment: t.Mapping[str, str]) -> bool:
    """Whether RUN steps of compose's legacy builder get the proxies of config.json as HTTP_PROXY and HTTPS_PROXY alone."""
    version = host.run([*_compose_program(host, environment), "version", "--short"], env=environment).out
    return versions.has("upper_case_step_proxies", version)


def _is_legacy(request: BuildRequest, environment: t.Mapping[str, str]) -> bool:
    return request.builder == "legacy" or (request.builder == "default" and parse_bool(environment.get("DOCKER_BUILDKIT", "")) is False)


def _will_be_legacy(host: BuildHost, request: BuildRequest, environment: t.Mapping[str, str], sock: str) -> bool:
    """Whether the legacy builder will be used, checked before the build: it silently ignores the body of a heredoc."""
    if request.builder != "default" or environment.get("DOCKER_BUILDKIT"):
        return _is_legacy(request, environment)
    if request.compose_file or not sock:
        return False  # Compose decides by itself; the log shows it
    header = host.ping(sock).get("Builder-Version")
    return default_builder("", components.cli(host)[0], components.has_buildx(host, environment), header == "2") == "legacy"


def _dockerfiles(host: BuildHost, request: BuildRequest) -> t.List[str]:
    paths = [os.path.join(request.context, request.file or "Dockerfile")] if request.context else []
    if request.compose_file:
        file = host.read(request.compose_file)
        folder = os.path.dirname(request.compose_file)
        paths = [os.path.join(folder, path) for path in compose_dockerfiles(file.contents.decode(errors="replace") if file else "")]
    files = [host.read(path) for path in paths]
    return [file.contents.decode(errors="replace") for file in files if file]


def compose_dockerfiles(text: str) -> t.List[str]:
    """The Dockerfiles of a compose file's services, read line by line: the host may have no YAML parser."""
    paths: t.List[str] = []
    depth, context, name = -1, "", ""
    for line in [*text.splitlines(), "end:"]:
        indent = len(line) - len(line.lstrip())
        key, _colon, value = line.strip().partition(":")
        value = value.strip().strip("\"'")
        if line.strip().startswith("#") or not line.strip():
            continue
        if depth >= 0 and indent <= depth:
            paths += [os.path.join(context or ".", name or "Dockerfile")]
            depth, context, name = -1, "", ""
        if key == "build" and indent:
            if value:
                paths += [os.path.join(value, "Dockerfile")]
            else:
                depth = indent
        elif depth >= 0 and key == "context":
            context = value
        elif depth >= 0 and key == "dockerfile":
            name = value
    return [path for path in paths if "$" not in path and "{" not in path]


def _tagged(image: str) -> str:
    return image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"


def _socket(environment: t.Mapping[str, str]) -> str:
    """The path of the engine's socket ('' if it is not on this host)."""
    address = environment.get("DOCKER_HOST", "")
    if environment.get("DOCKER_CONTEXT", "default") not in ("", "default") or (address and not address.startswith("unix://")):
        return ""
    return address[len("unix://") :] or "/run/docker.sock"


def _store(host: BuildHost, sock: str) -> _Store:
    images = (host.engine_api("/images/json?all=1", sock=sock, timeout=30) if sock else None) or []
    tags = {familiar(tag): image["Id"] for image in images for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"}
    return _Store(tags, frozenset(image["Id"] for image in images))


def _caches(host: BuildHost, sock: str, nodes: Nodes, environment: t.Mapping[str, str], user: str) -> t.List[_CacheBefore]:
    """The cache of the engine, and that of the builder which the environment names."""
    caches: t.List[Cache] = [EngineCache(host, sock)] if sock else []
    builder = environment.get("BUILDX_BUILDER", "")
    if builder not in ("", "default"):
        if nodes.stopped:  # it lists its records only while it runs, and the build starts it anyway
            host.run_group(["docker", "buildx", "inspect", "--bootstrap", builder], environment, "/", _START, user)
        caches.append(BuilderCache(host, builder, environment, user))
    return [
        _CacheBefore(cache, frozenset(record["ID"] for record in found)) for cache, found in ((each, each.records()) for each in caches) if found is not None
    ]


def _left(sock: str) -> t.Tuple[str, ...]:
    return () if sock else ("The engine is not on this host (DOCKER_HOST or DOCKER_CONTEXT), so the image and the cache of this build remain there.",)


def _with_facts(host: BuildHost, sock: str, known: Evidence, image: str, log: str) -> Evidence:
    info = (host.engine_api("/info", sock=sock) if sock else None) or {}
    if sock:
        known = known._replace(answers=bool(info), free=_free(host, str(info.get("DockerRootDir") or "")))
    proxy = info.get("HttpsProxy") or info.get("HTTPSProxy") or ""
    return known._replace(daemon_asked=bool(info), daemon_proxy=proxy, mirrors=tuple(_mirrors(host, info, image, log)) if info else ())


def _mirrors(host: BuildHost, info: t.Mapping[str, t.Any], image: str, log: str) -> t.Iterator[Mirror]:
    """The mirrors that were asked for an image, and their answers: those of its hosts.toml, or those of daemon.json."""
    registry, who = split_registry(image)[0], requested_by(log)
    if not who:
        return
    rootless = any("rootless" in str(option) for option in info.get("SecurityOptions") or [])  # it reads its user's folder
    try:
        file = None if rootless else hosts_file.file_for(host, registry)
    except HostError:  # only root may read a file with a login
        file = None
    if file and who not in hosts_file.readers(file, str(info.get("ServerVersion")), components.image_store(info)):
        file = None
    if file:
        yield from (hosts_file.ask(host.http_get, file, mirror, image) for mirror in file.asked(registry))
    if not file or not file.mirrors:
        for url in (info.get("RegistryConfig") or {}).get("Mirrors") or []:
            yield ask_for_image(host.http_get, url, image)


def _free(host: BuildHost, root: str) -> t.Optional[int]:
    """Free bytes where the engine keeps images: with the containerd image store that is containerd's own folder."""
    known = [free for free in map(host.free, (root, _CONTAINERD) if root else ()) if free is not None]
    return min(known) if known else None


def _ask_mirrors(host: BuildHost, mirrors: t.Sequence[Mirror], verdict: Verdict) -> t.Tuple[Candidate, ...]:
    """The daemon's message names at most one of its mirrors: check each for the failed image; those of daemon.json are of Docker Hub."""
    image = verdict.reference or ""
    if verdict.asked_by not in ("daemon", "client") or not image:
        return ()
    of_hub = split_registry(image)[0] == DOCKER_HUB
    urls = [mirror.url for mirror in mirrors if mirror.is_plain and "://" in mirror.url and (of_hub or mirror.named_by)]
    calls = {
        url: functools.partial(try_candidate, url, [image], 1, asker(host.http_request, _PATIENCE, host.now, {}, lambda _host, _port: True), host.now)
        for url in urls
    }
    answers = host.run_parallel(calls, _PATIENCE + 2) if calls else {}
    return tuple(answers.get(url) or too_late(url, _PATIENCE) for url in urls)


def _clean(host: BuildHost, sock: str, before: _Store, log: str, name: str) -> None:
    """Remove containers and images of this build, by name and id; what existed before, or what others create meanwhile, stays."""
    if not sock:
        return
    for container in re.findall(r"^ ---> Running in ([0-9a-f]{12})$", log, re.M):
        host.engine_api(f"/containers/{container}?force=1", "DELETE", sock=sock, timeout=60)  # of the legacy builder, if it was stopped
    for _attempt in range(10):
        if not _clean_images(host, sock, before, log, name):
            break
        host.sleep(0.5)  # the engine is still removing the container of a stopped step


def _clean_images(host: BuildHost, sock: str, before: _Store, log: str, name: str) -> bool:
    """Restore names and remove what is new; returns whether something of ours was still there."""
    after = _store(host, sock)
    named = re.findall(r"Downloaded newer image for (\S+)|naming to (\S+)|Successfully tagged (\S+)|^#\d+ pulling image (\S+)", log, re.M)
    tags = {familiar(_tagged(next(part for part in parts if part))) for parts in named} | {tag for tag in after.tags if tag.startswith(name)}
    made = re.findall(r"^ ---> ([0-9a-f]{12})$|^Successfully built ([0-9a-f]{12})|writing image (sha256:[0-9a-f]{64})", log, re.M)
    short = {next(part for part in parts if part) for parts in made}
    moved = [tag for tag in tags if tag in before.tags and after.tags.get(tag) not in (before.tags[tag], None)]
    new = [tag for tag in tags if tag in after.tags and tag not in before.tags]
    images = [image for image in after.images - before.images if image.partition(":")[2][:12] in short or image in short]
    for tag in moved:
        repository, _colon, label = tag.rpartition(":")
        host.engine_api(f"/images/{before.tags[tag]}/tag?repo={quote(repository, safe='')}&tag={quote(label, safe='')}", "POST", sock=sock)
    for target in [*new, *images]:  # the engine refuses while something else depends on it
        host.engine_api(f"/images/{quote(target, safe='')}", "DELETE", sock=sock, timeout=60)
    return bool(moved or new or images)


def _clean_caches(host: BuildHost, caches: t.Iterable[_CacheBefore], log: str, builds: int, stopped: bool) -> None:
    for cache, before in caches if builder_used(log) != "legacy" else ():
        _clean_cache(host, cache, before, log, builds, stopped)


def _clean_cache(host: BuildHost, cache: Cache, before: t.FrozenSet[str], log: str, builds: int, stopped: bool) -> None:
    """Remove our records, newest first: the engine refuses to remove one that others depend on, so it stays.

    A stopped build may still create and release records after its client ended, on a busy host for seconds.
    """
    quiet = 0
    for _attempt in range(60 if stopped else 10):
        ours = _ours(cache.records() or [], before, log, builds)
        quiet = 0 if ours else quiet + 1
        if quiet == (10 if stopped else 1):
            return
        for record in sorted(ours, key=lambda found: str(found.get("CreatedAt")), reverse=True):
            if not record.get("InUse"):
                cache.remove(record["ID"])
        host.sleep(0.2)


def _ours(records: t.Sequence[t.Dict[str, t.Any]], before: t.FrozenSet[str], log: str, builds: int) -> t.List[t.Dict[str, t.Any]]:
    """Records that our log names, and unnamed ones that depend on them.

    Build contexts have no name, nor do copied files and local images on 20.10.
    If there are more new ones than we created, others created some of them too, and all stay.
    """
    new = [record for record in records if record["ID"] not in before]
    named = [record["ID"] for record in records if _spoken_of(str(record.get("Description") or ""), log)]
    contexts = [record["ID"] for record in new if record.get("Type") == "source.local"]
    reached = {*named, *(record["ID"] for record in records if record.get("Description") == "from local ")}
    nameless = [record["ID"] for record in new if record["ID"] in reached and record["ID"] not in named]
    for record in sorted(new, key=lambda found: str(found.get("CreatedAt"))):
        if _NAMELESS.match(str(record.get("Description") or "")) and reached & {record.get("Parent"), *(record.get("Parents") or [])}:
            reached.add(record["ID"])
            nameless += [record["ID"]] if record["ID"] not in named else []
    steps = len(set(re.findall(r"^#\d+ \[[^\]]*\d/\d+\] \S+", log, re.M)))
    ids = {*named, *(contexts if len(contexts) <= 3 * builds else []), *(nameless if len(nameless) <= steps else [])}
    return [record for record in new if record["ID"] in ids]


_NAMELESS = re.compile(r"fileop target$|mount / from exec ")


def _spoken_of(description: str, log: str) -> bool:
    source = re.match(r"(?:pulled from|from local) (\S+)", description)
    if source:
        return source.group(1) in log or (source.group(1).partition("@")[2] or "?") in log
    command = re.match(r"(?:cached )?mount \S+ from exec (?:/bin/sh -c )?(.+?)(?: with id \".*\")?$", description, re.S)
    words = " ".join((command.group(1) if command else description).split())
    return bool(words) and words != "fileop target" and re.search(rf"^#\d+ (?=\[).*{re.escape(words)}", log, re.M) is not None


class _Traces:
    """What docker and buildx write to the user's configuration."""

    _OF_DOCKER = ("buildx", ".buildNodeID", ".token_seed", ".token_seed.lock")

    def __init__(self, host: BuildHost, environment: t.Mapping[str, str], user: str) -> None:
        self._host = host
        self._config = environment.get("DOCKER_CONFIG") or os.path.join(environment.get("HOME") or host.home(user or host.user()), ".docker")
        self._had = host.exists(self._config)
        self._before = set(host.names(self._config))
        self.buildx = environment.get("BUILDX_CONFIG") or os.path.join(self._config, "buildx")
        builder = environment.get("BUILDX_BUILDER") or "default"
        of_build = (".buildNodeID", ".lock", f"activity/{builder}", f"refs/{builder}/{builder}", f"refs/{builder}/{builder}0", f"refs/{builder}", "refs")
        inside = [os.path.join(self.buildx, name) for name in of_build] if host.exists(self.buildx) else []
        self._missing = [path for path in inside if not host.exists(path)]
        self._refs_before = set(self._refs())

    def _refs(self) -> t.Iterator[str]:
        """The records of builds, by builder and node."""
        top = os.path.join(self.buildx, "refs")
        for builder in self._host.names(top):
            for node in self._host.names(os.path.join(top, builder)):
                folder = os.path.join(top, builder, node)
                yield from (os.path.join(folder, name) for name in self._host.names(folder))

    def clean(self, sources: t.Sequence[str]) -> None:
        for path in set(self._refs()) - self._refs_before:
            file = self._host.read(path)
            if file and any(source.encode() in file.contents for source in sources):
                self._host.remove(path)
        for path in filter(self._host.exists, self._missing):
            if path.startswith(os.path.join(self.buildx, "refs")):
                self._host.remove_folder(path)  # which stays if it contains another build's record
            else:
                self._host.remove(path)
        for name in set(self._host.names(self._config)) - self._before:
            if name in self._OF_DOCKER:
                path = os.path.join(self._config, name)
                self._host.remove_tree(path) if name == "buildx" else self._host.remove(path)
        if not self._had:
            self._host.remove_folder(self._config)
