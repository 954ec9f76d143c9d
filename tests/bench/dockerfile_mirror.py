# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast dockerfile_mirror is, as medians of interleaved rounds and ratios within one run.

    python tests/bench/dockerfile_mirror.py [--rounds 5] [--write docs/evidence/measured.md]

It fails where a target is missed. Figures of a machine with much else to do are no figures: see the load that it prints.
The trees are in memory, where the machine has a file system there, and once more on disk. There the measure is what is physical: a bare loop that
writes the same files beside the old ones, renames them and syncs once.

The corpus that BUILDFLEET_CORPUS names is used; without it the ordinary and golden files, a hundred times each (the figures then say little).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/oracles"))

import judges  # noqa: E402

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.instructions import Rejected, read  # noqa: E402
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import references, rewrite  # noqa: E402
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import InvalidImageName  # noqa: E402
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors  # noqa: E402

PEER = "dockerfile-parse `.structure`"
PEER_REWRITING = "dockerfile-parse, images in FROM rewritten"
MEMORY_FOLDER = "/dev/shm"
FORWARD = Mirrors({"docker.io": "mirror.example.com/hub"})
LOOPED = 50
LOOP = f"a loop of `ansible.builtin.replace` over {LOOPED} files"
BARE = "a bare loop that writes the same files, on disk"


def files() -> t.List[bytes]:
    ordinary = [data for _rest, data in judges.ordinary("dockerfiles")]
    return ordinary if judges.CORPUS else (ordinary + [data for _rest, data in judges.golden()]) * 100


def ours_reading(contents: t.List[bytes]) -> None:
    """Every image that BuildKit would pull, variables evaluated."""
    for data in contents:
        with contextlib.suppress(Rejected):
            references(data)


def ours_structure(contents: t.List[bytes]) -> None:
    """Only the instructions, as in dockerfile-parse's structure."""
    for data in contents:
        with contextlib.suppress(Rejected):
            read(data)


def ours_rewriting(contents: t.List[bytes]) -> None:
    for data in contents:
        rewrite(data, FORWARD)


def dockerfile_parse(contents: t.List[bytes]) -> None:
    import io

    from dockerfile_parse import DockerfileParser

    for data in contents:
        try:
            parser = DockerfileParser(fileobj=io.BytesIO(data))
            parser.structure  # noqa: B018  a property that parses
        except UnicodeDecodeError:
            pass


def dockerfile_parse_rewriting(contents: t.List[bytes]) -> None:
    """What it can rewrite: the images in FROM."""
    import io

    from dockerfile_parse import DockerfileParser

    for data in contents:
        with contextlib.suppress(UnicodeDecodeError, RuntimeError, InvalidImageName):
            parser = DockerfileParser(fileobj=io.BytesIO(data))
            found = parser.parent_images
            moves = [FORWARD.move(image) for image in found]
            if any(moves):
                parser.parent_images = [move.after if move else image for move, image in zip(moves, found)]


def in_rounds(work: t.Mapping[str, t.Callable[[], None]], rounds: int) -> t.Dict[str, float]:
    """Median seconds of each; every round runs all of them, so that load on the machine affects all."""
    seconds: t.Dict[str, t.List[float]] = {name: [] for name in work}
    for _rest in range(rounds):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in seconds.items()}


PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  connection: local
  vars: {{ansible_python_interpreter: "{python}"}}
  tasks:
    - {task}
"""


def playbook(folder: Path, name: str, task: str) -> t.Callable[[], None]:
    path = folder / f"{name}.yml"
    path.write_text(PLAYBOOK.format(python=sys.executable, task=task))
    ansible = str(Path(sys.executable).with_name("ansible-playbook"))
    environment = dict(os.environ, ANSIBLE_LOCALHOST_WARNING="false")

    def run() -> None:
        subprocess.run([ansible, "-i", "localhost,", str(path)], check=True, stdout=subprocess.DEVNULL, env=environment)

    return run


def tree(folder: Path, contents: t.List[bytes]) -> None:
    for number, data in enumerate(contents):
        path = folder / f"{number // 100}" / f"{number % 100}" / "Dockerfile"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def bare_loop(folder: Path, contents: t.List[bytes]) -> t.Callable[[], None]:
    """Writes beside the old file, renames, syncs once; what it writes is by turns the rewritten and the first contents."""
    tree(folder, contents)
    both = {path: (path.read_bytes(), rewrite(path.read_bytes(), FORWARD).after) for path in sorted(folder.glob("*/*/Dockerfile"))}
    changing = {str(path): versions for path, versions in both.items() if versions[0] != versions[1]}
    turns = itertools.cycle([1, 0])

    def run() -> None:
        turn = next(turns)
        for path, versions in changing.items():
            handle = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(handle, versions[turn])
            os.close(handle)
            os.rename(f"{path}.new", path)
        os.sync()

    return run


def tasks(contents: t.List[bytes], rounds: int, place: t.Optional[str]) -> t.Dict[str, float]:
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        source = folder / "tree"
        module = f"buildfleet.docker.dockerfile_mirror: {{{{paths: [{source}], mirrors: {{{{docker.io: mirror.example.com/hub}}}}}}}}"
        back = module.replace("docker.io: mirror.example.com/hub", "mirror.example.com/hub: docker.io")
        tree(source, contents)
        sample = sorted(source.glob("*/*/Dockerfile"))[:LOOPED]
        loop = "\n      ".join(
            ["ansible.builtin.replace: {path: '{{ item }}', regexp: '^(FROM +)(?!x/)', replace: '\\1x/'}", f"loop: {[str(path) for path in sample]}"]
        )
        work = {
            "ping": playbook(folder, "ping", "ansible.builtin.ping: {}"),
            "rewriting all": playbook(folder, "rewrite", module.replace("{{", "{").replace("}}", "}")),
            "nothing to do": playbook(folder, "again", module.replace("{{", "{").replace("}}", "}")),
            "undo": playbook(folder, "undo", back.replace("{{", "{").replace("}}", "}")),
        }
        if not place:
            work = {**{f"{name}, on disk": run for name, run in work.items() if name != "ping"}, BARE: bare_loop(folder / "bare", contents)}
            return in_rounds(work, rounds)
        found = in_rounds(work, rounds)
        found[LOOP] = in_rounds({"loop": playbook(folder, "loop", loop)}, 1)["loop"]
        return found


MEMORY = """
import json, re, resource, sys
sys.argv = ["dockerfile_mirror", json.dumps({"ANSIBLE_MODULE_ARGS": {"paths": [sys.argv[1]], "mirrors": {"docker.io": "mirror.example.com/hub"}}})]
from ansible.module_utils import basic
basic._ANSIBLE_PROFILE = "legacy"
from ansible_collections.buildfleet.docker.plugins.modules import dockerfile_mirror
try:
    dockerfile_mirror.main()
finally:
    own = int(re.search(r"VmHWM:\\s*([0-9]+)", open("/proc/self/status").read()).group(1))
    print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024, file=sys.stderr)
"""


def memory(contents: t.List[bytes]) -> t.Dict[int, int]:
    """The most that one process of the module used, in MiB, by the number of files."""
    used = {}
    for many in (1, 4):
        with tempfile.TemporaryDirectory() as name:
            for copy in range(many):
                tree(Path(name) / str(copy), contents)
            done = subprocess.run([sys.executable, "-c", MEMORY, name], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
            used[many * len(contents)] = int(done.stderr.split()[-1])
    return used


def commit() -> str:
    return subprocess.run(["git", "-C", str(TOP), "log", "-1", "--format=%h"], capture_output=True, text=True, check=False).stdout.strip() or "no commit"


def report(contents: t.List[bytes], core: t.Mapping[str, float], found: t.Mapping[str, float], used: t.Mapping[int, int], ratio: float, on_disk: float) -> str:
    peer, ping = core[PEER], found["ping"]
    lines = [
        f"Commit {commit()}, {time.strftime('%Y-%m-%d')}, Python {sys.version.split()[0]}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.0f}, "
        f"{len(contents)} files, medians of interleaved rounds.",
        "",
        "| one process | files/s | times dockerfile-parse |",
        "|---|---|---|",
        *(f"| {name} | {len(contents) / seconds:.0f} | {peer / seconds:.2f} |" for name, seconds in core.items()),
        "",
        "| one playbook with one task | seconds | times ping |",
        "|---|---|---|",
        *(f"| {name} | {seconds:.2f} | {seconds / ping:.2f} |" for name, seconds in found.items()),
        "",
        f"The loop of `ansible.builtin.replace`, extrapolated to all files, takes {ratio:.0f} times what this module takes beyond a ping.",
        f"On disk, rewriting all takes {on_disk:.2f} times the bare loop beyond a run with nothing to do.",
        "Memory of the largest process: " + ", ".join(f"{mib} MiB for {count} files" for count, mib in used.items()) + ".",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--write", type=Path, help="replace the figures in this page")
    given = options.parse_args()
    contents = files()
    core = in_rounds(
        {
            PEER: lambda: dockerfile_parse(contents),
            PEER_REWRITING: lambda: dockerfile_parse_rewriting(contents),
            "ours, the instructions": lambda: ours_structure(contents),
            "ours, every reference evaluated": lambda: ours_reading(contents),
            "ours, rewritten": lambda: ours_rewriting(contents),
        },
        given.rounds,
    )
    found = tasks(contents, given.rounds, MEMORY_FOLDER if os.path.isdir(MEMORY_FOLDER) else tempfile.gettempdir())
    found.update(tasks(contents, given.rounds, None))
    used = memory(contents)
    ping = found["ping"]
    ratio = (found[LOOP] - ping) / LOOPED / (max(found["rewriting all"] - ping, 0.001) / len(contents))
    on_disk = (found["rewriting all, on disk"] - found["nothing to do, on disk"]) / found[BARE]
    text = report(contents, core, found, used, ratio, on_disk)
    print(text)
    if given.write:
        page = given.write.read_text()
        given.write.write_text(re.sub(r"(?s)(<!-- bench -->\n).*?(<!-- end of bench -->)", lambda match: match.group(1) + text + match.group(2), page))
    targets = {
        "reading twice as fast as dockerfile-parse": core[PEER] / core["ours, the instructions"] >= 2,
        "rewriting twice as fast as dockerfile-parse": core[PEER_REWRITING] / core["ours, rewritten"] >= 2,
        **{f"{name} at most 2 pings": found[name] <= 2 * ping for name in ("rewriting all", "nothing to do", "nothing to do, on disk")},
        "on disk, rewriting all beyond nothing to do at most 1.2 bare loops": on_disk <= 1.2,
        "a loop is 1,000 times slower": ratio >= 1000,
        "memory is flat": max(used.values()) <= 1.25 * min(used.values()),
    }
    missed = [sentence for sentence, met in targets.items() if not met]
    for sentence in missed:
        print(f"missed: {sentence}")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
