"""One file: a gzipped tar, encrypted with age (https://age-encryption.org/v1) to public keys.

age authenticates each 64 KiB and marks the last block, so a changed or truncated file is detected. The file gets its
name when it is complete and on the disk. This module knows the meaning of the first two members only.
"""

import contextlib
import gzip
import os
import tarfile
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pyrage
from pydantic import ValidationError

from serving.backup.errors import BackupError, Damaged, Locked
from serving.backup.manifest import ERASURES, MANIFEST, ErasureList, Manifest

COMPRESS_LEVEL = 3
_UNREADABLE = (tarfile.TarError, EOFError, OSError, zlib.error)


def new_identity() -> tuple[str, str]:
    """Generate a private identity and its public recipient."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def write(folder: Path, file: Path, recipients: Sequence[str]) -> None:
    """Archive all files below `folder` in `file`, the manifest first; raises BackupError for an invalid recipient."""
    try:
        keys = [pyrage.x25519.Recipient.from_str(recipient) for recipient in recipients]
    except pyrage.RecipientError as problem:
        raise BackupError(f"not an age recipient (age1...): {problem}") from None
    if not keys:
        raise BackupError(
            "there is no recipient, so nobody could decrypt the backup: set backup.recipients, or give --to"
        )
    partial = file.with_name(f".{file.name}.part")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as sink:
            with _piped(lambda target: _pack(folder, target)) as packed:
                pyrage.encrypt_io(packed, sink, keys)
            sink.flush()
            os.fsync(sink.fileno())
        partial.replace(file)
        sync_folder(file.parent)
    finally:
        partial.unlink(missing_ok=True)


def unpack(file: Path, identities: Sequence[str], into: Path) -> Manifest:
    """Unpack all members; raises Damaged, Locked. After Damaged, do not use the unpacked files."""
    with _members(file, identities) as tar:
        tar.extractall(into, filter="data")
    return _manifest((into / MANIFEST).read_bytes())


def peek(file: Path, identities: Sequence[str]) -> tuple[Manifest, ErasureList]:
    """Read only the manifest; raises Damaged, Locked."""
    contents: dict[str, bytes] = {}
    with _members(file, identities, to_the_end=False) as tar:
        while len(contents) < 2 and (member := tar.next()) is not None:
            content = tar.extractfile(member)
            contents[member.name] = content.read() if content is not None else b""
    try:
        return _manifest(contents[MANIFEST]), ErasureList.model_validate_json(contents[ERASURES])
    except (KeyError, ValidationError) as problem:
        raise Damaged(f"{file} is not a backup of this service ({problem})") from None


def read_identities(file: Path) -> list[str]:
    """Read the identities in a file of age-keygen; raises BackupError."""
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
    except OSError as problem:
        raise BackupError(f"{file}: {problem.strerror}") from None
    return [line for line in lines if line and not line.startswith("#")]


def sync_folder(folder: Path) -> None:
    """Sync a directory, so that its entries survive a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _manifest(content: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as problem:
        raise Damaged(f"the manifest is invalid: {problem.errors()[0]['msg']}") from None


def _pack(folder: Path, target: IO[bytes]) -> None:
    first = [folder / name for name in (MANIFEST, ERASURES)]
    members = sorted(path for path in folder.rglob("*") if path.is_file() and path not in first)
    with (
        gzip.GzipFile(fileobj=target, mode="wb", compresslevel=COMPRESS_LEVEL) as zipped,
        tarfile.open(fileobj=zipped, mode="w|") as tar,
    ):
        for path in (*first, *members):
            tar.add(path, path.relative_to(folder).as_posix(), recursive=False)


@contextlib.contextmanager
def _piped(write_to: Callable[[IO[bytes]], None]) -> Iterator[IO[bytes]]:
    """Yield what `write_to` writes in a thread; its failure replaces the reader's, which it has caused."""
    readable, writable = os.pipe()
    failed: list[Exception] = []

    def run() -> None:
        try:
            with open(writable, "wb") as target:
                write_to(target)
        except BrokenPipeError:  # the reader has stopped
            pass
        except Exception as problem:  # noqa: BLE001 - raised again in the reader's thread
            failed.append(problem)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        with open(readable, "rb") as source:
            yield source
    finally:
        thread.join()
        for problem in failed:
            raise problem


@contextlib.contextmanager
def _members(file: Path, identities: Sequence[str], *, to_the_end: bool = True) -> Iterator[tarfile.TarFile]:
    try:
        keys = [pyrage.x25519.Identity.from_str(identity) for identity in identities]
    except pyrage.IdentityError as problem:
        raise Locked(f"not an age identity (AGE-SECRET-KEY-1...): {problem}") from None

    def decrypt(target: IO[bytes]) -> None:
        try:
            with file.open("rb") as source:
                pyrage.decrypt_io(source, target, keys)
        except (pyrage.DecryptError, OSError) as problem:
            if "No matching keys" in str(problem):
                raise Locked(f"{file}: none of the identities can decrypt it") from None
            raise Damaged(f"{file} is truncated or was changed ({problem})") from None

    is_read = False
    try:
        with _piped(decrypt) as source:
            with tarfile.open(fileobj=source, mode="r|gz") as tar:
                yield tar
            is_read = True
            while to_the_end and source.read(2**16):  # so that the last block is authenticated
                pass
    except Damaged:
        if to_the_end or not is_read:
            raise
    except _UNREADABLE as problem:
        raise Damaged(f"{file} is truncated or was changed ({problem})") from None
