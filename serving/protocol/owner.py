"""An end user as Redis knows them: digests, which tell nobody who it is."""

import hashlib

import orjson

OWNER_DIGITS = 48  # of `owner_of`


def owner_of(app: str, user: str | None) -> str:
    """Whose answers these are: hex digits that tell nobody who it is. A request without a user is the app's own."""
    who = orjson.dumps(app) + b"\0" + (b"" if user is None else b"=" + user.encode("utf-8", "surrogatepass"))
    return owners_of(app) + hashlib.blake2b(who, digest_size=16).hexdigest()


def owners_of(app: str) -> str:
    """What the names of all owners of an application begin with."""
    return hashlib.blake2b(orjson.dumps(app), digest_size=8).hexdigest()
