"""Names of end users in Redis: digests, which do not reveal who the user is."""

import hashlib

import orjson

OWNER_DIGITS = 48  # of `owner_of`


def owner_of(app: str, user: str | None) -> str:
    """A digest of an application and its end user, in hex; requests without a user belong to the application."""
    who = orjson.dumps(app) + b"\0" + (b"" if user is None else b"=" + user.encode("utf-8", "surrogatepass"))
    return owners_of(app) + hashlib.blake2b(who, digest_size=16).hexdigest()


def owners_of(app: str) -> str:
    """The common prefix of all owners of an application."""
    return hashlib.blake2b(orjson.dumps(app), digest_size=8).hexdigest()
