# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of the role registry_cache with the real registry program, on the loopback, against an upstream of this file.

    python tests/oracles/registry_cache.py [--front=NGINX] PROGRAM [PART...]

PROGRAM is docker-registry (package docker-registry of Debian), NGINX the program to have in front of it (package nginx). Each part prints one
line with what it counted, and fails if a body is cut off, a digest is wrong, or the disk exceeds the limit by more than one image. The
configuration is the role's own templates.
"""

from __future__ import annotations

import base64
import collections
import datetime
import hashlib
import http.client
import http.server
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from pathlib import Path

import jinja2

ROLE = Path(__file__).resolve().parents[2] / "roles/registry_cache"
sys.path.insert(0, str(ROLE / "files"))

import health  # noqa: E402

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LAYER_BYTES = 100_000
FRONT = ""
HTPASSWD = "fleet:$2y$05$abcdefghijklmnopqrstuuMuu2DSD5cFCZ/w.sVHydhfYTsc.qiem\n"  # fleet-pass


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Images:
    """Image N of an upstream: a configuration, a layer of its own and two of 40 layers that many images share."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.layers: t.Dict[str, bytes] = {}
        self.contents: t.Dict[str, t.Callable[[], bytes]] = {}
        self.manifests: t.Dict[str, bytes] = {}
        self.lock = threading.Lock()

    def layer(self, key: str) -> bytes:
        return self.layers.setdefault(key, random.Random(f"{self.seed} {key}").randbytes(LAYER_BYTES))

    def manifest(self, name: str) -> bytes:
        with self.lock:
            if name not in self.manifests:
                chosen = random.Random(name)
                keys = [f"{name} own", *(f"shared {number}" for number in chosen.sample(range(40), 2))]
                config = json.dumps({"name": name, "seed": self.seed}).encode()
                self.contents[digest_of(config)] = lambda: config
                layers = []
                for key in keys:
                    content = self.layer(key)
                    layers.append({"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(content), "digest": digest_of(content)})
                    self.contents[digest_of(content)] = lambda key=key: self.layer(key)
                self.manifests[name] = json.dumps(
                    {
                        "schemaVersion": 2,
                        "mediaType": MANIFEST,
                        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": digest_of(config)},
                        "layers": layers,
                    }
                ).encode()
            return self.manifests[name]


class Upstream(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, seed: str, port: int = 0) -> None:
        self.images = Images(seed)
        self.requests: t.Counter[str] = collections.Counter()
        self.bytes_per_second = 0
        self.account = ""  # USER:PASSWORD, without which there is no token
        self.seen: t.List[str] = []  # requests with their authorization
        super().__init__(("127.0.0.1", port), Answer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """A registry that was killed closes its connections."""


class Answer(http.server.BaseHTTPRequestHandler):
    server: Upstream
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: t.Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        images = self.server.images
        if self.server.account and not self._authorized():
            return
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/(.+)", self.path)
        body, kind = b"{}", "application/json"
        if found and found.group(2) == "manifests":
            body, kind = images.manifest(found.group(1)), MANIFEST
            if found.group(3).startswith("sha256:") and digest_of(body) != found.group(3):
                self.send_error(404)
                return
        elif found:
            images.manifest(found.group(1))
            body, kind = images.contents[found.group(3)](), "application/octet-stream"
        if found:
            self.server.requests[f"{self.command} {found.group(2)}"] += 1
        self.send_response(200)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), "Docker-Content-Digest": digest_of(body)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self._send(body)

    def _authorized(self) -> bool:
        """A token server for the account, and a registry that wants its token."""
        given = self.headers.get("Authorization", "")
        self.server.seen.append(f"{self.path.partition('?')[0]} {given}")
        basic = "Basic " + base64.b64encode(self.server.account.encode()).decode()
        token = self.path.startswith("/token")
        if not token and given == "Bearer the-token":
            return True
        body = b'{"token": "the-token"}' if token and given == basic else b"{}"
        self.send_response(200 if token and given == basic else 401)
        if not token:
            self.send_header("WWW-Authenticate", f'Bearer realm="{self.server.url}/token",service="hub"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return False

    def _send(self, body: bytes) -> None:
        step = self.server.bytes_per_second // 10 or len(body)
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            if step < len(body):
                time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class Cache:
    """The program of the role, with its templates, in a folder of its own."""

    def __init__(
        self,
        program: str,
        upstream: str,
        *options: str,
        login: bool = False,
        environment: t.Optional[t.Mapping[str, str]] = None,
        front: t.Optional[str] = None,
        tls: bool = False,
    ) -> None:
        self.environment = {**os.environ, **(environment or {})}
        self.folder = Path(tempfile.mkdtemp(prefix="registry_cache."))
        self.storage = self.folder / "storage"
        self.storage.mkdir()
        self.port = free_port()
        self.log = self.folder / "log"
        front = FRONT if front is None else front
        self.options = [*options, "--program", program, *([f"--front={front}", f"--sockets={self.folder}"] if front else [])]
        template = jinja2.Environment(loader=jinja2.FileSystemLoader(ROLE / "templates"), undefined=jinja2.StrictUndefined, trim_blocks=True)
        template.filters["to_json"] = json.dumps
        for kind in ("online", "offline", "probe"):
            cache = {"kind": kind, "storage": str(self.storage), "url": upstream, "port": self.port, "run": str(self.folder), "tls": tls, "login": login}
            cache.update(front=bool(front), ipv6=True)
            (self.folder / f"{kind}.yml").write_text(template.get_template("registry-cache.yml.j2").render(__registry_cache_instance=cache))
        user = "user root;\n" if os.getuid() == 0 else ""  # in the service nginx has the user of the registry
        (self.folder / "front.conf").write_text(user + template.get_template("registry-cache-front.conf.j2").render(__registry_cache_instance=cache))
        if tls:
            certificate(self.folder)
        self.process: t.Optional[subprocess.Popen[bytes]] = None

    def start(self, answers: bool = True) -> None:
        command = [sys.executable, str(ROLE / "files/serve.py"), str(self.folder), str(self.storage), *self.options]
        self.process = subprocess.Popen(command, stdout=self.log.open("ab"), stderr=subprocess.STDOUT, start_new_session=True, env=self.environment)
        while answers and not reachable(self.port):
            time.sleep(0.05)

    def stop(self) -> None:
        assert self.process
        self.process.terminate()
        self.process.wait()

    def kill(self) -> None:
        """As when the power is lost, except that the kernel writes what it has."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        while reachable(self.port):
            time.sleep(0.01)

    def messages(self) -> t.List[str]:
        return [line for line in self.log.read_text(errors="replace").splitlines() if line.startswith("buildfleet: ")]

    def bytes(self) -> int:
        total = 0
        for folder, _folders, files in os.walk(self.storage):
            for file in files:
                if file == "data" or folder.startswith(f"{self.storage}/front"):
                    try:
                        total += os.stat(f"{folder}/{file}").st_size
                    except OSError:
                        continue
        return total

    def memory(self) -> float:
        """MB of memory that its processes had at most, each at its own time."""
        assert self.process
        running = [int(found) for found in os.listdir("/proc") if found.isdigit()]
        return sum(_most_memory(number) for number in running if _session(number) == self.process.pid)


def certificate(folder: Path) -> None:
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{folder}/tls.key", "-out", f"{folder}/tls.crt"]
    subprocess.run([*new, *names], check=True, capture_output=True)


def _session(number: int) -> int:
    try:
        return os.getsid(number)
    except OSError:
        return 0


def _most_memory(number: int) -> float:
    try:
        (found,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{number}/status").read_text())
    except (OSError, ValueError):
        return 0.0
    return int(found) / 1000


def reachable(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Counts:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counted: t.Counter[str] = collections.Counter()
        self.examples: t.List[str] = []

    def add(self, what: str, example: str = "") -> None:
        with self.lock:
            self.counted[what] += 1
            if example:
                self.examples.append(f"{what}: {example}")

    def __str__(self) -> str:
        names = ("pulls", "bodies", "cut off", "wrong digest", "status", "not connected")
        return ", ".join(f"{self.counted[name]} {name}" for name in names)


def get(port: int, path: str, counts: Counts) -> t.Optional[bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers={"Accept": MANIFEST})
        answer = connection.getresponse()
    except OSError:
        counts.add("not connected")  # only while a test restarts the cache
        return None
    except http.client.HTTPException as error:
        counts.add("cut off", f"{path}: {error!r}")
        return None
    try:
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        counts.add("cut off", f"{path}: {error!r}")
        return None
    finally:
        connection.close()
    if answer.status != 200:
        counts.add("status", f"{path}: {answer.status} {body[:200]!r}")
        return None
    counts.add("bodies")
    return body


def pull(port: int, name: str, images: Images, counts: Counts, tag: str = "latest") -> bool:
    manifest = get(port, f"/v2/{name}/manifests/{tag}", counts)
    if manifest is None:
        return False
    if manifest != images.manifest(name):
        counts.add("wrong digest", f"manifest of {name}")
        return False
    counts.add("manifests")
    parsed = json.loads(manifest)
    for blob in [parsed["config"], *parsed["layers"]]:
        body = get(port, f"/v2/{name}/blobs/{blob['digest']}", counts)
        if body is None:
            return False
        if digest_of(body) != blob["digest"]:
            counts.add("wrong digest", f"{name} {blob['digest']}")
            return False
    counts.add("pulls")
    return True


def unstored(cache: Cache, name: str, images: Images) -> t.List[str]:
    """The blobs of an image that the registry has not stored for its repository."""
    parsed = json.loads(images.manifest(name))
    digests = [blob["digest"].partition(":")[2] for blob in (parsed["config"], *parsed["layers"])]
    layers = cache.storage / "docker/registry/v2/repositories" / name / "_layers/sha256"
    return [digest for digest in digests if not (layers / digest / "link").exists() or not (layers / digest / "link").read_bytes()]


def pull_and_store(cache: Cache, names: t.List[str], images: Images, counts: Counts) -> int:
    """Pull each image and wait until all of it is stored, which can be after its client has it (docs/which-cure.md)."""
    pulled = 0
    for name in names:
        pulled += pull(cache.port, name, images, counts)
        counts.add("stored later" if unstored(cache, name, images) else "stored at once")
        deadline = time.monotonic() + 10
        while left := unstored(cache, name, images):
            if time.monotonic() > deadline:
                raise SystemExit(f"FAILED: 10 seconds after its pull {name} is not stored: {left}")
            time.sleep(0.02)
    return pulled


class Load:
    """Pulls of random images, a few of them often, in several threads."""

    def __init__(self, port: int, images: Images, counts: Counts, names: int, threads: int = 6, skew: float = 1.2) -> None:
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(port, images, counts, names, number, skew), daemon=True) for number in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, port: int, images: Images, counts: Counts, names: int, number: int, skew: float) -> None:
        chosen = random.Random(number)
        while not self.ended.is_set():
            if not pull(port, f"team/app{int(names * chosen.random() ** skew)}", images, counts):
                time.sleep(0.05)

    def end(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()


def faultless(counts: Counts, *kinds: str) -> None:
    for kind in ("cut off", "wrong digest", *kinds):
        if counts.counted[kind]:
            raise SystemExit(f"FAILED: {counts}\n" + "\n".join(counts.examples[:10]))


def evictions(program: str, wanted: int = 1000) -> str:
    upstream, counts = Upstream("hub"), Counts()
    limit = 30 << 20
    cache = Cache(program, upstream.url, "--max-size", str(limit))
    cache.start()
    load = Load(cache.port, upstream.images, counts, 700)
    highest = evicted = 0
    while evicted < wanted:
        highest = max(highest, cache.bytes())
        evicted = sum(int(found) for found in re.findall(r"images, (\d+) blobs", "\n".join(cache.messages())))
        time.sleep(0.2)
    load.end()
    cache.stop()
    if highest > limit + 3 * LAYER_BYTES:
        raise SystemExit(f"FAILED: {highest} bytes stored, limit {limit}")
    faultless(counts, "status")
    return f"{evicted} blobs evicted; {counts}; most stored {highest / 1e6:.1f} MB, limit {limit / 1e6:.1f} MB"


def expiries(program: str, wanted: int = 1000) -> str:
    """The registry's own expiry, a week after the download: here the time is set in the file in which the registry keeps it."""
    upstream, counts = Upstream("hub"), Counts()
    cache = Cache(program, upstream.url)
    cache.start()
    for number in range(100):
        pull(cache.port, f"team/app{number}", upstream.images, counts)
    load = Load(cache.port, upstream.images, counts, 100, threads=4)
    expired = 0
    while expired < wanted:
        time.sleep(6)  # the registry writes the file every five seconds
        cache.stop()
        file = cache.storage / "scheduler-state.json"
        entries = json.loads(file.read_text())
        moment = datetime.datetime.now(datetime.UTC)
        for number, entry in enumerate(entries.values()):
            entry["ExpiryData" if "ExpiryData" in entry else "Expiry"] = (moment + datetime.timedelta(seconds=2 + number / 100)).isoformat()
        file.write_text(json.dumps(entries))
        cache.start()
        time.sleep(3 + len(entries) / 100)
        expired += len(entries)
    load.end()
    cache.stop()
    refused = cache.log.read_text(errors="replace").count("unsupported")
    if refused:
        raise SystemExit(f"FAILED: the registry refused {refused} expiries")
    faultless(counts)
    return f"{expired} expiries; {counts}"


def outage(program: str) -> str:
    """The upstream ends while the cache runs; the cache starts again without it; the upstream is back."""
    upstream, counts = Upstream("hub"), Counts()
    cache = Cache(program, upstream.url, "--interval", "1")
    cache.start()
    names = [f"team/app{number}" for number in range(50)]
    before = pull_and_store(cache, names, upstream.images, counts)
    upstream.shutdown()
    upstream.server_close()
    running = sum(pull(cache.port, name, upstream.images, counts) for name in names)
    cache.stop()
    started = time.monotonic()
    cache.start()
    seconds = time.monotonic() - started
    restarted = sum(pull(cache.port, name, upstream.images, counts) for name in names)
    missing = pull(cache.port, "team/never", upstream.images, Counts())
    pushed = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", f"http://127.0.0.1:{cache.port}/v2/a/blobs/uploads/"],
        capture_output=True,
        check=False,
    )
    again = Upstream("hub", int(upstream.url.rpartition(":")[2]))
    started = time.monotonic()
    while not pull(cache.port, "team/never", again.images, Counts()):
        time.sleep(0.1)
    back = time.monotonic() - started
    messages = cache.messages()
    cache.stop()
    faultless(counts)
    if (before, running, restarted, missing) != (50, 50, 50, False) or pushed.stdout != b"405" or not any("OFFLINE" in message for message in messages):
        raise SystemExit(f"FAILED: {before} {running} {restarted} {missing} {pushed.stdout!r} {counts.examples[:5]} {messages}")
    late = counts.counted["stored later"]
    return (
        f"{running} of 50 images while it is down, {restarted} of 50 after a restart ({seconds:.1f} s), online again after {back:.1f} s; "
        f"{late} of them not completely stored yet when their client had them; {messages[-2:]}"
    )


def kills(program: str, wanted: int = 40) -> str:
    """SIGKILL at any moment of downloads; then each image is pulled whole, also without the upstream."""
    upstream, counts = Upstream("hub"), Counts()
    upstream.bytes_per_second = 400_000
    cache = Cache(program, upstream.url, "--interval", "1")
    chosen = random.Random(1)
    for number in range(wanted):
        cache.start()
        load = Load(cache.port, upstream.images, Counts(), 20 + 5 * number, threads=6)
        time.sleep(0.2 + chosen.random())
        cache.kill()
        load.end()
    upstream.bytes_per_second = 0
    cache.start()
    names = [f"team/app{number}" for number in range(20 + 5 * wanted)]
    whole = pull_and_store(cache, names, upstream.images, counts)
    upstream.shutdown()
    upstream.server_close()
    cache.stop()
    cache.start()
    offline = sum(pull(cache.port, name, upstream.images, counts) for name in names)
    cache.stop()
    repaired = [message for message in cache.messages() if "not completely" in message]
    faultless(counts, "status")
    if not whole == offline == len(names):
        raise SystemExit(f"FAILED: {whole} online, {offline} offline of {len(names)}")
    return f"{wanted} kills, {len(repaired)} starts with repairs; {whole} images whole, {offline} without the upstream; {counts}"


def upstreams(program: str, wanted: int = 1000) -> str:
    """The same names at two registries, with other contents."""
    origins, counts = [Upstream("hub"), Upstream("quay")], Counts()
    caches = [Cache(program, origin.url) for origin in origins]
    for cache in caches:
        cache.start()
    chosen = random.Random(2)
    for _number in range(wanted):
        which = chosen.randrange(2)
        pull(caches[which].port, f"team/app{chosen.randrange(60)}", origins[which].images, counts)
    for cache in caches:
        cache.stop()
    faultless(counts, "status", "not connected")
    return f"{counts}, of 60 names at two registries; 0 of {counts.counted['pulls']} mixed up"


def herd(program: str, numbers: t.Tuple[int, ...] = (1, 14, 100)) -> str:
    """One image, pulled by many at once, and once more; with and without nginx in front."""
    return "".join(f"\n  {_herd(program, front, clients)}" for front in dict.fromkeys(["", FRONT]) for clients in numbers)


def _herd(program: str, front: str, clients: int) -> str:
    upstream, counts = Upstream("hub"), Counts()
    upstream.bytes_per_second = 200_000
    cache = Cache(program, upstream.url, front=front)
    cache.start()
    lines = []
    for kind in ("cold", "warm"):
        upstream.requests.clear()
        started = time.monotonic()
        threads = [threading.Thread(target=pull, args=(cache.port, "team/app1", upstream.images, counts)) for _client in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines.append(f"{kind} {time.monotonic() - started:.1f} s, upstream {dict(sorted(upstream.requests.items()))}")
        time.sleep(2)
    lines.append(f"{cache.memory():.0f} MB of memory, {cache.bytes() / 1e6:.1f} MB stored")
    cache.stop()
    faultless(counts, "status", "not connected")
    return f"{clients} pulls at once{' through nginx' if front else ''}: " + "; ".join(lines)


SLOW = '''#!{python}
"""A registry that writes the first 4096 bytes of each response, as Go does, and the rest a second later."""
import pathlib, socketserver, sys, time

file = pathlib.Path(sys.argv[2])
if file.stem == "probe":
    print("listening on", flush=True)
    time.sleep(3600)


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline().strip():
            while self.rfile.readline().strip():
                pass
            response = b"HTTP/1.1 200 OK\\r\\nContent-Length: {length}\\r\\n\\r\\n" + bytes({length})
            self.request.sendall(response[:4096])
            time.sleep(1)
            self.request.sendall(response[4096:])


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


Server(str(file.with_suffix(".sock")), Answer).serve_forever()
'''


def stops(program: str, wanted: int = 20) -> str:
    """The service is stopped between two writes of the registry."""
    if not FRONT:
        return "only with nginx"
    counts = Counts()
    for _number in range(wanted):
        _stop_between_writes(counts)
    faultless(counts, "status", "not connected")
    return f"{wanted} stops; {counts}"


def _stop_between_writes(counts: Counts) -> None:
    """Six layers whose files are gone: nginx passes them on, and has no other timer that would let it wait for them."""
    cache = Cache("", "http://127.0.0.1:1")
    program = cache.folder / "registry"
    program.write_text(SLOW.format(python=sys.executable, length=LAYER_BYTES))
    program.chmod(0o755)
    cache.options[cache.options.index("--program") + 1] = str(program)
    digests = [digest_of(str(number).encode()) for number in range(6)]
    for digest in digests:
        link = cache.storage / "docker/registry/v2/repositories/team/app/_layers/sha256" / digest.partition(":")[2] / "link"
        link.parent.mkdir(parents=True)
        link.write_text(digest)
    cache.start()
    threads = [threading.Thread(target=get, args=(cache.port, f"/v2/team/app/blobs/{digest}", counts)) for digest in digests]
    for thread in threads:
        thread.start()
    time.sleep(0.2)  # the first writes
    cache.stop()
    for thread in threads:
        thread.join()


SPEED_LAYERS, SPEED_BYTES = 3, 32 << 20


class Hub:
    """A registry with one image, with TLS, as the upstream of a cache whose speed is measured."""

    def __init__(self, program: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="registry_cache."))
        self.port = free_port()
        certificate(self.folder)
        self.layers = [self._store(random.Random(number).randbytes(SPEED_BYTES)) for number in range(SPEED_LAYERS)]
        http = {"addr": f"127.0.0.1:{self.port}", "tls": {"certificate": f"{self.folder}/tls.crt", "key": f"{self.folder}/tls.key"}}
        configuration = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": f"{self.folder}/storage"}}, "http": http}
        (self.folder / "hub.yml").write_text(json.dumps(configuration))
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen([program, "serve", self.folder / "hub.yml"], stdout=log, stderr=subprocess.STDOUT)
        while not reachable(self.port):
            time.sleep(0.05)

    def _store(self, content: bytes) -> str:
        digest = digest_of(content)
        number = digest.partition(":")[2]
        root = self.folder / "storage/docker/registry/v2"
        for file, what in (
            (root / f"blobs/sha256/{number[:2]}/{number}/data", content),
            (root / f"repositories/team/big/_layers/sha256/{number}/link", digest.encode()),
        ):
            file.parent.mkdir(parents=True)
            file.write_bytes(what)
        return digest

    def downloads(self) -> int:
        return len(re.findall(r'"GET /v2/team/big/blobs/sha256:\w+ HTTP', (self.folder / "log").read_text()))


class Loopback(http.server.BaseHTTPRequestHandler):
    """A layer without a registry and without TLS: what the loopback can do."""

    def log_message(self, format: str, *args: t.Any) -> None:
        pass

    def do_GET(self) -> None:
        with open(self.path, "rb") as file:
            self.send_response(200)
            self.send_header("Content-Length", str(SPEED_BYTES))
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(file)


def speed(program: str, numbers: t.Tuple[int, ...] = (1, 14)) -> str:
    """An image of three layers of 32 MiB, which each host pulls with three connections; each host is a process of curl."""
    hub = Hub(program)
    files = [f"{hub.folder}/storage/docker/registry/v2/blobs/sha256/{digest[7:9]}/{digest[7:]}/data" for digest in hub.layers]
    bare = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Loopback)
    threading.Thread(target=bare.serve_forever, daemon=True).start()
    rows = []
    for hosts in numbers:
        rows.append(f"{hosts} hosts at once: the loopback alone {_together(hosts, [f'http://127.0.0.1:{bare.server_address[1]}{file}' for file in files])}")
        rows.append(f"the Hub directly {_together(hosts, _layers(hub.port, hub))}")
        for front in dict.fromkeys(["", FRONT]):
            cache = Cache(program, f"https://127.0.0.1:{hub.port}", environment={"SSL_CERT_FILE": f"{hub.folder}/tls.crt"}, front=front, tls=True)
            cache.start()
            before = hub.downloads()
            cold = _together(hosts, _layers(cache.port, hub))
            time.sleep(5)
            downloads, highest = hub.downloads() - before, cache.bytes()
            warm = _together(hosts, _layers(cache.port, hub))
            memory = cache.memory()
            cache.stop()
            rows.append(
                f"a cache{' behind nginx' if front else ''}: cold {cold}, {downloads} downloads, warm {warm}; {memory:.0f} MB of memory, "
                f"{highest / 1e6:.0f} MB on the disk, {cache.bytes() / 1e6:.0f} MB later"
            )
    hub.process.terminate()
    bare.shutdown()
    return "".join(f"\n  {row}" for row in rows) + f"\n  load {os.getloadavg()[0]:.0f}"


def _layers(port: int, hub: Hub) -> t.List[str]:
    return [f"https://127.0.0.1:{port}/v2/team/big/blobs/{digest}" for digest in hub.layers]


def _together(hosts: int, urls: t.List[str]) -> str:
    command = ["curl", "-sk", "--parallel", "--write-out", "%{http_code} %{size_download}\\n", *(part for url in urls for part in ("-o", "/dev/null", url))]
    started = time.monotonic()
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _host in range(hosts)]
    results = {line for process in running for line in process.communicate()[0].splitlines()}
    seconds = time.monotonic() - started
    if results != {f"200 {SPEED_BYTES}"}:
        raise SystemExit(f"FAILED: {results}")
    return f"{seconds:.1f} s ({hosts * len(urls) * SPEED_BYTES / seconds / 1e6:.0f} MB/s)"


def counts(program: str, wanted: int = 300) -> str:
    """What health.py counts in the log, and what the upstream counts."""
    upstream, seen = Upstream("hub"), Counts()
    cache = Cache(program, upstream.url)
    cache.start()
    load = Load(cache.port, upstream.images, seen, 60, threads=4)
    while seen.counted["pulls"] < wanted:
        time.sleep(0.2)
    load.end()
    time.sleep(3)
    cache.stop()
    log = cache.log.read_text(errors="replace").splitlines()
    counted = health.count(log)
    missed = counted["layers"] - counted["from_storage"]
    downloads = upstream.requests["GET blobs"]
    manifests = {digest_of(manifest) for manifest in upstream.images.manifests.values()}
    second = "\n".join(line for line in log if not health.OF_ONE_DOWNLOAD.search(line))  # 2.8 downloads a layer once more for its storage
    stored = sum(digest not in manifests for digest in re.findall(r"entry for \S+@(\S+) with ttl", second))
    # A request that comes while the registry writes its line about the layer can be on either side of it.
    if counted["layers"] != seen.counted["bodies"] - seen.counted["manifests"] or abs(missed + stored - downloads) > downloads / 100:
        raise SystemExit(f"FAILED: {counted}, {missed} + {stored} != {downloads}; {seen}")
    return f"{counted['layers']} layers sent, {missed} of them not stored before, {stored} stored: {downloads} downloads at the upstream"


def account(program: str) -> str:
    """The account reaches the token server alone, and the cache asks its users for another login."""
    password = """p@ss: w/rd'"\\\\$x #1`"""
    upstream, counts = Upstream("hub"), Counts()
    upstream.account = f"builder:{password}"
    environment = {"REGISTRY_PROXY_USERNAME": json.dumps("builder"), "REGISTRY_PROXY_PASSWORD": json.dumps(password)}
    answers = {}
    for login in (False, True):
        cache = Cache(program, upstream.url, login=login, environment=environment)
        (cache.folder / "htpasswd").write_text(HTPASSWD)
        cache.start()
        url = f"http://127.0.0.1:{cache.port}/v2/team/app1/manifests/latest"
        for user in ("", "fleet:fleet-pass", "fleet:wrong", upstream.account):
            command = ["curl", "-s", "-H", f"Accept: {MANIFEST}", "-o", "/dev/null", "-w", "%{http_code}", *(["-u", user] if user else []), url]
            answers[login, user] = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        if not login:
            pull(cache.port, "team/app2", upstream.images, counts)
        cache.stop()
        for text in (password, json.dumps(password)[1:-1], base64.b64encode(upstream.account.encode()).decode()):
            if text in cache.log.read_text():
                raise SystemExit("FAILED: the password is in the log")
    statuses = list(answers.values())
    sent = {line for line in upstream.seen if " Basic " in line and not line.startswith("/token ")}
    if statuses != ["200"] * 4 + ["401", "200", "401", "401"] or sent or counts.counted["pulls"] != 1:
        raise SystemExit(f"FAILED: {answers}, {sent}, {counts.examples}")
    return f"without a login of its own {statuses[:4]}, with one {statuses[4:]} (none, right, wrong, the account's); sent to the token server alone"


PARTS: t.Dict[str, t.Callable[[str], str]] = {
    "evictions": evictions,
    "expiries": expiries,
    "outage": outage,
    "kills": kills,
    "stops": stops,
    "upstreams": upstreams,
    "herd": herd,
    "speed": speed,
    "counts": counts,
    "account": account,
}


def main(program: str, *parts: str) -> None:
    global FRONT
    if program.startswith("--front="):
        FRONT = program.partition("=")[2]
        program, parts = parts[0], parts[1:]
    for part in parts or PARTS:
        print(f"{part}: {PARTS[part](program)}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
