# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The start of a daemon: what blocks a restart, a trial start with new files, the restart itself, and what the daemon says about it."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Changes, Files
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.busy import busy, play_inside
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon, PlanRefused, config, flags, next_start, without_flags
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.observe import pid_file
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.problems import check_start
from ansible_collections.buildfleet.docker.plugins.module_utils._formats.json_file import drop
from ansible_collections.buildfleet.docker.plugins.module_utils._host import systemd
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, Run

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


class Restart(t.NamedTuple):
    """Whether a restart is due, and what blocks it now."""

    due: bool
    pending: str

    @property
    def now(self) -> bool:
        return self.due and not self.pending


def restart_blocker(host: Host, daemon: Daemon, policy: str) -> str:
    """What blocks a restart that is due; '' if nothing does."""
    if policy == "never":
        return "restart: never"
    manual = systemd.show(host, f"{daemon.service}.service", "RefuseManualStart", "RefuseManualStop") if daemon.systemd else {}
    refused = next((name for name in ("RefuseManualStart", "RefuseManualStop") if manual.get(name) == "yes"), "")
    if refused:
        unit = f"{daemon.service}.service"
        return f"systemd does not restart {unit} on request ({refused}=yes, see systemctl cat {daemon.service}). It takes effect with the next boot"
    container = play_inside(host, daemon)
    if container:
        return f"this play itself runs in the container {container} of this daemon, which a restart would end. Run it elsewhere, or enable live-restore"
    if policy == "if_needed":
        return ""
    if not daemon.up and daemon.state == "active":
        return "the daemon runs but does not answer, so it is unknown whether it is idle"
    return busy(host, daemon)


def trial_start(host: Host, daemon: Daemon, changes: Changes, timeout: int, ours: t.Collection[str] = ()) -> str:
    """Start a second daemon in namespaces and folders of its own, with the planned files.

    Only if a file changed since the daemon started: an error in it would stop the next start,
    --validate misses some (an unknown runtime), and a rollback cannot help, because the old file does not start either.
    Returns why a trial cannot tell, '' if it can; files that only we changed need no trial then.
    """
    changed = [path for path, at in daemon.changed.items() if at > daemon.started]
    if not daemon.up or not changed:
        return ""
    files = {**daemon.files, **changes}
    check_start(daemon, files)
    argv = next_start(daemon, files).argv
    of_the_host = sorted(_OF_THE_HOST & {*config(files, daemon.config_file).value, *flags(argv)})
    trial = without_flags(argv, _OWN)
    done = (
        host.run(
            [*_ALONE, "sh", "-c", _TRIAL_START, "sh", str(timeout), *trial],
            stdin=_without_keys(files, daemon.config_file, _OWN).decode(errors="replace"),
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
        raise PlanRefused(
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


def restart_alone(host: Host, daemon: Daemon, timeout: int) -> str:
    """Restart the daemon with its current files; '' or its message if it does not come up."""
    position = log_position(host, daemon)
    problem = restart_service(host, daemon, daemon.reload_needed, timeout)
    if not problem and not wait_for_answer(host, daemon, timeout):
        problem = f"It did not answer within {timeout} s."
    return problem and (last_messages(host, daemon, position) or problem)


def restart_service(host: Host, daemon: Daemon, units_changed: bool, timeout: int) -> str:
    """Restart the service; '' or the error."""
    if not daemon.systemd:
        done = host.run(["service", daemon.service, "restart"], timeout=timeout)
        return "" if done.code == 0 else done.text
    if units_changed:
        reload_units(host)
    # docker.service allows three starts within a minute; our restart must not exceed that.
    host.run(["systemctl", "reset-failed", f"{daemon.service}.service", f"{daemon.service}.socket"])
    done = host.run(["systemctl", "restart", f"{daemon.service}.service"], timeout=timeout)
    return "" if done.code == 0 else done.text


def reload_units(host: Host) -> None:
    host.run(["systemctl", "daemon-reload"])


def wait_for_answer(host: Host, daemon: Daemon, timeout: int) -> t.Dict[str, t.Any]:
    since = host.now()
    while True:
        info = host.engine_api("/info", timeout=max(1.0, min(30.0, since + timeout - host.now())))
        # Without systemd nothing reports that the daemon ended, and nothing starts it again.
        ended = not daemon.systemd and host.now() > since + 3 and not host.process(pid_file(host, daemon.service))
        if info or ended or host.now() > since + timeout:
            return info or {}
        host.sleep(0.1)


def log_name(daemon: Daemon) -> str:
    return f"journalctl -u {daemon.service}" if daemon.systemd else f"/var/log/{daemon.service}.log"


def log_position(host: Host, daemon: Daemon) -> float:
    """The position in the log after which new messages of the daemon appear."""
    if daemon.systemd:
        return host.now()
    file = host.read(log_name(daemon))
    return len(file.contents) if file else 0


def last_messages(host: Host, daemon: Daemon, since: float) -> str:
    """The daemon's own last messages about why it does not start."""
    if daemon.systemd:
        text = host.run(["journalctl", "-u", f"{daemon.service}.service", "--since", f"@{int(since)}", "-o", "cat", "--no-pager", "-n", "200"]).out
    else:
        file = host.read(log_name(daemon))
        text = file.contents[int(since) :].decode(errors="replace") if file else ""
    decisive = [line for line in text.splitlines() if _DECISIVE.search(line)]
    unique = list(dict.fromkeys(line for line in decisive if "systemd" not in line))
    return " | ".join(unique[-3:])


def _without_keys(files: Files, path: str, names: t.Iterable[str]) -> bytes:
    """daemon.json without these keys; every other byte as it is."""
    file = files.get(path)
    contents = file.contents if file else b"{}"
    for name in names:
        contents = drop(contents, path, [name])
    return contents
