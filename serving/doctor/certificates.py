"""Reads when certificates expire: from PEM files and from servers."""

import socket
import ssl
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from serving.doctor.reading import Expiry

CONNECT_TIMEOUT_S = 3.0


def expiries(addresses: Iterable[str], now: datetime) -> tuple[Expiry, ...]:
    """Return the expiry of each certificate in a file or at host:port; an unreadable one counts as expired."""
    return tuple(_expiry(address, now) for address in addresses)


def _expiry(address: str, now: datetime) -> Expiry:
    from cryptography import x509  # heavy, and only needed if certificates are configured

    try:
        pem = Path(address).read_bytes() if "/" in address else _pem_of(address)
        expires_at = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except (OSError, ValueError) as problem:
        return Expiry(name=f"certificate {address} (cannot be read: {problem})", left_s=0.0)
    return Expiry(name=f"certificate {address}", left_s=(expires_at - now).total_seconds())


def _pem_of(address: str) -> bytes:
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only its expiry is read
    with (
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S) as connection,
        context.wrap_socket(connection, server_hostname=host) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True)
    return ssl.DER_cert_to_PEM_cert(certificate or b"").encode()
