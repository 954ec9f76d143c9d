# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only access to the host: files, programs and the engine's API. Tests use a fake."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import json
import os
import pwd
import re
import socket
import ssl
import stat
import subprocess
import tempfile
import threading
import time
import typing as t
import urllib.error
import urllib.request

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer

# Ansible's run_command has no timeout, cannot set a whole environment, and cannot end a process group.
# pylint: disable=ansible-bad-function


# Why a file for which can_write is false was not written.
CANNOT_WRITE = "cannot be written: it is not a regular file, or it or its folder is read-only, immutable, a mount, or not yours (set become: true)"


_REMEDIES = {
    errno.EACCES: "Set become: true.",
    errno.EPERM: "Set become: true; lsattr shows whether it is immutable.",
    errno.EROFS: "Mount its file system with write access.",
    errno.ENOSPC: "Free space there (df).",
    errno.EISDIR: "Move the directory away.",
    errno.ENOTDIR: "Move the file away that has the name of a directory.",
}


class HostError(Refused):
    """The host refused; the message is a complete sentence."""


def _cannot(path: str, action: str, error: OSError) -> HostError:
    remedy = _REMEDIES.get(error.errno or 0, "Correct that, then run this again.")
    return HostError(f"{path} cannot be {action}: {error.strerror}. {remedy}")


class Run(t.NamedTuple):
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return (self.out + self.err).strip()


def transport(error: t.Any) -> str:
    """Why a web server could not be reached, in a word."""
    if isinstance(error, ssl.SSLCertVerificationError):
        known = {"match": "wrong name", "expired": "expired certificate", "not yet valid": "certificate of the future"}
        return next((reason for phrase, reason in known.items() if phrase in error.verify_message), "unknown authority")
    tunnel = re.match(r"Tunnel connection failed: (\d+)", str(error))
    if tunnel:
        return f"proxy status {tunnel[1]}"
    for kind, reason in ((ssl.SSLError, "tls"), (socket.gaierror, "dns"), (ConnectionRefusedError, "refused"), (socket.timeout, "timeout")):
        if isinstance(error, kind):
            return reason
    return "reset"


def _path() -> str:
    """Our PATH and root's: dockerd --validate looks for its proxy there, and a user's PATH has no sbin."""
    return ":".join(filter(None, (os.environ.get("PATH"), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")))


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _KeepsSecrets(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: t.Any) -> t.Optional[urllib.request.Request]:
        """Without headers to another host: each may be a login."""
        old, new = arguments[0], super().redirect_request(*arguments)
        if new and (new.type, new.host) != (old.type, old.host):
            new.headers = {"Accept": new.get_header("Accept", "*/*")}
        return new


class Host:
    """This machine. ``label`` gives a new file the SELinux context of the path that it will have.

    AnsibleModule.atomic_move is not enough: it makes a new file readable by everyone for a moment.
    """

    def __init__(self, label: t.Optional[t.Callable[[str, str], t.Any]] = None) -> None:
        self._label = label

    def read(self, path: str) -> t.Optional[File]:
        """The file at the path, links followed; None if there is none."""
        try:
            with open(path, "rb") as handle:
                status = os.fstat(handle.fileno())
                return File(handle.read(), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError as error:
            raise HostError(f"{path} is a directory, but a file belongs there. Move it away.") from error
        except OSError as error:
            raise _cannot(path, "read", error) from error

    def is_folder(self, path: str) -> bool:
        return os.path.isdir(path)

    def write(self, path: str, file: File) -> None:
        """The whole file or nothing: written beside it, synced, renamed, the directory synced.

        A symbolic link stays: the file that it points to is replaced.
        """
        target = self._regular(path, "written")
        folder = os.path.dirname(target)
        temporary = ""
        try:
            self._make_folder(folder)
            handle, temporary = tempfile.mkstemp(prefix=f".buildfleet-{os.getpid()}-", dir=folder)
            with os.fdopen(handle, "wb") as stream:
                stream.write(file.contents)
                if (os.fstat(stream.fileno()).st_uid, os.fstat(stream.fileno()).st_gid) != (file.uid, file.gid):
                    os.fchown(stream.fileno(), file.uid, file.gid)
                self._copy_attributes(target, stream.fileno())
                os.fchmod(stream.fileno(), file.mode)
                stream.flush()
                os.fsync(stream.fileno())
            if self._label:
                self._label(temporary, target)
            os.replace(temporary, target)
            self._sync_folder(folder)
        except OSError as error:
            raise _cannot(path, "written", error) from error
        finally:
            if temporary and os.path.exists(temporary):
                os.unlink(temporary)

    @staticmethod
    def _regular(path: str, action: str) -> str:
        """Where the path leads; a device such as /dev/null, to which a link may lead, must never be replaced."""
        target = os.path.realpath(path)
        if os.path.exists(target) and not os.path.isfile(target) and not os.path.isdir(target):
            raise HostError(f"{path} cannot be {action}: {target} is not a regular file. Use another path.")
        return target

    @staticmethod
    def _copy_attributes(source: str, handle: int) -> None:
        """Access control lists and the user's own attributes of a file that is replaced; its label is set by SELinux's rules."""
        with contextlib.suppress(OSError):  # there is no such file yet, or its file system has none
            for name in os.listxattr(source):
                if not name.startswith("security."):
                    os.setxattr(handle, name, os.getxattr(source, name))

    def sweep(self, paths: t.Iterable[str]) -> None:
        """Remove temporary files of killed runs beside them; they may contain a password."""
        for folder in sorted({os.path.dirname(os.path.realpath(path)) for path in paths}):
            for name in self.names(folder):
                match = re.match(r"\.buildfleet-(\d+)-", name)
                if match and not self.exists(f"/proc/{match[1]}"):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(os.path.join(folder, name))  # the name itself, even if it is a link

    def remove(self, path: str) -> None:
        target = self._regular(path, "removed")
        try:
            os.unlink(target)
            self._sync_folder(os.path.dirname(target))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _cannot(path, "removed", error) from error

    def remove_folder(self, path: str) -> None:
        """Remove the folder if it is empty."""
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT, errno.EEXIST, errno.ENOTDIR):
                raise _cannot(path, "removed", error) from error

    def make_private_folder(self, folder: str) -> None:
        """A folder that only its owner may enter."""
        try:
            self._make_folder(folder)
            if not os.path.isdir(folder):
                raise HostError(f"{folder} cannot be created: a file has its name. Move it away.")
            os.chmod(folder, 0o700)
        except OSError as error:
            raise _cannot(folder, "created", error) from error

    def names(self, folder: str) -> t.List[str]:
        """The sorted names in a folder; empty if it does not exist."""
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _cannot(folder, "read", error) from error

    def missing_folders(self, path: str) -> t.List[str]:
        """The folders that a write of this file would create, also where a link points to."""
        folder, missing = os.path.dirname(os.path.realpath(path)), []
        while not os.path.exists(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        return missing

    def links(self, folder: str) -> t.List[str]:
        """The targets of the links in a folder; empty if it does not exist."""
        return [target for target in (self.link(os.path.join(folder, name)) for name in self.names(folder)) if target]

    def link(self, path: str) -> str:
        """The target of the link; '' if it is none, or was removed in the meantime."""
        try:
            return os.readlink(path)
        except OSError:
            return ""

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def can_write(self, path: str) -> bool:
        """Whether we may create or replace the file with our current rights."""
        target = os.path.realpath(path)
        folder = os.path.dirname(target)
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        return os.access(folder, os.W_OK | os.X_OK, effective_ids=True) and not self._fixed(target)

    def _fixed(self, path: str) -> bool:
        """Whether not even root can replace this file: it is immutable or read-only, a mount of its own, or a device."""
        if not os.path.exists(path):
            return False
        if not os.path.isfile(path):
            return True
        if os.geteuid() == 0 and not os.access(path, os.W_OK, effective_ids=True):
            return True
        mounts = self.read("/proc/self/mountinfo")
        return mounts is not None and f" {path} ".encode() in mounts.contents

    def changed_at(self, path: str) -> float:
        """When the file's contents or attributes last changed, seconds since the epoch; 0 if it does not exist."""
        try:
            status = os.stat(path)
        except OSError:
            return 0.0
        # Anybody may set st_mtime, also to a time that has not come yet.
        return status.st_ctime if status.st_mtime > self.now() else max(status.st_mtime, status.st_ctime)

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def process(self, pid: int) -> t.List[str]:
        """The command line of a process; [] if it has ended."""
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as handle:
                return handle.read().decode(errors="replace").rstrip("\0").split("\0")
        except OSError:
            return []

    def parent(self, pid: int) -> int:
        """The parent of this process; 0 if it has ended."""
        try:
            with open(f"/proc/{pid}/stat", "rb") as handle:
                return int(handle.read().rpartition(b")")[2].split()[1])
        except OSError:
            return 0

    @contextlib.contextmanager
    def lock(self, path: str) -> t.Iterator[None]:
        """One run at a time."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise HostError(f"{path} cannot be locked: {error.strerror}. This module needs become: true.") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise HostError(f"This module is already running on this host ({path} is locked). Retry when it finishes.") from error
        finally:
            os.close(handle)

    def run(
        self,
        argv: t.Sequence[str],
        env: t.Optional[t.Mapping[str, str]] = None,
        cwd: t.Optional[str] = None,
        timeout: float = 60,
        stdin: str = "",
    ) -> Run:
        """Run a program without a shell; env is the whole environment (None: ours, in the C locale)."""
        try:
            done = subprocess.run(
                list(argv),
                env={**os.environ, "LC_ALL": "C", "PATH": _path()} if env is None else dict(env),
                cwd=cwd,
                timeout=timeout,
                input=stdin.encode(),
                capture_output=True,
                check=False,
            )
        except FileNotFoundError:
            return Run(127, "", f"{argv[0]}: not found")
        except subprocess.TimeoutExpired as late:
            return Run(
                124, (late.stdout or b"").decode(errors="replace"), (late.stderr or b"").decode(errors="replace") + f"\n{argv[0]}: no end within {timeout:g} s"
            )
        except OSError as error:
            raise HostError(f"{argv[0]} cannot be run: {error.strerror}. Make it executable.") from error
        return Run(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def run_parallel(self, calls: t.Mapping[str, t.Callable[[], t.Any]], timeout: float) -> t.Dict[str, t.Any]:
        """The results of these calls, run in parallel; late and failed ones are missing."""
        results: t.Dict[str, t.Any] = {}

        def make(name: str) -> None:
            with contextlib.suppress(HostError):
                results[name] = calls[name]()

        threads = [threading.Thread(target=make, args=(name,), daemon=True) for name in calls]
        until = time.monotonic() + timeout
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return dict(results)

    def user(self) -> str:
        """The name of the user who runs this."""
        try:
            return pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            return str(os.geteuid())

    def home(self, user: str) -> str:
        try:
            return pwd.getpwnam(user).pw_dir
        except KeyError as error:
            raise HostError(f"There is no user {user} on this host. Create the user first, or correct the name.") from error

    def http_get(self, url: str, headers: t.Mapping[str, str], timeout: float = 5) -> Answer:
        """The response to a GET, requested directly, without any proxy."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _KeepsSecrets())
        try:
            with opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=timeout) as answer:
                return Answer(answer.status, dict(answer.headers.items()))
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers.items()))
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(0, {}, transport(getattr(error, "reason", error)))

    def speaks_plain_http(self, server: str, port: int, timeout: float = 1.5) -> bool:
        """Whether this port speaks plain HTTP, and not TLS."""
        try:
            connection = socket.create_connection((server, port), timeout)
        except OSError:
            return False
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent
        try:
            with context.wrap_socket(connection):
                return False
        except OSError:
            connection.close()
        with contextlib.suppress(OSError), socket.create_connection((server, port), timeout) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(5) == b"HTTP/"
        return False

    def engine_api(self, path: str, method: str = "GET", sock: str = "/run/docker.sock", timeout: float = 10) -> t.Any:
        """The engine's answer to an API request as parsed JSON; None when it does not answer."""
        connection = UnixConnection(sock, timeout)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status >= 300:
                return None
            return json.loads(body) if body.strip().startswith((b"{", b"[")) else body.decode(errors="replace")
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def _make_folder(self, folder: str) -> None:
        if not os.path.isdir(folder):
            self._make_folder(os.path.dirname(folder))
            with contextlib.suppress(FileExistsError):  # another run created it just now
                os.mkdir(folder, 0o755)
            self._sync_folder(os.path.dirname(folder))

    @staticmethod
    def _sync_folder(folder: str) -> None:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
