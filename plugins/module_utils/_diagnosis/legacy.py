# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a Dockerfile uses that the legacy builder does not support, detected before the build."""

from __future__ import annotations

import re

_PLATFORM = "(?:BUILD|TARGET)(?:PLATFORM|OS|ARCH|VARIANT)"
_BUILDKIT_ONLY = (
    (r"^\s*(?:ONBUILD\s+)?RUN\s+(?:--\S+\s+)*(--(?:mount|network|security))\b", "RUN {1}"),
    (r"^\s*(?:ONBUILD\s+)?(?:COPY|ADD)\s+(?:--\S+\s+)*(--(?:chmod|link|checksum|exclude|parents|keep-git-dir|unpack))\b", "COPY {1}"),
    (r"""^\s*(?:ONBUILD\s+)?(?:RUN|COPY|ADD)\b.*\s\d*(<<)-?["']?[A-Za-z_]\w*["']?(?=\s|$)""", "heredocs"),
    (rf"^\s*FROM\s.*\$\{{?({_PLATFORM})\b", "${1}"),
    (rf"^\s*ARG\s+({_PLATFORM})\s*$", "${1}"),  # it is silently empty there
)


def legacy_cannot(dockerfile: str) -> str:
    """What a Dockerfile uses that the legacy builder does not support ('' if nothing): it silently ignores the body of a heredoc."""
    text = re.sub(r"\\[ \t]*\r?\n(?:[ \t]*#[^\n]*\n)*", " ", dockerfile)
    for pattern, name in _BUILDKIT_ONLY:
        match = re.search(pattern, text, re.M | re.I)
        if match and not (name == "${1}" and re.search(rf"^\s*ARG\s+{match.group(1)}=", text, re.M | re.I)):
            return name.replace("{1}", match.group(1))
    return ""
