# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The original state of a host: stored before the first write, restored by undo."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Changes, File
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, HostError

FOLDER = "/var/lib/buildfleet"


class Record:
    """One feature's memory of the files that it touched, in one file that only root reads.

    It is read when it is made; ``save`` writes it, ``forget`` removes it.
    """

    def __init__(self, host: Host, name: str, folder: str = FOLDER) -> None:
        self._host = host
        self._folder = folder
        self._path = f"{folder}/{name}.json"
        found = self._found = host.read(self._path)
        self._data: t.Dict[str, t.Any] = {"version": 1, "key": secrets.token_hex(16), "files": {}, "notes": {}}
        if found is not None:
            try:
                self._data = json.loads(found.contents)
                if self._data.pop("sum") != self._sum():
                    raise ValueError("its sum is wrong")
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise HostError(f"{self._path} is damaged ({type(error).__name__}). Move it away; undo then removes only our settings.") from error

    @property
    def paths(self) -> t.List[str]:
        """Every path that we ever changed on this host."""
        return sorted(self._data["files"])

    def knows(self, path: str) -> bool:
        return path in self._data["files"]

    def first(self, path: str) -> t.Optional[File]:
        """The file as it was before our first write; None where there was none."""
        return _unpacked(self._data["files"][path]["first"])

    def as_we_left_it(self, path: str, found: t.Optional[File]) -> bool:
        """Whether nobody but us has changed the file since our first write (one that was rolled back or killed counts as none)."""
        entry = self._data["files"].get(path, {"shared": True})
        return not entry.get("shared") and self._digest(found) in (entry["left"], entry.get("before"))

    def remember(self, changes: Changes) -> None:
        """Before a write: keep the first bytes of each file, and what it will be."""
        for path, after in changes.items():
            found = self._host.read(path)
            # Others edited it between two writes of ours: the first bytes would lose their edit.
            if self.knows(path) and not self.as_we_left_it(path, found):
                self._data["files"][path]["shared"] = True
                self._note_mode(path, found)
            entry = self._data["files"].setdefault(path, {"first": _packed(found)})
            entry["before"], entry["left"] = self._digest(found), self._digest(after)
            entry["left_mode"] = after.mode if after else None

    def mode(self, path: str) -> int:
        """The mode that the file has without us: its first one, or the one that others gave it since."""
        first = self.first(path)
        return int(self._data["files"][path].get("mode") or (first.mode if first else 0o644))

    def _note_mode(self, path: str, found: t.Optional[File]) -> None:
        entry = self._data["files"][path]
        if found and found.mode != entry.get("left_mode", found.mode):
            entry["mode"] = found.mode

    def left_mode(self, path: str) -> t.Optional[int]:
        """The mode that our last write gave the file; None where there is no file or an older record does not say it."""
        return t.cast("t.Optional[int]", self._data["files"].get(path, {}).get("left_mode"))

    def drop(self, path: str) -> None:
        """The file is as it was without us: what is found there later is others' again."""
        self._data["files"].pop(path, None)

    def note(self, name: str) -> t.Any:
        return self._data["notes"].get(name)

    def put_note(self, name: str, value: t.Any) -> None:
        self._data["notes"][name] = value

    def fingerprint(self, text: str) -> str:
        """A keyed digest: equal texts can be recognised, none can be read."""
        return hmac.new(bytes.fromhex(self._data["key"]), text.encode(), hashlib.sha256).hexdigest()

    def sweep(self) -> None:
        """A run that was killed while it wrote leaves nothing for longer than until the next one."""
        self._host.sweep([self._path, *self.paths])

    def save(self) -> None:
        contents = (json.dumps({**self._data, "sum": self._sum()}, indent=1, sort_keys=True) + "\n").encode()
        found = self._host.read(self._path)
        if found is None or found.contents != contents:
            self._host.make_private_folder(self._folder)
            self._host.write(self._path, File(contents, 0o600, os.geteuid(), os.getegid()))

    def take_back(self) -> None:
        """The record as this run found it: none where there was none."""
        if self._found is None:
            self.forget()
        else:
            self._host.write(self._path, self._found)

    def forget(self) -> None:
        self._host.remove(self._path)
        self._host.remove_folder(self._folder)

    def _sum(self) -> str:
        """A damaged record must not be restored as an original file."""
        return self.fingerprint(json.dumps(self._data, sort_keys=True))

    def _digest(self, file: t.Optional[File]) -> str:
        return "none" if file is None else self.fingerprint(base64.b64encode(file.contents).decode())


def apply(host: Host, changes: Changes) -> None:
    """Write and remove the files of a plan."""
    for path, file in changes.items():
        if file is None:
            host.remove(path)
        else:
            host.write(path, file)


def _packed(file: t.Optional[File]) -> t.Optional[t.Dict[str, t.Any]]:
    return None if file is None else {**file._asdict(), "contents": base64.b64encode(file.contents).decode()}


def _unpacked(packed: t.Optional[t.Dict[str, t.Any]]) -> t.Optional[File]:
    return None if packed is None else File(**{**packed, "contents": base64.b64decode(packed["contents"], validate=True)})
