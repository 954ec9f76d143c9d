# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The services that build: what they run with, and which of them must be restarted."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._build_env import settings
from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._host import jobs, systemd
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record


class Services:
    """The services that build: what they run with, and which of them must be restarted."""

    def __init__(self, host: Host, record: Record, values: t.Dict[str, str], options: t.Mapping[str, t.Any], ours: t.Iterable[t.Any]) -> None:
        self._host, self._record, self._values = host, record, values
        self._wanted = {settings.unit(name) for name in options["services"] or ()} if options["state"] == "present" else set()
        self._written: t.Dict[str, t.List[str]] = record.note("written") or {}
        self._restarted: t.Dict[str, t.Dict[str, str]] = record.note("restarted") or {}
        self.warnings: t.List[str] = []
        if self._wanted and not host.exists("/run/systemd/system"):
            raise Refused("services needs systemd, which does not run here. Set the variables of the agent with its init system.", changed=False)
        earlier = record.note("services") or []  # they may still run with removed variables
        self.pending = [name for name in sorted({*self._wanted, *ours, *earlier}) if self._needs_restart(name)]
        self.due = [name for name in self.pending if self._restarted.get(name) != self._variables(name)]
        self.restart_ineffective: t.List[str] = []

    def _variables(self, name: str) -> t.Dict[str, str]:
        return self._values if name in self._wanted else {}

    def _needs_restart(self, name: str) -> bool:
        if "@." in name:
            return False  # a template runs under other names
        shown = systemd.show(self._host, name, "LoadState", "MainPID")
        if shown.get("LoadState") == "not-found" and name in self._wanted:
            self.warnings.append(f"services: {name} does not exist on this host yet; it gets the environment when it is created.")
        process = self._host.read(f"/proc/{shown['MainPID']}/environ") if shown.get("MainPID", "0") != "0" else None
        if process is None:
            return False
        pairs = (pair.partition("=")[::2] for pair in process.contents.decode(errors="replace").split("\0"))
        known = {variable: value for variable, value in pairs if variable in self._values or variable in self._written}
        return settings.needs_restart(self._variables(name), self._written, known)

    def idle(self) -> t.List[str]:
        """Those of the due services that run no job; a warning names what the others do."""
        working = {name: jobs.running_job(self._host, name) for name in self.due}
        self.warnings += [f"{name} was not restarted, because it may run a job: {job}. Run this again when it is idle." for name, job in working.items() if job]
        return [name for name, job in working.items() if not job]

    def restart(self, names: t.Iterable[str]) -> None:
        for name in names:
            self.systemctl("restart", "--", name)
            self._restarted[name] = self._variables(name)
            if not self._obeys(name):
                self.restart_ineffective.append(name)
                self.warnings.append(
                    f"{name} was restarted and still runs with a different environment; its unit or program sets these variables itself. Remove them there."
                )

    def still_pending(self, restarted: t.Collection[str]) -> t.List[str]:
        """The services that still need a restart after these were restarted."""
        return [name for name in self.pending if name not in restarted or name in self.restart_ineffective]

    def _obeys(self, name: str) -> bool:
        # systemd reports "started" before the program runs; until then the process has systemd's own environment.
        for _attempt in range(25):
            if not self._needs_restart(name):
                return True
            self._host.sleep(0.2)
        return False

    def note(self) -> None:
        for name, value in self._values.items() if self._wanted else ():
            if value not in self._written.setdefault(name, []):
                self._written[name].append(value)
        self._record.put_note("services", sorted({*self._wanted, *self.pending}))
        self._record.put_note("written", self._written)
        self._record.put_note("restarted", self._restarted)

    def systemctl(self, *arguments: str) -> None:
        done = self._host.run(["systemctl", *arguments], timeout=120)
        if done.code != 0:
            raise Refused(f"systemctl {' '.join(arguments)} failed: {done.text}. Correct the unit that it names, then run this again.", changed=True)
