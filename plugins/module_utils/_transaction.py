# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change to a daemon: validate, record, write, activate, prove, or roll back. Nothing else."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils import _daemon_proxy as daemon_proxy
from ansible_collections.buildfleet.docker.plugins.module_utils import _versions
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import Daemon, Files, busy, flags, next_start
from ansible_collections.buildfleet.docker.plugins.module_utils._host import Host
from ansible_collections.buildfleet.docker.plugins.module_utils._record import Changes, Record, apply

_DECISIVE = re.compile(r"unable to configure|failed to (?:start|create)|level=fatal|invalid|cannot|conflict")
# Ends with 3 when the daemon ended by itself, with 0 when it answered; whatever else happens proves nothing.
# Its network, processes, mounts, data and sockets are its own and are gone when it ends.
_REHEARSAL = """
mount --make-rprivate / && mount -t tmpfs tmpfs /var/lib/docker && mount -t tmpfs tmpfs /run && ip link set lo up || exit 4
wait=$1; shift
mkdir -p /run/trial && cat > /run/trial/daemon.json || exit 4
"$@" --config-file /run/trial/daemon.json --host unix:///run/trial/docker.sock --pidfile /run/trial/docker.pid > /run/trial/log 2>&1 &
docker=$!
while kill -0 $docker 2>/dev/null; do
  [ -S /run/trial/docker.sock ] && grep -q 'API listen on' /run/trial/log && exit 0
  [ $wait -gt 0 ] || exit 0
  wait=$((wait - 1)); sleep 1
done
sed 's,/run/trial/daemon.json,/etc/docker/daemon.json,' /run/trial/log
exit 3
"""


class Failed(Exception):
    """The change did not hold; the message says what the daemon said and how the host stands now."""

    def __init__(self, message: str, rolled_back: bool, restarted: bool) -> None:
        super().__init__(message)
        self.rolled_back = rolled_back
        self.restarted = restarted


class Restart(t.NamedTuple):
    """Whether a restart is due, and what keeps it from being done now."""

    due: bool
    pending: str


def restart(host: Host, daemon: Daemon, record: Record, plan: daemon_proxy.Plan, policy: str) -> Restart:
    """A restart is due when what runs differs from what the files say, and is put off when it would hurt."""
    if not daemon.up:
        return Restart(daemon.state in ("failed", "activating", "active") and bool(plan.changes), "")
    differs = daemon_proxy.differences(daemon_proxy.in_force(daemon.info), plan.expected)
    if not differs and not _credentials_changed(daemon, record, plan):
        return Restart(False, "")
    if policy == "never":
        return Restart(True, "restart: never")
    return Restart(True, busy(host, daemon) if policy == "if_idle" else "")


def validate(host: Host, daemon: Daemon, plan: daemon_proxy.Plan) -> None:
    """Stop where the engine itself says that it would not start with what is planned."""
    words = objection(host, daemon, {**daemon.files, **plan.changes})
    if words:
        raise daemon_proxy.PlanRefused(f"Docker would not start with {daemon.config_file}; nothing was written. It says: {words}")


def objection(host: Host, daemon: Daemon, files: Files) -> str:
    """What the engine itself says against these files, with the unit's real flags; the file goes in by a pipe."""
    file = files.get(daemon.config_file)
    if file is None or not _versions.has("validate", daemon.engine):
        return ""
    argv = next_start(daemon, files).argv
    kept = [word for number, word in enumerate(argv[1:], 1) if not word.startswith("--config-file") and argv[number - 1] != "--config-file"]
    said = host.run([argv[0], *kept, "--validate", "--config-file", "/dev/stdin"], stdin=file.contents.decode(errors="replace"))
    return "" if said.code in (0, 127) else said.text.replace("/dev/stdin", daemon.config_file)


def rehearse(host: Host, daemon: Daemon, plan: daemon_proxy.Plan, timeout: int) -> None:
    """Start the daemon once beside the real one, in namespaces and folders of its own, with the files as they shall be.

    Only where a file was changed by others since the daemon started: such a fault lies in wait for the next
    start, --validate misses it (a bad bip), and rolling back cannot help, since the old file does not start either.
    """
    file = plan.changes.get(daemon.config_file, daemon.files.get(daemon.config_file))
    if file is None or not daemon.up or daemon.changed.get(daemon.config_file, 0) <= daemon.started:
        return
    argv = next_start(daemon, {**daemon.files, **plan.changes}).argv
    places = {"data-root", "graph", "exec-root", "pidfile", "containerd", "hosts"}
    if places & {*daemon_proxy.keys(file, daemon.config_file), *flags(argv)} - {"containerd"}:
        return  # a trial start could touch what the real daemon works in
    dropped = ("--config-file", "--containerd", "--host", "-H", "--pidfile", "-p", "--data-root", "--exec-root")
    kept = [word for number, word in enumerate(argv[1:], 1) if not word.startswith(dropped) and argv[number - 1] not in dropped]
    said = host.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", _REHEARSAL, "sh", str(timeout), argv[0], *kept],
        stdin=file.contents.decode(errors="replace"),
        timeout=timeout + 10,
    )
    if said.code == 3:
        words = " | ".join(dict.fromkeys(line for line in said.out.splitlines() if _DECISIVE.search(line))) or said.text[-500:]
        raise daemon_proxy.PlanRefused(
            f"{daemon.config_file} was changed since Docker started, and Docker would not start with it (a trial "
            f"start failed). Nothing was written, and Docker still runs. It said: {words} Repair the file, then run this again."
        )


def carry_out(host: Host, daemon: Daemon, record: Record, plan: daemon_proxy.Plan, due: Restart, timeout: int) -> bool:
    """Record, write, activate, prove; roll back where the proof fails. True when the daemon was restarted."""
    before: Changes = {path: daemon.files.get(path) for path in plan.changes}
    record.remember(plan.changes)
    record.put_note("folders", sorted({*(record.note("folders") or []), *_new_folders(host, plan.changes)}))
    record.put_note("written", daemon_proxy.written(record, daemon, plan))
    record.save()
    try:
        apply(host, plan.changes)
    except BaseException:
        apply(host, before)
        raise
    if due.pending or not due.due:
        if _units(plan.changes, daemon):
            _reload_units(host, daemon)
        return False
    since = host.now()
    trouble = _start(host, daemon, bool(_units(plan.changes, daemon)) or daemon.reload_needed, timeout)
    info = {} if trouble else _answer(host, timeout)
    if not trouble and not info:
        trouble = f"It did not answer within {timeout} s."
    if not trouble:
        wrong = daemon_proxy.differences(daemon_proxy.in_force(info), plan.expected)
        trouble = f"It runs, but without the wanted {', '.join(wrong)}." if wrong else ""
    if trouble:
        words = _words(host, daemon, since) or trouble
        apply(host, before)
        up = not _start(host, daemon, bool(_units(plan.changes, daemon)), timeout) and bool(_answer(host, timeout))
        state = (
            "docker is up again as it was"
            if up
            else "docker is NOT up: it does not start with the old files either, so the fault was there before (journalctl -u " + daemon.service + ")"
        )
        raise Failed(f"Docker did not start with the new settings; every file is back as it was and {state}. It said: {words}", True, up)
    return True


def restart_alone(host: Host, daemon: Daemon, timeout: int) -> str:
    """Restart the daemon with its files as they are; '' or what it said when it did not come up."""
    since = host.now()
    trouble = _start(host, daemon, daemon.reload_needed, timeout)
    if not trouble and not _answer(host, timeout):
        trouble = f"It did not answer within {timeout} s."
    return trouble and (_words(host, daemon, since) or trouble)


def forget(host: Host, record: Record) -> None:
    """After undo: the folders that we made go if nobody else uses them, and so does the record."""
    for folder in sorted(record.note("folders") or [], key=len, reverse=True):
        host.remove_folder(folder)
    record.forget()


def note_start(host: Host, daemon: Daemon, record: Record, plan: daemon_proxy.Plan) -> None:
    """Keep a keyed digest of the credentials that the daemon was started with: `docker info` hides them."""
    record.put_note("started", {"pid": daemon.pid, "at": round(daemon.started, 1), "credentials": record.fingerprint(daemon_proxy.credentials(plan.expected))})
    record.save()


def _credentials_changed(daemon: Daemon, record: Record, plan: daemon_proxy.Plan) -> bool:
    wanted = daemon_proxy.credentials(plan.expected)
    if not wanted:
        return False
    noted = record.note("started") or {}
    if noted.get("pid") == daemon.pid and abs(noted.get("at", 0) - daemon.started) < 2:
        return bool(noted["credentials"] != record.fingerprint(wanted))
    carriers = [path for path in (daemon.config_file, daemon.environment_file, daemon.defaults_file) if path in daemon.changed]
    return bool(plan.changes) or any(daemon.changed[path] > daemon.started for path in carriers)


def _new_folders(host: Host, changes: Changes) -> t.Set[str]:
    folders = {path.rpartition("/")[0] for path, file in changes.items() if file is not None}
    return {folder for folder in folders if not host.exists(folder)}


def _units(changes: Changes, daemon: Daemon) -> t.List[str]:
    return [path for path in changes if daemon.systemd and path.endswith((".conf", ".service"))]


def _reload_units(host: Host, daemon: Daemon) -> None:
    if daemon.systemd:
        host.run(["systemctl", "daemon-reload"])


def _start(host: Host, daemon: Daemon, reload_units: bool, timeout: int) -> str:
    """Restart the service; '' or what went wrong."""
    if not daemon.systemd:
        done = host.run(["service", daemon.service, "restart"], timeout=timeout)
        return "" if done.code == 0 else done.text
    if reload_units:
        _reload_units(host, daemon)
    # Three starts within a minute are docker.service's limit; our restart must not be the one too many.
    host.run(["systemctl", "reset-failed", f"{daemon.service}.service", f"{daemon.service}.socket"])
    done = host.run(["systemctl", "restart", f"{daemon.service}.service"], timeout=timeout)
    return "" if done.code == 0 else done.text


def _answer(host: Host, timeout: int) -> t.Dict[str, t.Any]:
    until = host.now() + timeout
    while True:
        info = host.engine("/info", timeout=max(1.0, min(30.0, until - host.now())))
        if info or host.now() > until:
            return info or {}
        host.sleep(0.1)


def _words(host: Host, daemon: Daemon, since: float) -> str:
    """The daemon's own last words about why it does not start."""
    if not daemon.systemd:
        file = host.read("/var/log/docker.log")
        text = file.contents.decode(errors="replace")[-4000:] if file else ""
    else:
        text = host.run(["journalctl", "-u", f"{daemon.service}.service", "--since", f"@{int(since)}", "-o", "cat", "--no-pager", "-n", "200"]).out
    found = [line for line in text.splitlines() if _DECISIVE.search(line)]
    unique = list(dict.fromkeys(line for line in found if "systemd" not in line))
    return " | ".join(unique[-3:])
