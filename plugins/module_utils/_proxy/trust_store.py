# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store of trusted authorities of the operating system: where it is, and what it contains."""

from __future__ import annotations

import base64
import re
import typing as t

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----")


class NoCertificate(Exception):
    """The text is not a PEM certificate; a complete sentence."""


class Store(t.NamedTuple):
    """Dockerd, the docker command and buildx read the bundle (Go, crypto/x509/root_linux.go)."""

    folder: str  # where an administrator adds certificates
    anchor: str  # our file in it
    bundle: str  # what the update command writes
    update: t.Tuple[str, ...]
    renew: t.Tuple[str, ...]  # the update after a removal: Debian's leaves its links behind otherwise


STORES = (
    Store(
        "/usr/local/share/ca-certificates",
        "/usr/local/share/ca-certificates/buildfleet-proxy-ca.crt",
        "/etc/ssl/certs/ca-certificates.crt",
        ("update-ca-certificates",),
        ("update-ca-certificates", "--fresh"),
    ),
    Store(
        "/etc/pki/ca-trust/source/anchors",
        "/etc/pki/ca-trust/source/anchors/buildfleet-proxy-ca.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        ("update-ca-trust", "extract"),
        ("update-ca-trust", "extract"),
    ),
)


def certificates(pem: str) -> t.List[bytes]:
    """The certificates of a text in DER; NoCertificate if one is damaged."""
    found = []
    for body in _CERTIFICATE.findall(pem):
        try:
            der = base64.b64decode("".join(body.split()), validate=True)
        except ValueError:  # no base64, or not ASCII
            der = b""
        if not _whole(der):
            raise NoCertificate("certificate: the text between BEGIN CERTIFICATE and END CERTIFICATE is damaged. Use the authority's file unchanged.")
        found.append(der)
    return found


def wanted(pem: str) -> str:
    """Only the certificates, without the remarks that tools write around them."""
    if "PRIVATE KEY-----" in pem:
        raise NoCertificate("certificate contains a private key, which must stay on the proxy. Set only the authority's certificate.")
    found = certificates(pem)
    if not found:
        raise NoCertificate("certificate must be the authority's certificate in PEM, which begins with -----BEGIN CERTIFICATE-----.")
    return "".join(_pem(der) for der in found)


def trusted(pem: str, bundle: str) -> bool:
    """Whether the bundle contains every certificate of the text."""
    bodies = {"".join(body.split()) for body in _CERTIFICATE.findall(bundle)}
    return all(base64.b64encode(der).decode() in bodies for der in certificates(pem))


def _pem(der: bytes) -> str:
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def _whole(der: bytes) -> bool:
    """One DER sequence, cut to the length that it states."""
    if len(der) < 4 or der[0] != 0x30 or der[1] & 0x80 == 0:
        return False
    size = der[1] & 0x7F
    return len(der) == 2 + size + int.from_bytes(der[2 : 2 + size], "big")
