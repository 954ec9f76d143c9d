# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Validate files of the daemon with the engine itself."""

from __future__ import annotations

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Files
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import engine_rules
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon, next_start, without_flags
from ansible_collections.buildfleet.docker.plugins.module_utils._formats.json_file import parsed
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host


def validation_error(host: Host, daemon: Daemon, files: Files) -> str:
    """The engine's own error about these files, with the unit's real flags; it reads the file from a pipe."""
    file = files.get(daemon.config_file)
    if file is None:
        return ""
    document = parsed(file.contents, daemon.config_file)
    if not versions.has("validate", daemon.engine):
        keys = engine_rules.unknown_keys(document, host.run(["dockerd", "--help"]).text) if daemon.engine else []
        message = engine_rules.unknown_keys_error(keys)
    else:
        argv = without_flags(next_start(daemon, files).argv, ("config-file",))
        if not argv:
            return ""
        done = host.run([*argv, "--validate", "--config-file", "/dev/stdin"], stdin=file.contents.decode(errors="replace"))
        message = "" if done.code in (0, 127) else done.text.replace("/dev/stdin", daemon.config_file)
    places = engine_rules.places(message, document)
    return f"{message} ({places})" if places else message
