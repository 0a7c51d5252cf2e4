"""`bondhu catalogue`: imports your own recordings in addition to the bundled ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.console import EPILOG, Exit, err, out
from serving.cli.database import with_database

if TYPE_CHECKING:  # imported where used, so that other commands start without the SQL toolkit
    from sqlalchemy.ext.asyncio import AsyncEngine

app = typer.Typer(help="Recordings that the music agent chooses from.", no_args_is_help=True, epilog=EPILOG)
BATCH = 1000
MAX_SHOWN = 10


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="JSON lines.")],
) -> None:
    """Import recordings: one JSON object per line, with artist and title. Exit code 1 if a line was skipped."""
    from agents.music.imports import BadLine, read_lines
    from storage.media.imported_tracks import SqlTracks

    bad: list[BadLine] = []

    async def load(engine: "AsyncEngine") -> int:
        tracks, batch, count = SqlTracks(engine), {}, 0
        with file.open("rb") as lines:
            for read in read_lines(lines):
                if isinstance(read, BadLine):
                    bad.append(read)
                    continue
                batch[read.id] = read.model_dump()
                if len(batch) >= BATCH:
                    await tracks.save(batch)
                    count, batch = count + len(batch), {}
        await tracks.save(batch)
        return count + len(batch)

    count = with_database(load)
    for line in bad[:MAX_SHOWN]:
        err.print(f"line {line.number}: {line.why}")
    if len(bad) > MAX_SHOWN:
        err.print(f"and {len(bad) - MAX_SHOWN} more")
    out.print(f"imported {count} recordings, skipped {len(bad)} lines")
    raise typer.Exit(Exit.FAILED if bad else Exit.OK)
