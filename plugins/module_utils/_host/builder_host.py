# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host for a module that manages builders: programs of a user, and files in a container."""

from __future__ import annotations

import http.client
import io
import tarfile
import typing as t
from urllib.parse import quote

from ansible_collections.buildfleet.docker.plugins.module_utils._host.build_host import BuildHost
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import HostError, UnixConnection


class BuilderHost(BuildHost):
    def container_files(self, name: str, folder: str, sock: str = "/run/docker.sock", timeout: float = 30) -> t.Dict[str, bytes]:
        """The files below a folder of a container, running or not, by their path in it; empty if there is no such folder."""
        connection = UnixConnection(sock, timeout)
        try:
            connection.request("GET", f"/containers/{quote(name, safe='')}/archive?path={quote(folder)}")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                return {}
            with tarfile.open(fileobj=io.BytesIO(body)) as archive:
                streams = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive.getmembers() if member.isfile()}
                return {path: stream.read() for path, stream in streams.items() if stream}
        except (OSError, http.client.HTTPException, tarfile.TarError) as error:
            raise HostError(f"The files of the container {name} cannot be read: {error}. Check that Docker runs, then run this again.") from error
        finally:
            connection.close()
