"""Makes a backup while the service runs."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from serving.backup import archive, collect, places, snapshot
from serving.backup.manifest import ERASURES, MANIFEST, ErasureList, Manifest
from serving.config.addresses import database_url
from serving.config.credentials import ERASURE_KEY, read_env_file, secrets_env
from serving.config.schema import Settings
from serving.config.sources import ENV_PREFIX

STAGING = "backup."


def make(
    settings: Settings,
    folder: Path,
    recipients: Sequence[str],
    *,
    now: Callable[[], datetime],
    postgres_bin: Path | None = None,
    only_erasures: bool = False,
) -> Path:
    """Write a backup into `folder` and return its path; raises BackupError, OSError and the database's errors.

    With `only_erasures` it contains only the list of erasures, which is small enough to be saved every minute.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for leftover in settings.var_dir.glob(f"{STAGING}*"):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=STAGING, dir=settings.var_dir) as name:
        staging = Path(name)
        made_at = now()
        url = database_url(settings)
        if only_erasures:
            entries = snapshot.erasures_now(url)
            manifest = Manifest(version=version("bondhu"), made_at=made_at, database=None)
        else:
            files = list(collect.journals(settings, staging))  # before the database; that module says why
            copied = snapshot.take(url, staging, postgres_bin)
            files += collect.other_files(settings, staging)
            entries = copied.erasures
            manifest = Manifest(
                version=version("bondhu"),
                made_at=made_at,
                database=copied.database,
                dump_sha256=collect.sha256(staging / copied.member),
                tables=copied.tables,
                files=tuple(files),
                environment=tuple(sorted(name for name in os.environ if name.startswith(ENV_PREFIX))),
            )
        erasures = ErasureList(key=erasure_key(settings), entries=entries)
        (staging / MANIFEST).write_text(manifest.model_dump_json(indent=2))
        (staging / ERASURES).write_text(erasures.model_dump_json())
        file = folder / places.name_of(made_at, is_list=only_erasures)
        archive.write(staging, file, recipients)
    return file


def erasure_key(settings: Settings) -> str:
    """The key of this machine's list of erasures; "" if there is none yet."""
    return os.environ.get(ERASURE_KEY) or read_env_file(secrets_env(settings.var_dir)).get(ERASURE_KEY, "")
