"""Reads when certificates expire: from PEM files and from servers."""

import socket
import ssl
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from serving.doctor.reading import Expiry

CONNECT_TIMEOUT_S = 3.0


def expiries(places: Iterable[str], now: datetime) -> tuple[Expiry, ...]:
    """Return the expiry of each certificate in a file or at host:port; an unreadable one counts as expired."""
    return tuple(_expiry(place, now) for place in places)


def _expiry(place: str, now: datetime) -> Expiry:
    from cryptography import x509  # heavy, and only needed if certificates are configured

    try:
        pem = Path(place).read_bytes() if "/" in place else _pem_of(place)
        expires_at = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except (OSError, ValueError) as problem:
        return Expiry(name=f"certificate {place} (cannot be read: {problem})", left_s=0.0)
    return Expiry(name=f"certificate {place}", left_s=(expires_at - now).total_seconds())


def _pem_of(place: str) -> bytes:
    host, _, port = place.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only its expiry is read
    with (
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S) as connection,
        context.wrap_socket(connection, server_hostname=host) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True)
    return ssl.DER_cert_to_PEM_cert(certificate or b"").encode()
