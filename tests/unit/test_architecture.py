# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The structure of the collection: imports between packages, places of version numbers, options of roles."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).resolve().parents[2]
UTILS = "ansible_collections.buildfleet.docker.plugins.module_utils"
FILES = {
    ".".join(path.relative_to(TOP / "plugins/module_utils").with_suffix("").parts): path
    for path in sorted((TOP / "plugins/module_utils").rglob("*.py"))
    if path.stem != "__init__"
}  # "_daemon.plan": its path
ACTIONS = {path.stem for path in (TOP / "plugins/action").glob("*.py")}  # run on the controller; the module of the name only documents them
MODULES = {path.stem: path for path in sorted((TOP / "plugins/modules").glob("*.py")) if path.stem not in ACTIONS}
ROLES = sorted(path.parents[1].name for path in TOP.glob("roles/*/meta/argument_specs.yml"))

# Which package may import which; each may import itself. `_module` imports only _core.
MAY_IMPORT = {
    "_core": set(),
    "_module": {"_core"},
    "_host": {"_core"},
    "_formats": {"_core"},
    "_registry": {"_core", "_formats"},
    "_proxy": {"_core"},
    "_dockerfile": {"_core", "_formats", "_registry", "_host"},
    "_daemon": {"_core", "_host", "_formats", "_registry", "_proxy"},
    "_build_env": {"_core", "_formats", "_registry", "_proxy", "_host"},
    "_builder": {"_core", "_formats", "_registry", "_proxy", "_host"},
    "_diagnosis": {"_core", "_registry"},
    "_info": {"_core", "_host", "_formats", "_proxy", "_daemon", "_build_env", "_build", "_diagnosis", "_registry"},
    "_build": {"_core", "_host", "_formats", "_diagnosis", "_registry"},
}
# Files outside _host that still use the host; each should become pure or move there.
SHELLS = {
    "_module", "_daemon.observe", "_daemon.busy", "_daemon.transaction", "_daemon.start", "_daemon.preflight",
    "_daemon.registry_hosts", "_daemon.change", "_daemon.ca", "_build.build", "_build.build_user",
    "_build_env.change", "_build_env.services", "_builder.change", "_info.info", "_dockerfile.tree",
}  # fmt: skip
PURE = sorted(name for name in FILES if not name.startswith("_host.") and name not in SHELLS)
DOORS = {name for name in FILES if name.startswith("_host.")} | {"_module"}
WITH_IO = {
    "asyncio", "fcntl", "glob", "grp", "http", "io", "multiprocessing", "os", "pathlib", "pwd", "shutil", "signal", "socket", "ssl",
    "subprocess", "tempfile", "threading", "time",
}  # fmt: skip


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def imports(path: Path) -> t.Tuple[str, ...]:
    """Every imported module, ours by its place in module_utils ('_host.host')."""
    return tuple(_imports(path))


def _imports(path: Path) -> t.Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            place = (node.module or "").replace(f"{UTILS}.", "").replace(UTILS, "")
            inside = [f"{place}.{name.name}".lstrip(".") for name in node.names]
            yield from (name for name in inside if name in FILES)
            if not all(name in FILES for name in inside):
                yield place


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_package_imports_what_it_may(name):
    package = name.split(".")[0]
    ours = {found.split(".")[0] for found in imports(FILES[name]) if found in FILES}
    assert ours <= MAY_IMPORT[package] | {package}


def test_each_package_says_what_it_owns_and_imports():
    for package in sorted(MAY_IMPORT.keys() - {"_module"}):
        words = ast.get_docstring(tree(TOP / "plugins/module_utils" / package / "__init__.py")) or ""
        others = sorted(MAY_IMPORT[package])
        named = " and ".join(filter(None, [", ".join(others[:-1]), *others[-1:]]))
        assert words.endswith(f"Imports {named or 'none of them'}."), f"{package}/__init__.py must end with: Imports {named or 'none of them'}."


@pytest.mark.parametrize("core", PURE)
def test_a_core_knows_neither_ansible_nor_the_host(core):
    roots = {name.split(".")[0] for name in imports(FILES[core])}
    assert not roots & (WITH_IO | {"ansible", "ansible_collections", "_host"})
    assert not SHELLS & set(imports(FILES[core]))
    calls = {node.func.id for node in ast.walk(tree(FILES[core])) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not calls & {"open", "print", "input", "exec", "eval"}


@pytest.mark.parametrize("name", sorted(FILES))
def test_only_the_shell_knows_ansible(name):
    assert name == "_module" or not any(found.split(".")[0] == "ansible" for found in imports(FILES[name]))


# Names of files and of this process; nothing that reads or changes the machine.
HARMLESS_OS = {"path", "environ", "getpid", "geteuid", "getegid", "sysconf"}
HARMLESS_PATH = {"join", "dirname", "basename", "split", "abspath", "normpath", "isabs"}


def touched(path: Path) -> set[str]:
    """What in this file reads or changes the machine directly."""
    found = {name for name in imports(path) if name.split(".")[0] in WITH_IO - {"os", "time"}}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            found.add("open")
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if (owner == "os" and node.attr not in HARMLESS_OS) or (owner == "os.path" and node.attr not in HARMLESS_PATH):
                found.add(f"{owner}.{node.attr}")
    return found


@pytest.mark.parametrize("path", [*(FILES[name] for name in sorted(set(FILES) - DOORS)), *MODULES.values()], ids=lambda path: path.stem)
def test_only_the_host_touches_the_machine(path):
    assert touched(path) == set()


@pytest.mark.parametrize("name", sorted(FILES))
def test_imports_run_one_way(name):
    def reachable(start: str, seen: set[str]) -> set[str]:
        for found in imports(FILES[start]):
            if found in FILES and found not in seen:
                reachable(found, seen | {found})
                seen |= {found} | reachable(found, seen | {found})
        return seen

    assert name not in reachable(name, set())
    assert "_module" not in imports(FILES[name])


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_reaches_ansible_through_the_shell_alone(name):
    assert "_module" in imports(MODULES[name])
    assert not any(found.split(".")[0] == "ansible" for found in imports(MODULES[name]))


@pytest.mark.parametrize("path", sorted({*FILES.values(), *MODULES.values()} - {FILES["_core.versions"]}), ids=lambda path: path.stem)
def test_versions_stand_in_one_table(path):
    literals = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"(?:go|v)?\d+\.\d+(?:\.\d+)?", node.value):
            literals.append((node.lineno, node.value))
        if isinstance(node, ast.Compare) and all(isinstance(operator, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) for operator in node.ops):
            for side in (node.left, *node.comparators):
                if isinstance(side, ast.Tuple) and side.elts and all(isinstance(item, ast.Constant) and isinstance(item.value, int) for item in side.elts):
                    literals.append((side.lineno, ast.unparse(side)))
    allowed = [row for row in literals if row[1] == "1.0.0"]
    assert [row for row in literals if row not in allowed] == []


def documented(module: str) -> dict[str, dict[str, t.Any]]:
    for node in tree(MODULES[module]).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION":
            return yaml.safe_load(ast.literal_eval(node.value))["options"]
    raise AssertionError(f"{module} has no DOCUMENTATION")


def shape(option: dict[str, t.Any]) -> dict[str, t.Any]:
    return {key: option.get(key) for key in ("type", "elements", "choices", "required")} | {"type": option.get("type", "str")}


@pytest.mark.parametrize("role", [role for role in ROLES if role in MODULES])
def test_a_role_accepts_what_its_module_accepts(role):
    specs = yaml.safe_load((TOP / f"roles/{role}/meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert {name: shape(option) for name, option in specs.items()} == {f"{role}_{name}": shape(option) for name, option in documented(role).items()}
    assert not any("default" in option for option in specs.values())
    assert not (TOP / f"roles/{role}/defaults").exists()


@pytest.mark.parametrize("role", [role for role in ROLES if role in MODULES])
def test_a_role_passes_every_option_on_and_decides_nothing(role):
    (task,) = yaml.safe_load((TOP / f"roles/{role}/tasks/main.yml").read_text())
    assert task[f"buildfleet.docker.{role}"] == {name: f"{{{{ {role}_{name} | default(omit) }}}}" for name in documented(role)}
    assert task["register"] == f"{role}_result"


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=TOP, check=True, capture_output=True, text=True)
    return [TOP / name for name in listed.stdout.splitlines() if (TOP / name).is_file()]


def test_every_source_file_carries_its_licence():
    # antsibull-changelog writes changelog.yaml anew and drops comments; REUSE.toml has its licence, as that of golden files.
    elsewhere = {"golden", "changelog.yaml"}
    sources = [path for path in tracked() if path.suffix in (".py", ".yml", ".yaml", ".toml", ".sh") and not elsewhere & set(path.parts)]
    assert len(sources) > 20
    licence = ": ".join(("SPDX-License-Identifier", "GPL-3.0-or-later"))
    assert [str(path.relative_to(TOP)) for path in sources if licence not in path.read_text()[:500]] == []


LOCKS = sorted(path.stem for path in (TOP / "tests/requirements/lock").glob("*.txt"))


def test_every_environment_of_tools_is_locked_but_that_of_seven_pythons():
    assert sorted({"tools", *(path.stem for path in (TOP / "tests/requirements").glob("*.txt"))} - {"host"}) == LOCKS


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_one_exact_version_of_everything_that_is_required(name):
    def names(path):
        lines = [line.partition(";")[0].strip() for line in path.read_text().splitlines() if line and not line.startswith("#")]
        return {re.split("[=~<>]", line)[0].strip().lower().replace("_", "-"): line for line in lines}

    locked = names(TOP / f"tests/requirements/lock/{name}.txt")
    assert [line for line in locked.values() if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert set(names(TOP / ("tests/requirements.txt" if name == "tools" else f"tests/requirements/{name}.txt"))) - set(locked) == set()
