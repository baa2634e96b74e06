"""The cluster's certificate authority, and what it signs."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trimtab.local.access.users import AUTHENTICATED, User

_LIFE = timedelta(days=3650)
_EARLIER = timedelta(hours=1)  # clocks of clients differ a little
_CA_NAME = "kubernetes"


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs the server's certificate and those of clients.

    Attributes:
        certificate: PEM; what clients trust.
        key: PEM, not encrypted.
    """

    certificate: bytes
    key: bytes

    @classmethod
    def new(cls, now: datetime) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _CA_NAME)])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_encipherment=True,
            key_cert_sign=True,
            crl_sign=False,
            content_commitment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _builder(name, name, key, now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(_pem(certificate), _key_pem(key))

    def server_context(self, names: Sequence[str], addresses: Sequence[str], now: datetime) -> ssl.SSLContext:
        """TLS for a server of these DNS names and IP addresses; clients may show a certificate of this authority."""
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        certificate, key = self._issued(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")]),
            ExtendedKeyUsageOID.SERVER_AUTH,
            now,
            alternatives,
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=self.certificate.decode("ascii"))
        context.verify_mode = ssl.CERT_OPTIONAL
        # The ssl module loads a key from a file only; this one exists for the moment of loading.
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(certificate + key)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def client_certificate(self, user: str, groups: Sequence[str], now: datetime) -> tuple[bytes, bytes]:
        """Certificate and key (PEM) of a user: the common name is the user, organizations are the groups."""
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        return self._issued(subject, ExtendedKeyUsageOID.CLIENT_AUTH, now)

    def _issued(
        self,
        subject: x509.Name,
        purpose: x509.ObjectIdentifier,
        now: datetime,
        alternatives: Sequence[x509.GeneralName] = (),
    ) -> tuple[bytes, bytes]:
        issuer = x509.load_pem_x509_certificate(self.certificate)
        signer = serialization.load_pem_private_key(self.key, None)
        if not isinstance(signer, ec.EllipticCurvePrivateKey):
            msg = "pki/ca.key is no elliptic-curve key; delete the folder pki to get new keys"
            raise TypeError(msg)
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject, issuer.subject, key, now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return _pem(builder.sign(signer, hashes.SHA256())), _key_pem(key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _LIFE)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def user_of(peer: Any) -> User | None:
    """The user of a client's verified certificate, as `ssl` describes it; None where none was shown."""
    return _user(peer["subject"]) if peer else None


@lru_cache(maxsize=256)
def _user(subject: tuple[tuple[tuple[str, str], ...], ...]) -> User | None:
    parts = [pair for part in subject for pair in part]
    name = next((value for kind, value in parts if kind == "commonName"), "")
    if not name:
        return None
    groups = tuple(value for kind, value in parts if kind == "organizationName")
    return User(name, (*groups, AUTHENTICATED))
