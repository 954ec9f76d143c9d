# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast dockerfile_mirror is, as medians of interleaved rounds and ratios within one run.

    python tests/bench/dockerfile_mirror.py [--rounds 5] [--assert]

The corpus beside the repository is used; without it the golden files, a hundred times each (the figures then say little).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
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

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile import rewrite  # noqa: E402
from ansible_collections.buildfleet.docker.plugins.module_utils._instructions import Rejected, read  # noqa: E402
from ansible_collections.buildfleet.docker.plugins.module_utils._mirror import Mirrors  # noqa: E402
from ansible_collections.buildfleet.docker.plugins.module_utils._references import scene  # noqa: E402

FORWARD = Mirrors({"docker.io": "mirror.example.com/hub"})
LOOPED = 50


def files() -> t.List[bytes]:
    if judges.SHARED.is_dir():
        return [data for _rest, data in judges.corpus("dockerfiles")]
    return [path.read_bytes() for path in sorted((TOP / "tests/golden/dockerfile_mirror").glob("*/before"))] * 100


def ours_reading(contents: t.List[bytes]) -> None:
    """All references with their places: what a rewrite needs to know."""
    for data in contents:
        with contextlib.suppress(Rejected):
            scene(data, {})


def ours_structure(contents: t.List[bytes]) -> None:
    """The instructions alone, as dockerfile-parse's structure has them."""
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


def in_rounds(work: t.Mapping[str, t.Callable[[], None]], rounds: int) -> t.Dict[str, float]:
    """Median seconds of each, all of them in each round so that a busy machine is busy for all."""
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


def tasks(contents: t.List[bytes], rounds: int) -> t.Dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
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
            "rewrite": playbook(folder, "rewrite", module.replace("{{", "{").replace("}}", "}")),
            "nothing to do": playbook(folder, "again", module.replace("{{", "{").replace("}}", "}")),
            "undo": playbook(folder, "undo", back.replace("{{", "{").replace("}}", "}")),
        }
        found = in_rounds(work, rounds)
        found[f"loop of {LOOPED}"] = in_rounds({"loop": playbook(folder, "loop", loop)}, 1)["loop"]
        return found


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--assert", dest="must", action="store_true", help="fail where a target is missed")
    given = options.parse_args()
    contents = files()
    core = in_rounds(
        {
            "dockerfile-parse .structure": lambda: dockerfile_parse(contents),
            "ours, instructions": lambda: ours_structure(contents),
            "ours, references": lambda: ours_reading(contents),
            "ours, rewritten": lambda: ours_rewriting(contents),
        },
        given.rounds,
    )
    peer = core["dockerfile-parse .structure"]
    for name, seconds in core.items():
        print(f"{name:28} {len(contents) / seconds:8.0f} files/s  {peer / seconds:5.2f} x dockerfile-parse")
    print(f"{'memory of this process':28} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024:8} MiB, the corpus included")
    found = tasks(contents, given.rounds)
    ping = found["ping"]
    for name, seconds in found.items():
        print(f"{name:28} {seconds:8.2f} s        {seconds / ping:5.2f} x ping")
    per_file = (found[f"loop of {LOOPED}"] - ping) / LOOPED
    ours = max(found["rewrite"] - ping, 0.001) / len(contents)
    print(f"a loop of replace: {per_file:.3f} s a file; ours: {ours * 1e6:.0f} us a file beyond ping; {per_file / ours:.0f} times")
    missed = [
        sentence
        for sentence, met in {
            "twice as fast as dockerfile-parse": peer / core["ours, instructions"] >= 2,
            "one task at most 2 pings": found["rewrite"] <= 2 * ping,
            "nothing to do at most 2 pings": found["nothing to do"] <= 2 * ping,
            "a loop is 1,000 times slower": per_file / ours >= 1000,
        }.items()
        if not met
    ]
    for sentence in missed:
        print(f"missed: {sentence}")
    return bool(missed and given.must)


if __name__ == "__main__":
    sys.exit(main())
