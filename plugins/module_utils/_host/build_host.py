# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host for a module that builds: programs that run long and start others, and the engine's data about builders."""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import HostError, Run, UnixConnection
from ansible_collections.buildfleet.docker.plugins.module_utils._host.web_host import WebHost

# pylint: disable=ansible-bad-function


def _become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


class BuildHost(WebHost):
    def run_group(self, argv: t.Sequence[str], env: t.Mapping[str, str], cwd: str, timeout: float, user: str = "") -> Run:
        """Run a program and end its whole process group when the time is up (code 124).

        Its output keeps the order in which it was written, standard error included, and a
        child that keeps the output open does not block us.
        """
        become = functools.partial(_become, user) if user and os.geteuid() == 0 else None
        with tempfile.TemporaryFile() as output:
            try:
                child = subprocess.Popen(
                    list(argv), env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, preexec_fn=become
                )
            except FileNotFoundError as error:
                return Run(127, "", f"{error.filename or argv[0]}: not found")
            except (OSError, subprocess.SubprocessError) as error:
                raise HostError(f"{argv[0]} cannot be run{' as ' + user if user else ''}: {error}. Make it executable.") from error
            code = 124
            try:
                code = child.wait(timeout)
            except subprocess.TimeoutExpired:
                self._end_group(child)
            except BaseException:
                self._end_group(child)
                raise
            output.seek(0)
            return Run(code, output.read().decode(errors="replace"), "")

    def buildx_history(self, builder: str, env: t.Mapping[str, str], user: str, timeout: float) -> t.Callable[..., Run]:
        """Runs `docker buildx history` with its arguments."""
        named = ["--builder", builder] if builder else []
        return lambda *arguments: self.run_group(["docker", "buildx", "history", *arguments, *named], env, "/", timeout, user)

    @staticmethod
    def _end_group(child: subprocess.Popen[bytes]) -> None:
        # The client cancels the build on SIGTERM; killed at once it could not.
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(5)

    @contextlib.contextmanager
    def folder(self, files: t.Mapping[str, str], user: str = "") -> t.Iterator[str]:
        """A temporary folder with these files, owned by the user if one is named."""
        with tempfile.TemporaryDirectory(prefix="buildfleet-") as path:
            for name, text in files.items():
                with open(os.path.join(path, name), "w", encoding="utf-8") as handle:
                    handle.write(text)
            if user and os.geteuid() == 0:
                entry = pwd.getpwnam(user)
                # The folder last: its owner could put a link there.
                for name in [*files, ""]:
                    os.chown(os.path.join(path, name), entry.pw_uid, entry.pw_gid)
            yield path

    def remove_tree(self, folder: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    def ping(self, sock: str = "/run/docker.sock", timeout: float = 10) -> t.Dict[str, str]:
        """The headers of the engine's answer to a ping; empty if it does not answer."""
        connection = UnixConnection(sock, timeout)
        try:
            connection.request("GET", "/_ping")
            return dict(connection.getresponse().headers.items())
        except (OSError, http.client.HTTPException):
            return {}
        finally:
            connection.close()

    def free(self, path: str) -> t.Optional[int]:
        """Free bytes on the file system of the path, if known."""
        try:
            filesystem = os.statvfs(path)
        except OSError:
            return None
        return filesystem.f_bavail * filesystem.f_frsize
