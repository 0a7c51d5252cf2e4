"""Copies of the archives in an S3 bucket. Only this module imports boto3 (the extra `s3`), if a bucket is configured.

Address, region and credentials are those of every S3 client: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY and so on, https://boto3.amazonaws.com/v1/documentation/api/latest/guide/configuration.html.
Archives are encrypted before, so the owner of the bucket can delete them, but not read them.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from serving.backup import places
from serving.backup.errors import BackupError


class Bucket:
    """The archives below `url` (s3://BUCKET/PREFIX). Its methods raise BackupError."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        if address.scheme != "s3" or not address.netloc:
            raise BackupError(f"{url} is not s3://BUCKET or s3://BUCKET/PREFIX")
        try:
            import boto3
        except ImportError:
            raise BackupError("a bucket needs boto3: pip install boto3") from None
        self.url, self._name = url, address.netloc
        prefix = address.path.strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        with _failures(url):
            self._client: Any = boto3.client("s3")

    def names(self) -> list[str]:
        """The names of the archives, each kind oldest first."""
        with _failures(self.url):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=self._prefix)
            keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
        names = (key.removeprefix(self._prefix) for key in keys)
        return sorted(name for name in names if "/" not in name and name.endswith(places.SUFFIX))

    def upload(self, file: Path) -> None:
        """Upload an archive; returns when it is complete."""
        with _failures(self.url):
            self._client.upload_file(str(file), self._name, self._prefix + file.name)
            there = self._client.head_object(Bucket=self._name, Key=self._prefix + file.name)
        if there["ContentLength"] != file.stat().st_size:
            raise BackupError(f"{self.url} has {there['ContentLength']} of {file.stat().st_size} bytes of {file.name}")

    def download(self, name: str, folder: Path) -> Path:
        """Download an archive into `folder`."""
        partial = folder / f".{name}.part"
        with _failures(self.url):
            self._client.download_file(self._name, self._prefix + name, str(partial))
        os.chmod(partial, 0o600)
        return partial.rename(folder / name)

    def prune(self, keep: int) -> list[str]:
        """Delete outdated archives; returns their names."""
        found = places.outdated(self.names(), keep)
        with _failures(self.url):
            for name in found:
                self._client.delete_object(Bucket=self._name, Key=self._prefix + name)
        return found

    def fetch(self, folder: Path, name: str = "") -> Path:
        """Download a full backup (the newest, or `name`) and every later list of erasures; returns the backup's path.

        The newest full backup contains all earlier lists, so it is downloaded too if an older one is requested.
        """
        names = self.names()
        full = [each for each in names if each.startswith(f"{places.FULL}-")]
        if not full or (name and name not in full):
            raise BackupError(f"{self.url} has no backup{f' {name}' if name else 's'}")
        chosen = name or full[-1]
        later = {each for each in names if each not in full} - set(places.outdated(names, len(full)))
        for each in sorted({chosen, full[-1], *later}):
            self.download(each, folder)
        return folder / chosen


@contextlib.contextmanager
def _failures(url: str) -> Iterator[None]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as problem:
        raise BackupError(f"{url}: {problem}") from None
