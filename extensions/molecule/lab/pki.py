# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's certificate authority and the certificate of each service that speaks TLS."""

from __future__ import annotations

from pathlib import Path

from shell import STATE, run
from table import OTHER_HOSTS, SERVICES, Service

PKI = STATE / "pki"


def authority(name: str, subject: str) -> None:
    if (PKI / f"{name}.crt").exists():
        return
    PKI.mkdir(parents=True, exist_ok=True)
    run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", f"/CN={subject}",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", str(PKI / f"{name}.key"), "-out", str(PKI / f"{name}.crt"),
    )  # fmt: skip


def certificate(name: str, service: Service) -> None:
    if (PKI / f"{name}.crt").exists():
        return
    key, request, extensions = PKI / f"{name}.key", PKI / f"{name}.csr", PKI / f"{name}.ext"
    extensions.write_text(f"subjectAltName={','.join(f'DNS:{host}' for host in service.names)}\n")
    run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={service.names[0]}", "-keyout", str(key), "-out", str(request))
    run(
        "openssl", "x509", "-req", "-days", "3650", "-in", str(request), "-CA", str(PKI / "ca.crt"), "-CAkey", str(PKI / "ca.key"),
        "-CAcreateserial", "-extfile", str(extensions), "-out", str(PKI / f"{name}.crt"),
    )  # fmt: skip


def issue() -> Path:
    authority("ca", "buildfleet lab")
    authority("intercept-ca", "a company that reads along")
    for name, service in SERVICES.items():
        if service.tls:
            certificate(name, service)
    for name in OTHER_HOSTS:
        certificate(name, Service("", (f"{name}.lab",)))
    return PKI
