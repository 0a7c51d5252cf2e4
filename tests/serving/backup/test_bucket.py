"""The copy in a bucket, on a server that speaks S3's protocol: up, pruned, and back on an empty machine."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from serving.backup import archive, places
from serving.backup.bucket import Bucket
from serving.backup.errors import BackupError
from tests.support.backup_house import ANN, NOW, House, Past

IDENTITY, RECIPIENT = archive.new_identity()


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    """A server of this module's own, named by the variables that every client reads."""
    running = ThreadedMotoServer("127.0.0.1", 0)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name, value in (("ACCESS_KEY_ID", "id"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1")):
            environ.setenv(f"AWS_{name}", value)
        yield
    running.stop()


@pytest.fixture
def url() -> str:
    """Return a folder in a bucket of the test's own."""
    name = f"backups-{uuid.uuid4()}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}/bondhu"


async def test_an_empty_machine_comes_back_from_a_bucket(tmp_path: Path, url: str) -> None:
    """With a person erased after the backup, whose erasure is in a later list."""
    (tmp_path / "house").mkdir()
    house = House(tmp_path / "house")
    await house.fill("aardvark")
    file = await asyncio.to_thread(house.backup, tmp_path / "backups", RECIPIENT)
    async with Past(house) as past:
        await past.forgetter.everything(ANN)
    later = await asyncio.to_thread(house.backup, tmp_path / "backups", RECIPIENT, erasures=True)
    bucket = Bucket(url)
    for each in (file, later):
        bucket.upload(each)
    assert bucket.names() == [file.name, later.name]
    (tmp_path / "new").mkdir()
    (tmp_path / "fetched").mkdir()
    new = House(tmp_path / "new")
    fetched = bucket.fetch(tmp_path / "fetched")
    assert fetched.read_bytes() == file.read_bytes()
    done = await asyncio.to_thread(new.restore, fetched, IDENTITY)
    assert done.forgotten == 1
    assert await new.recall(ANN, "My aardvark") == []


def test_a_bucket_keeps_as_many_as_are_kept(tmp_path: Path, url: str) -> None:
    """The newest full backups, the lists that are newer than them, and what is not ours."""
    bucket, now = Bucket(url), NOW()
    full = [tmp_path / places.name_of(now + timedelta(days=day)) for day in range(4)]
    lists = [tmp_path / places.name_of(now + timedelta(days=day, hours=1), is_list=True) for day in range(4)]
    for file in (*full, *lists):
        file.write_text(file.name)
        bucket.upload(file)
    boto3.client("s3").put_object(Bucket=url.split("/")[2], Key="bondhu/notes.txt", Body=b"x")
    assert sorted(bucket.prune(2)) == sorted(file.name for file in (*full[:2], *lists[:3]))
    assert bucket.names() == sorted(file.name for file in (*full[2:], lists[3]))
    (tmp_path / "older").mkdir()
    assert bucket.fetch(tmp_path / "older", full[2].name).name == full[2].name
    assert {path.name for path in (tmp_path / "older").iterdir()} == {full[2].name, full[3].name, lists[3].name}


def test_a_buckets_refusal_is_reported(tmp_path: Path, url: str) -> None:
    """Another scheme, a bucket that is not there, nothing in it."""
    with pytest.raises(BackupError, match="is not s3://"):
        Bucket("https://backups")
    with pytest.raises(BackupError, match="s3://nobody"):
        Bucket("s3://nobody/x").names()
    with pytest.raises(BackupError, match="has no backups"):
        Bucket(url).fetch(tmp_path)
