# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host in memory: files and folders like on a real one, and programs and an engine with the output that a test sets."""

from __future__ import annotations

import contextlib
import os

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, Run


class MemoryHost(Host):
    """``programs``: output, or all of a run, by command line; ``api``: answers by path."""

    def __init__(self, files=(), folders=(), programs=(), api=()):
        super().__init__()
        self.files = {path: file if isinstance(file, File) else File(file.encode()) for path, file in dict(files).items()}
        self.folders = {"/", "/etc", "/var", "/var/lib", *folders}
        self.programs, self.api, self.closed, self.ran = dict(programs), dict(api), set(), []
        self.processes, self.parents = {}, {}  # by number: command line, parent
        self.late = ()  # the names of calls that run_parallel does not wait for
        for path in self.files:
            self._make_folders(path)

    def _make_folders(self, path):
        folder = os.path.dirname(path)
        while folder not in self.folders:
            self.folders.add(folder)
            folder = os.path.dirname(folder)

    def read(self, path):
        return self.files.get(path)

    def write(self, path, file):
        self._make_folders(path)
        self.files[path] = file

    def remove(self, path):
        self.files.pop(path, None)

    def remove_folder(self, path):
        if not self.names(path):
            self.folders.discard(path)

    def make_private_folder(self, folder):
        self._make_folders(f"{folder}/x")

    def exists(self, path):
        return path in self.files or path in self.folders

    def missing_folders(self, path):
        return [] if self.exists(os.path.dirname(path)) else [os.path.dirname(path)]

    def can_write(self, path):
        return os.path.dirname(path) not in self.closed

    def names(self, folder):
        known = (*self.files, *self.folders, *(f"/proc/{pid}/" for pid in self.processes))
        return sorted({path[len(folder) + 1 :].partition("/")[0] for path in known if path.startswith(f"{folder}/")})

    def is_folder(self, path):
        return path in self.folders

    def process(self, pid):
        return self.processes.get(pid, [])

    def parent(self, pid):
        return self.parents.get(pid, 0)

    def engine_api(self, path, **_more):
        return self.api.get(path)

    def run(self, argv, **_more):
        self.ran.append(list(argv))
        found = self.programs.get(" ".join(argv), Run(127, "", f"{argv[0]}: not found"))
        return found if isinstance(found, Run) else Run(0, found, "")

    def run_parallel(self, calls, timeout):
        return {name: call() for name, call in calls.items() if name not in self.late}

    def changed_at(self, path):
        return 1.0 if path in self.files else 0.0

    def sweep(self, paths):
        pass

    def sleep(self, seconds):
        pass

    def now(self):
        return 1_800_000_000.0

    def lock(self, path):
        return contextlib.nullcontext()

    def state(self):
        return dict(self.files), set(self.folders)
