"""`bondhu backup` and `bondhu restore`: the service's data as one encrypted file, and back."""

import json
import os
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from serving.cli.console import Exit, err, fail, out, settings_or_exit
from serving.config.addresses import gateway_url
from serving.config.private_files import keep_private
from serving.config.schema import Settings
from serving.supervisor import readiness, run_files

Folder = Annotated[Path | None, typer.Argument(help="Folder of backups; default: the setting backup.folder.")]
Identity = Annotated[
    Path | None, typer.Option("--identity", help="File with the private identity for it (AGE-SECRET-KEY-1...).")
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
S3 = Annotated[
    str | None,
    typer.Option("--s3", help="A bucket with a copy of each backup: s3://BUCKET/PREFIX; default: backup.s3."),
]
PostgresBin = Annotated[
    Path | None, typer.Option("--postgres-bin", help="Folder of pg_dump, pg_restore and psql; default: PATH.")
]


def backup(
    folder: Folder = None,
    to: Annotated[
        list[str] | None, typer.Option("--to", help="Recipient (age1...), in addition to backup.recipients.")
    ] = None,
    verify: Annotated[
        Path | None, typer.Option("--verify", help="Read and test this backup, or the newest one in this folder.")
    ] = None,
    identity: Identity = None,
    new_identity: Annotated[
        Path | None,
        typer.Option("--new-identity", help="Write a new private identity to this file, and print its recipient."),
    ] = None,
    erasures: Annotated[
        bool, typer.Option("--erasures", help="Only back up the list of erasures, for example every minute.")
    ] = False,
    s3: S3 = None,
    postgres_bin: PostgresBin = None,
    as_json: Json = False,
) -> None:
    """Back up database, journals, secrets, configuration and adapters, while the service runs."""
    from serving.backup.errors import BackupError

    keep_private()
    try:
        if new_identity is not None:
            _make_identity(new_identity)
        elif verify is not None:
            _verify(verify, identity, postgres_bin, as_json)
        else:
            _backup(folder, to or [], s3, erasures, postgres_bin, as_json)
    except (BackupError, OSError) as problem:
        fail(str(problem))


def restore(
    source: Annotated[
        Path | None, typer.Argument(help="A backup, or a folder for its newest one; default: backup.folder.")
    ] = None,
    identity: Identity = None,
    lists_from: Annotated[
        list[Path] | None, typer.Option("--lists-from", help="More archives whose lists of erasures are applied.")
    ] = None,
    keep_configuration: Annotated[
        bool, typer.Option("--keep-configuration", help="Do not restore the files of configs/.")
    ] = False,
    from_s3: Annotated[
        str | None,
        typer.Option("--from-s3", help="Take it from a bucket, s3://BUCKET/PREFIX; SOURCE is then its name there."),
    ] = None,
    postgres_bin: PostgresBin = None,
    as_json: Json = False,
) -> None:
    """Restore a backup of the stopped service, completely or not at all."""
    settings = settings_or_exit()
    from serving.backup import archive, places
    from serving.backup.errors import BackupError
    from serving.backup.restore import restore as bring_back

    keep_private()
    _refuse_if_running(settings)
    try:
        settings.var_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetched.", dir=settings.var_dir) as fetched:
            if from_s3 is not None:
                from serving.backup.bucket import Bucket

                path = Bucket(from_s3).fetch(Path(fetched), source.name if source is not None else "")
            else:
                path = source or _folder(settings, None)
            done = bring_back(
                settings,
                places.newest(path) if path.is_dir() else path,
                archive.read_identities(_identity(identity)),
                now=partial(datetime.now, UTC),
                lists_from=lists_from or (),
                keep_configuration=keep_configuration,
                postgres_bin=postgres_bin,
                report=lambda line: err.print(line, markup=False, soft_wrap=True),
            )
    except (BackupError, OSError) as problem:
        fail(str(problem))
    shown = _shown(done.manifest) | {"forgotten_again": done.forgotten}
    unset = [name for name in done.manifest.environment if name not in os.environ]
    if as_json:
        typer.echo(json.dumps(shown | {"variables_not_set": unset}, indent=2))
        return
    rows = sum(done.manifest.tables.values())
    out.print(f"restored {rows} rows of {done.manifest.made_at:%Y-%m-%d %H:%M:%S} UTC", soft_wrap=True)
    out.print(f"erased again: {done.forgotten} (people, conversations, turns, memories)", soft_wrap=True)
    if unset:
        out.print(
            f"variables that were set at the time of the backup but are not now: {', '.join(unset)}",
            markup=False,
            soft_wrap=True,
        )


def _backup(
    folder: Path | None, to: list[str], s3: str | None, erasures: bool, postgres_bin: Path | None, as_json: bool
) -> None:
    settings = settings_or_exit()
    from serving.backup import places
    from serving.backup.make import make

    target = _folder(settings, folder)
    recipients = [*settings.backup.recipients, *to]
    now = partial(datetime.now, UTC)
    file = make(settings, target, recipients, now=now, postgres_bin=postgres_bin, only_erasures=erasures)
    gone = places.prune(target, settings.backup.keep)
    bucket = s3 or settings.backup.s3
    if bucket is not None:
        from serving.backup.bucket import Bucket

        there = Bucket(bucket)
        there.upload(file)
        there.prune(settings.backup.keep)
    size = file.stat().st_size
    if as_json:
        typer.echo(
            json.dumps(
                {"file": str(file), "size_bytes": size, "pruned": [str(path) for path in gone], "s3": bucket}, indent=2
            )
        )
    else:
        out.print(f"{file}  {size / 2**20:.1f} MiB", soft_wrap=True)
        if bucket is not None:
            out.print(f"copied to {bucket}", markup=False, soft_wrap=True)
        if gone:
            out.print(f"deleted {len(gone)} older backups", soft_wrap=True)


def _verify(file: Path, identity: Path | None, postgres_bin: Path | None, as_json: bool) -> None:
    from serving.backup import archive, places
    from serving.backup.verify import verify

    chosen = places.newest(file) if file.is_dir() else file
    manifest = verify(chosen, archive.read_identities(_identity(identity)), postgres_bin=postgres_bin)
    if as_json:
        typer.echo(json.dumps({"file": str(chosen), **_shown(manifest)}, indent=2))
    else:
        rows = sum(manifest.tables.values())
        out.print(f"{chosen}: complete; {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC, {manifest.database}", soft_wrap=True)
        out.print(f"{rows} rows in {len(manifest.tables)} tables, {len(manifest.files)} files", soft_wrap=True)


def _make_identity(file: Path) -> None:
    from serving.backup import archive

    identity, recipient = archive.new_identity()
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as target:
        target.write(f"# recipient: {recipient}\n{identity}\n")
    out.print(recipient)
    err.print(
        f"{file} decrypts every backup for this recipient: store it safely, and not on this machine", soft_wrap=True
    )


def _shown(manifest: Any) -> dict[str, Any]:
    keys = {"version", "made_at", "database", "tables"}
    shown: dict[str, Any] = manifest.model_dump(mode="json", include=keys)
    return shown | {"files": len(manifest.files)}


def _folder(settings: Settings, path: Path | None) -> Path:
    if path is not None:
        return path
    if settings.backup.folder is None:
        fail("give a folder, or set backup.folder", Exit.CONFIGURATION)
    return settings.root / settings.backup.folder


def _identity(path: Path | None) -> Path:
    if path is None:
        _usage("--identity FILE is required: the private identity for the backup")
    return path


def _refuse_if_running(settings: Settings) -> None:
    if run_files.holder(settings.var_dir) is not None or readiness.ask_ready(gateway_url(settings), "") is not None:
        fail("the service is running: stop it first (`bondhu down`)", Exit.ALREADY_RUNNING)


def _usage(message: str) -> NoReturn:
    fail(message, Exit.CONFIGURATION)
