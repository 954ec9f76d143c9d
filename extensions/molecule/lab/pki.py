# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's certificate authority and the certificate of each service that speaks TLS."""

from __future__ import annotations

import tempfile
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


# Certificates of the host's own servers (inside/fault_server.py): the signing authority, validity, and whether the name is among the SANs.
FAULTY_NAMES = ("registry.lab", "tls-proxy.lab")
FAULTY = {
    "expired": ("ca", "20200101000000Z", "20210101000000Z", True),
    "early": ("ca", "20480101000000Z", "20490101000000Z", True),  # as every certificate is for a host whose clock is behind
    "no-sans": ("ca", "20200101000000Z", "20490101000000Z", False),
    "untrusted": ("intercept-ca", "20200101000000Z", "20490101000000Z", True),
    "good": ("ca", "20200101000000Z", "20490101000000Z", True),  # the fault is elsewhere
}
_SIGNING = """[ca]
default_ca = lab
[lab]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""


def faulty(name: str) -> str:
    """A certificate of FAULTY with its key."""
    whole = PKI / f"{name}.pem"
    if not whole.exists():
        signer, first, last, named = FAULTY[name]
        with tempfile.TemporaryDirectory() as folder:
            key, request, signed, rules, extensions = (Path(folder) / part for part in ("key", "request", "signed", "rules", "extensions"))
            (Path(folder) / "index").touch()
            rules.write_text(_SIGNING.format(folder=folder))
            extensions.write_text(f"subjectAltName={','.join(f'DNS:{host}' for host in FAULTY_NAMES)}\n" if named else "basicConstraints=CA:FALSE\n")
            run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={FAULTY_NAMES[0]}", "-keyout", str(key), "-out", str(request))
            run(
                "openssl", "ca", "-batch", "-notext", "-config", str(rules), "-extfile", str(extensions), "-in", str(request), "-out", str(signed),
                "-cert", str(PKI / f"{signer}.crt"), "-keyfile", str(PKI / f"{signer}.key"), "-startdate", first, "-enddate", last,
            )  # fmt: skip
            whole.write_text(signed.read_text() + key.read_text())
    return whole.read_text()


def issue() -> Path:
    authority("ca", "buildfleet lab")
    authority("intercept-ca", "a company that reads along")
    for name, service in SERVICES.items():
        if service.tls:
            certificate(name, service)
    for name in OTHER_HOSTS:
        certificate(name, Service("", (f"{name}.lab",)))
    return PKI
