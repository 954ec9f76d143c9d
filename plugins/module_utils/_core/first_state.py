# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record as a value: each file before our first write, and after our last one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File


class FirstState:
    """The data of a record; who reads and writes it is elsewhere."""

    def __init__(self, data: t.Dict[str, t.Any]) -> None:
        self._data = data

    @property
    def paths(self) -> t.List[str]:
        """Every path that we ever changed on this host."""
        return sorted(self._data["files"])

    def knows(self, path: str) -> bool:
        return path in self._data["files"]

    def first(self, path: str) -> t.Optional[File]:
        """The file before our first write; None if it did not exist."""
        return _unpacked(self._data["files"][path]["first"])

    def as_we_left_it(self, path: str, found: t.Optional[File]) -> bool:
        """Whether only we changed the file since our first write (a write that was rolled back or killed does not count)."""
        entry = self._data["files"].get(path, {"shared": True})
        return not entry.get("shared") and self._digest(found) in (entry["left"], entry.get("before"))

    def keep(self, path: str, found: t.Optional[File], after: t.Optional[File]) -> None:
        """Before a write: the first bytes of the file, and what it will be."""
        # Others edited it between two writes of ours: restoring the original would lose their edit.
        if self.knows(path) and not self.as_we_left_it(path, found):
            self._data["files"][path]["shared"] = True
            self._note_mode(path, found)
        ours = found is not None and self.is_our_mode(path, found)
        entry = self._data["files"].setdefault(path, {"first": _packed(found)})
        entry["before"], entry["left"] = self._digest(found), self._digest(after)
        entry["before_mode"], entry["left_mode"] = found.mode if found and ours else None, after.mode if after else None

    def mode(self, path: str) -> int:
        """The mode of the file without us: the original one, or the one that others set since."""
        first = self.first(path)
        return int(self._data["files"][path].get("mode") or (first.mode if first else 0o644))

    def _note_mode(self, path: str, found: t.Optional[File]) -> None:
        entry = self._data["files"][path]
        if found and found.mode != entry.get("left_mode", found.mode):
            entry["mode"] = found.mode

    def left_mode(self, path: str) -> t.Optional[int]:
        """The mode that our last write set; None if there is no file, or an older record does not contain it."""
        return t.cast("t.Optional[int]", self._data["files"].get(path, {}).get("left_mode"))

    def is_our_mode(self, path: str, found: File) -> bool:
        """Whether our last write set the mode, or the one before if the last was killed."""
        entry = self._data["files"].get(path, {})
        killed = entry.get("left") != self._digest(found) == entry.get("before")
        return bool(found.mode == entry.get("before_mode" if killed else "left_mode"))

    def drop(self, path: str) -> None:
        """The file is as it was without us: later changes to it belong to others again."""
        self._data["files"].pop(path, None)

    def note(self, name: str) -> t.Any:
        return self._data["notes"].get(name)

    def put_note(self, name: str, value: t.Any) -> None:
        self._data["notes"][name] = value

    def fingerprint(self, text: str) -> str:
        """A keyed digest: equal texts can be recognised, but not read."""
        return hmac.new(bytes.fromhex(self._data["key"]), text.encode(), hashlib.sha256).hexdigest()

    def _sum(self) -> str:
        """A damaged record must not be restored as an original file."""
        return self.fingerprint(json.dumps(self._data, sort_keys=True))

    def _digest(self, file: t.Optional[File]) -> str:
        return "none" if file is None else self.fingerprint(base64.b64encode(file.contents).decode())


def _packed(file: t.Optional[File]) -> t.Optional[t.Dict[str, t.Any]]:
    return None if file is None else {**file._asdict(), "contents": base64.b64encode(file.contents).decode()}


def _unpacked(packed: t.Optional[t.Dict[str, t.Any]]) -> t.Optional[File]:
    return None if packed is None else File(**{**packed, "contents": base64.b64decode(packed["contents"], validate=True)})
