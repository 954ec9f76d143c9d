# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.trust_store import NoCertificate, trusted, wanted


def pem(der, line="\n", width=64):
    text = base64.b64encode(der).decode()
    rows = [text[at : at + width] for at in range(0, len(text), width)]
    return line.join(["-----BEGIN CERTIFICATE-----", *rows, "-----END CERTIFICATE-----", ""])


ONE, TWO = (b"\x30\x82\x01\x00" + bytes([mark]) * 256 for mark in (1, 2))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (pem(ONE), pem(ONE)),
        (pem(ONE, "\r\n"), pem(ONE)),
        (pem(ONE, width=76), pem(ONE)),
        (f"subject=CN = proxy\n{pem(ONE)}remark\n{pem(TWO)}", pem(ONE) + pem(TWO)),
    ],
    ids=["as it is", "from Windows", "long lines", "a chain with remarks"],
)
def test_the_certificates_alone_are_kept(given, kept):
    assert wanted(given) == kept
    assert wanted(kept) == kept


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("", "certificate must be the authority's certificate in PEM, which begins with -----BEGIN CERTIFICATE-----."),
        ("company-ca.pem", "certificate must be the authority's certificate in PEM, which begins with -----BEGIN CERTIFICATE-----."),
        (
            f"{pem(ONE)}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "certificate contains a private key, which must stay on the proxy. Set only the authority's certificate.",
        ),
        (
            pem(ONE[:-1]),
            "certificate: the text between BEGIN CERTIFICATE and END CERTIFICATE is damaged. Use the authority's file unchanged.",
        ),
        (
            pem(ONE).replace("EB", "**"),
            "certificate: the text between BEGIN CERTIFICATE and END CERTIFICATE is damaged. Use the authority's file unchanged.",
        ),
        (
            pem(ONE).replace("EB", "\u00e9B"),
            "certificate: the text between BEGIN CERTIFICATE and END CERTIFICATE is damaged. Use the authority's file unchanged.",
        ),
    ],
)
def test_what_is_no_certificate_is_refused(given, sentence):
    with pytest.raises(NoCertificate) as refusal:
        wanted(given)
    assert str(refusal.value) == sentence


def test_a_store_trusts_what_it_has_however_it_is_written():
    assert trusted(pem(ONE), f"# remark\n{pem(TWO)}\n{pem(ONE, width=76)}")
    assert not trusted(pem(ONE) + pem(TWO), pem(ONE))
