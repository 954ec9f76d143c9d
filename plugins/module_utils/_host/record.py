# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The original state of a host: stored before the first write, restored by undo."""

from __future__ import annotations

import json
import os
import secrets

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Changes, File
from ansible_collections.buildfleet.docker.plugins.module_utils._core.first_state import FirstState
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, HostError

FOLDER = "/var/lib/buildfleet"


class Record(FirstState):
    """The files that one feature changed, in one file that only root can read.

    Created with the contents of the file; ``save`` writes it, ``forget`` removes it.
    """

    def __init__(self, host: Host, name: str, folder: str = FOLDER) -> None:
        self._host = host
        self._folder = folder
        self.path = f"{folder}/{name}.json"
        if host.exists(folder) and not host.is_folder(folder):
            raise HostError(f"{folder} is a file, but the records of this collection belong in a folder of that name. Move the file away.")
        file = self._found = host.read(self.path)
        super().__init__({"version": 1, "key": secrets.token_hex(16), "files": {}, "notes": {}})
        if file is not None:
            try:
                self._data = json.loads(file.contents)
                if self._data.pop("sum") != self._sum():
                    raise ValueError("its sum is wrong")
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise HostError(f"{self.path} is damaged ({type(error).__name__}). Move it away; undo then removes only our settings.") from error

    def remember(self, changes: Changes) -> None:
        """Before a write: keep the original contents of each file, and its new ones."""
        for path, after in changes.items():
            self.keep(path, self._host.read(path), after)

    def sweep(self) -> None:
        """What a run that was killed while it wrote left remains only until the next run."""
        self._host.sweep([self.path, *self.paths])
        if self._host.is_folder(self._folder) and not self._host.names(self._folder):
            self._host.remove_folder(self._folder)

    def save(self) -> None:
        contents = (json.dumps({**self._data, "sum": self._sum()}, indent=1, sort_keys=True) + "\n").encode()
        file = self._host.read(self.path)
        if file is None or file.contents != contents:
            self._host.make_private_folder(self._folder)
            self._host.write(self.path, File(contents, 0o600, os.geteuid(), os.getegid()))

    def take_back(self) -> None:
        """The record as this run found it."""
        if self._found is None:
            self.forget()
        else:
            self._host.write(self.path, self._found)

    def forget(self) -> None:
        self._host.remove(self.path)
        self._host.remove_folder(self._folder)


def apply(host: Host, changes: Changes) -> None:
    """Write and remove the files of a plan."""
    for path, file in changes.items():
        if file is None:
            host.remove(path)
        else:
            host.write(path, file)
