"""When certificates end: those in PEM files, and those that servers show."""

import socket
import ssl
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from serving.doctor.reading import Expiry

WITHIN_S = 3.0


def expiries(places: Iterable[str], now: datetime) -> tuple[Expiry, ...]:
    """Of each place (a file, or host:port) when its certificate ends; one that cannot be read has ended."""
    return tuple(_expiry(place, now) for place in places)


def _expiry(place: str, now: datetime) -> Expiry:
    from cryptography import x509  # heavy, and only where certificates are named

    try:
        pem = Path(place).read_bytes() if "/" in place else _shown_by(place)
        ends = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except (OSError, ValueError) as problem:
        return Expiry(name=f"certificate {place} (cannot be read: {problem})", left_s=0.0)
    return Expiry(name=f"certificate {place}", left_s=(ends - now).total_seconds())


def _shown_by(place: str) -> bytes:
    host, _, port = place.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its end is what is asked, not its word
    with (
        socket.create_connection((host, int(port)), timeout=WITHIN_S) as connection,
        context.wrap_socket(connection, server_hostname=host) as secure,
    ):
        shown = secure.getpeercert(binary_form=True)
    return ssl.DER_cert_to_PEM_cert(shown or b"").encode()
