"""`bondhu catalogue`: recordings of one's own beside the bundled ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.console import EPILOG, Exit, err, out
from serving.cli.database import with_database

if TYPE_CHECKING:  # imported where used: every other command starts without the SQL toolkit
    from sqlalchemy.ext.asyncio import AsyncEngine

app = typer.Typer(help="Recordings that the music agent chooses from.", no_args_is_help=True, epilog=EPILOG)
BATCH = 1000
MAX_TOLD = 10


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="JSON lines.")],
) -> None:
    """Import recordings: a JSON object a line, with artist and title; code 1 when a line was not taken."""
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
    for each in bad[:MAX_TOLD]:
        err.print(f"line {each.number}: {each.why}")
    if len(bad) > MAX_TOLD:
        err.print(f"and {len(bad) - MAX_TOLD} more")
    out.print(f"imported {count} recordings, left out {len(bad)} lines")
    raise typer.Exit(Exit.FAILED if bad else Exit.OK)
