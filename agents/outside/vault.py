"""Encrypts people's secrets: AES-256-GCM under a key from the environment, each bound to its owner.

The key is derived by HKDF-SHA256 (RFC 5869) from BONDHU_TOKENS_KEY, any text of at least 32 characters. A secret that
was moved to another person's or service's row cannot be decrypted.
"""

import os
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from storage.memory.owner import Owner

MIN_KEY = 32  # characters
NONCE_BYTES = 12


class Locked(Exception):
    """A secret cannot be decrypted: it was made with another key, or for another owner."""


class Vault:
    """Encrypts and decrypts; raises ValueError for a key that is too short."""

    def __init__(self, key: str) -> None:
        if len(key) < MIN_KEY:
            raise ValueError(f"BONDHU_TOKENS_KEY: at least {MIN_KEY} characters")
        derived = HKDF(SHA256(), 32, salt=None, info=b"bondhu service tokens").derive(key.encode())
        self._cipher = AESGCM(derived)

    def lock(self, owner: Owner, service: str, secret: dict[str, Any]) -> bytes:
        """The secret, encrypted."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, orjson.dumps(secret), _bound_to(owner, service))

    def open(self, owner: Owner, service: str, locked: bytes) -> dict[str, Any]:
        """The secret; raises Locked."""
        try:
            plain = self._cipher.decrypt(locked[:NONCE_BYTES], locked[NONCE_BYTES:], _bound_to(owner, service))
        except InvalidTag as problem:
            raise Locked(service) from problem
        found: dict[str, Any] = orjson.loads(plain)
        return found


def _bound_to(owner: Owner, service: str) -> bytes:
    return orjson.dumps([owner.app, owner.user, service])
