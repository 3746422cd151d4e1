"""Certificates for tests: an authority, a server certificate and a client certificate. Needs `cryptography`."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Certificates:
    """The PEM files that a server and its clients need to trust each other."""

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path

    def client_context(self, *, with_certificate: bool = True) -> ssl.SSLContext:
        """Return a context that trusts the authority and, `with_certificate`, shows the client certificate."""
        context = ssl.create_default_context(cafile=self.ca)
        if with_certificate:
            context.load_cert_chain(self.client_cert, self.client_key)
        return context


class Authority:
    """A certificate authority of its own, valid for a day, that writes what it issues into `directory`."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _subject("clusterd test authority")
        key_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = _builder(self._subject, self._subject, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_ca_usage(), critical=True).add_extension(key_id, critical=False)
        self.certificate = _write_certificate(directory / f"{name}.pem", builder.sign(self._key, hashes.SHA256()))
        self._key_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)

    def issue(self, name: str, *, hosts: Sequence[str] = (), common_name: str = "") -> tuple[Path, Path]:
        """Issue a certificate for these host names and addresses; return its file and that of its key.

        It serves servers and clients alike: etcd's gateway shows the server's to etcd itself. It has no CommonName
        unless one is given, because etcd takes that for a user name.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject(common_name), self._subject, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(self._key_id, critical=False)
        if hosts:
            names = x509.SubjectAlternativeName(map(_general_name, hosts))
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return (
            _write_certificate(self._directory / f"{name}.pem", certificate),
            _write_key(self._directory / f"{name}-key.pem", key),
        )


def make_certificates(directory: Path, *, hosts: Sequence[str] = LOOPBACK, client_name: str = "") -> Certificates:
    """Make an authority, a server certificate for `hosts`, and a client certificate, as files in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = Authority(directory)
    server = authority.issue("server", hosts=hosts)
    client = authority.issue("client", common_name=client_name)
    return Certificates(authority.certificate, *server, *client)


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))  # the clock of a container may be behind
        .not_valid_after(now + dt.timedelta(days=1))
    )


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(common_name: str) -> x509.Name:
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "clusterd tests")]
    if common_name:
        names.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(names)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_certificate(path: Path, certificate: x509.Certificate) -> Path:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(pem)
    return path
