# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change to a daemon: validate, record, write, activate, prove, or roll back."""

from __future__ import annotations

import re
import time
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Changes
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import plan as daemon_proxy
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.busy import busy, play_inside
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon, flags, next_start, without_flags
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.observe import pid_file
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.pending import not_effective, unstarted
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.validation import validation_error
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, HostError, Run
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record, apply

_DECISIVE = re.compile(r"unable to configure|failed to (?:start|create)|level=fatal|invalid|cannot|conflict")
# Exits with 3 if the daemon ended by itself, with 0 if it came up; any other code proves nothing.
# It has its own network, processes, mounts, data and sockets, which are gone when it ends.
_TRIAL_START = """
mount --make-rprivate / && mount -t tmpfs tmpfs /run && ip link set lo up && mkdir -p /run/trial || exit 4
wait=$1; shift
cat > /run/trial/daemon.json || exit 4
"$@" --config-file /run/trial/daemon.json --data-root /run/trial/data --exec-root /run/trial/exec --pidfile /run/trial/docker.pid \\
  --host unix:///run/trial/docker.sock > /run/trial/log 2>&1 &
docker=$!
while kill -0 $docker 2>/dev/null; do
  [ -S /run/trial/docker.sock ] && grep -q 'API listen on' /run/trial/log && exit 0
  [ $wait -gt 0 ] || exit 0
  wait=$((wait - 1)); sleep 1
done
cat /run/trial/log
exit 3
"""
_ALONE = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
# Flags that a trial start sets itself, so that values of these are not tried.
_OWN = ("config-file", "containerd", "data-root", "exec-root", "graph", "host", "hosts", "pidfile")
# Settings that can fail in a trial start (empty network and folders, no system services) although the host has what they need.
_OF_THE_HOST = {
    "metrics-addr", "authorization-plugin", "authorization-plugins", "bridge", "default-gateway", "default-gateway-v6", "exec-opt", "exec-opts", "fixed-cidr",
    "fixed-cidr-v6", "ip", "selinux-enabled", "storage-driver", "storage-opt", "storage-opts", "userns-remap",
}  # fmt: skip


class Failed(Exception):
    """The change did not hold; the message says what the daemon reported and the state of the host."""

    def __init__(self, message: str, rolled_back: bool, restarted: bool) -> None:
        super().__init__(message)
        self.rolled_back = rolled_back
        self.restarted = restarted


class Restart(t.NamedTuple):
    """Whether a restart is due, and what blocks it now."""

    due: bool
    pending: str

    @property
    def now(self) -> bool:
        return self.due and not self.pending


def restart(host: Host, daemon: Daemon, record: Record, plan: daemon_proxy.Plan, policy: str) -> Restart:
    """Due if a setting of this run, or one that we wrote since the daemon started, is not effective; postponed if it would interrupt work."""
    waiting = not_effective(daemon, record, plan) if daemon.up else []
    # A daemon that was stopped on purpose stays stopped.
    due = bool(waiting) if daemon.up else bool(plan.changes) and daemon.state in ("failed", "activating", "active")
    kept_by = restart_blocker(host, daemon, policy) if due else ""
    # Nothing else shows it: `docker info` hides the password.
    return Restart(due, f"the daemon still runs with the old password ({kept_by})" if "credentials" in waiting and kept_by else kept_by)


def restart_blocker(host: Host, daemon: Daemon, policy: str) -> str:
    """What blocks a restart that is due; '' if nothing does."""
    if policy == "never":
        return "restart: never"
    container = play_inside(host, daemon)
    if container:
        return f"this play itself runs in the container {container} of this daemon, which a restart would end. Run it elsewhere, or enable live-restore"
    if policy == "if_needed":
        return ""
    if not daemon.up and daemon.state == "active":
        return "the daemon runs but does not answer, so it is unknown whether it is idle"
    return busy(host, daemon)


def can_write(host: Host, plan: daemon_proxy.Plan) -> None:
    """Stop if a write would fail, so that check mode reports it too."""
    for path in plan.changes:
        if not host.can_write(path):
            raise daemon_proxy.PlanRefused(f"{path} cannot be written: its folder is read-only, or not yours (set become: true). Nothing was written.")


def validate(host: Host, daemon: Daemon, plan: daemon_proxy.Plan) -> None:
    """Stop if the engine itself reports that it would not start with the planned files."""
    message = validation_error(host, daemon, {**daemon.files, **plan.changes})
    if message:
        raise daemon_proxy.PlanRefused(f"Docker would not start with {daemon.config_file}; nothing was written. Docker's message: {message}")


def trial_start(host: Host, daemon: Daemon, plan: daemon_proxy.Plan, timeout: int, ours: t.Collection[str] = ()) -> str:
    """Start a second daemon in namespaces and folders of its own, with the planned files.

    Only if a file changed since the daemon started: an error in it would stop the next start,
    --validate misses some (an unknown runtime), and a rollback cannot help, because the old file does not start either.
    Returns why a trial cannot tell, '' if it can; files that only we changed need no trial then.
    """
    changed = [path for path, at in daemon.changed.items() if at > daemon.started]
    if not daemon.up or not changed:
        return ""
    files = {**daemon.files, **plan.changes}
    daemon_proxy.check_start(daemon, files)
    argv = next_start(daemon, files).argv
    of_the_host = sorted(_OF_THE_HOST & {*daemon_proxy.keys(files, daemon.config_file), *flags(argv)})
    trial = without_flags(argv, _OWN)
    done = (
        host.run(
            [*_ALONE, "sh", "-c", _TRIAL_START, "sh", str(timeout), *trial],
            stdin=daemon_proxy.without_keys(files, daemon.config_file, _OWN).decode(errors="replace"),
            timeout=timeout + 10,
        )
        if trial
        else Run(4, "", "ExecStart= starts a program other than dockerd.")
    )
    message = " | ".join(dict.fromkeys(line for line in done.out.splitlines() if _DECISIVE.search(line))) or done.text[-500:]
    message = message.replace("/run/trial/daemon.json", daemon.config_file)
    if done.code == 0:
        return ""
    if done.code == 3 and not of_the_host:
        raise daemon_proxy.PlanRefused(
            f"{changed[0]} changed since Docker started, and Docker would not start with it (a trial "
            f"start failed). Nothing was written, and Docker still runs. Docker's message: {message} Repair the file, then run this again."
        )
    foreign = [path for path in changed if path not in ours]
    if not foreign:
        return ""
    because = f" (because of {of_the_host[0]})" if done.code == 3 else ""
    return (
        f"{foreign[0]} was changed by others since Docker started, and a trial start could not show whether Docker would start with it{because}. "
        f"Restart Docker yourself in a maintenance window, or set validate: false. Output of the trial start: {message}"
    )


def ours(daemon: Daemon, record: Record) -> t.List[str]:
    """Files that only we changed, and whose contents were all tried."""
    untried = record.note("untried") or []
    return [path for path, file in daemon.files.items() if record.as_we_left_it(path, file) and path not in untried]


def apply_change(host: Host, daemon: Daemon, record: Record, plan: daemon_proxy.Plan, due: Restart, timeout: int) -> bool:
    """Record, write, activate, prove; roll back if the proof fails. True if the daemon was restarted."""
    before: Changes = {path: daemon.files.get(path) for path in plan.changes}
    foreign = [path for path, at in daemon.changed.items() if at > daemon.started and path not in ours(daemon, record)]
    new_folders = _new_folders(host, plan.changes)
    for path in plan.changes:
        if daemon_proxy.replaced(path, daemon, record):
            record.drop(path)  # the file of others is now the original one
    record.remember(plan.changes)
    record.put_note("folders", sorted({*(record.note("folders") or []), *new_folders}))
    record.put_note("written", daemon_proxy.written(record, daemon, plan))
    record.put_note("asked", sorted({*(record.note("asked") or ()), *plan.asked}))
    record.put_note("unstarted", {"at": host.now(), "settings": sorted({*unstarted(daemon, record), *plan.asked})})
    record.put_note("untried", [] if due.now else foreign)
    record.save()
    try:
        apply(host, plan.changes)
    except HostError as error:
        _roll_back(host, record, before, new_folders)
        raise Failed(f"{error} Every file was restored, and Docker was not restarted.", True, False) from error
    except BaseException:
        _roll_back(host, record, before, new_folders)
        raise
    if not due.now:
        if _units(plan.changes, daemon):
            _reload_units(host)
        return False
    log_position = _log(host, daemon)
    problem = _start(host, daemon, bool(_units(plan.changes, daemon)) or daemon.reload_needed, timeout)
    info = {} if problem else _answer(host, daemon, timeout)
    if not problem and not info:
        problem = f"It did not answer within {timeout} s."
    wrong = [] if problem else _unproved(daemon, plan, info)
    if not problem and not wrong:
        return True
    what = f"Docker runs, but without the requested {', '.join(wrong)}" if wrong else "Docker did not start with the new settings"
    message = "" if wrong else f" Docker's message: {_last_messages(host, daemon, log_position) or problem}"
    _roll_back(host, record, before, new_folders)
    up = not _start(host, daemon, bool(_units(plan.changes, daemon)), timeout) and bool(_answer(host, daemon, timeout))
    state = (
        "docker is up again with its old settings"
        if up
        else f"docker is NOT up: it does not start with the old files either, so the error was there before this run (see {_log_name(daemon)})"
    )
    raise Failed(f"{what}; every file was restored and {state}.{message}", True, up)


def _unproved(daemon: Daemon, plan: daemon_proxy.Plan, info: t.Mapping[str, t.Any]) -> t.List[str]:
    """The settings of this run that the daemon did not take over."""
    now = daemon_proxy.running(info)
    wrong = daemon_proxy.differences(now, plan.expected, plan.asked)
    if not wrong or plan.mechanism:
        return wrong
    # Undo: settings of others are effective again, as systemd and the engine read them; only a remaining value of ours is wrong.
    before = daemon_proxy.running(daemon.info)
    return [name for name in wrong if daemon.up and not daemon_proxy.differences(now, before, [name])]


def back_up(host: Host, daemon: Daemon, plan: daemon_proxy.Plan) -> t.List[str]:
    """A copy of each changed file beside it; one with a password is readable by its owner only."""
    stamp = time.strftime("%Y-%m-%d@%H:%M:%S~", time.localtime(host.now()))
    copies = []
    for path in plan.changes:
        file = daemon.files.get(path)
        if file is not None:
            copies.append(f"{path}.{stamp}")
            host.write(copies[-1], file._replace(mode=file.mode & 0o700) if daemon_proxy.holds_secret(path, file) else file)
    return copies


def restart_alone(host: Host, daemon: Daemon, timeout: int) -> str:
    """Restart the daemon with its current files; '' or its message if it does not come up."""
    log_position = _log(host, daemon)
    problem = _start(host, daemon, daemon.reload_needed, timeout)
    if not problem and not _answer(host, daemon, timeout):
        problem = f"It did not answer within {timeout} s."
    return problem and (_last_messages(host, daemon, log_position) or problem)


def forget(host: Host, record: Record) -> None:
    """After undo: remove folders that we created if they are empty, and the record."""
    for folder in sorted(record.note("folders") or [], key=len, reverse=True):
        host.remove_folder(folder)
    record.forget()


def _restore(host: Host, before: Changes) -> None:
    """Only files that differ: if one write fails, the next would too."""
    apply(host, {path: file for path, file in before.items() if host.read(path) != file})


def _roll_back(host: Host, record: Record, before: Changes, new_folders: t.Collection[str]) -> None:
    """Restore files, folders and record: nothing must remain of a change that did not hold."""
    _restore(host, before)
    for folder in sorted(new_folders, key=len, reverse=True):
        host.remove_folder(folder)
    record.take_back()


def _new_folders(host: Host, changes: Changes) -> t.Set[str]:
    folders = {path.rpartition("/")[0] for path, file in changes.items() if file is not None}
    return {folder for folder in folders if not host.exists(folder)}


def _units(changes: Changes, daemon: Daemon) -> t.List[str]:
    return [path for path in changes if daemon.systemd and path.endswith((".conf", ".service"))]


def _reload_units(host: Host) -> None:
    host.run(["systemctl", "daemon-reload"])


def _start(host: Host, daemon: Daemon, reload_units: bool, timeout: int) -> str:
    """Restart the service; '' or the error."""
    if not daemon.systemd:
        done = host.run(["service", daemon.service, "restart"], timeout=timeout)
        return "" if done.code == 0 else done.text
    if reload_units:
        _reload_units(host)
    # docker.service allows three starts within a minute; our restart must not exceed that.
    host.run(["systemctl", "reset-failed", f"{daemon.service}.service", f"{daemon.service}.socket"])
    done = host.run(["systemctl", "restart", f"{daemon.service}.service"], timeout=timeout)
    return "" if done.code == 0 else done.text


def _answer(host: Host, daemon: Daemon, timeout: int) -> t.Dict[str, t.Any]:
    since = host.now()
    while True:
        info = host.engine_api("/info", timeout=max(1.0, min(30.0, since + timeout - host.now())))
        # Without systemd nothing reports that the daemon ended, and nothing starts it again.
        ended = not daemon.systemd and host.now() > since + 3 and not host.process(pid_file(host, daemon.service))
        if info or ended or host.now() > since + timeout:
            return info or {}
        host.sleep(0.1)


def _log_name(daemon: Daemon) -> str:
    return f"journalctl -u {daemon.service}" if daemon.systemd else f"/var/log/{daemon.service}.log"


def _log(host: Host, daemon: Daemon) -> float:
    """The position in the log after which new messages of the daemon appear."""
    if daemon.systemd:
        return host.now()
    file = host.read(_log_name(daemon))
    return len(file.contents) if file else 0


def _last_messages(host: Host, daemon: Daemon, since: float) -> str:
    """The daemon's own last messages about why it does not start."""
    if daemon.systemd:
        text = host.run(["journalctl", "-u", f"{daemon.service}.service", "--since", f"@{int(since)}", "-o", "cat", "--no-pager", "-n", "200"]).out
    else:
        file = host.read(_log_name(daemon))
        text = file.contents[int(since) :].decode(errors="replace") if file else ""
    found = [line for line in text.splitlines() if _DECISIVE.search(line)]
    unique = list(dict.fromkeys(line for line in found if "systemd" not in line))
    return " | ".join(unique[-3:])
