"""`bondhu catalogue import`, as the operator runs it."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from serving.cli.main import app

ROOT = Path(__file__).parents[3]
GOOD = '{"artist": "A", "title": "T", "genre": "polka", "language": "pl", "year": 2001}\n'


@pytest.fixture
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the data directory of an installation of its own."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.setenv("BONDHU_ROOT", str(tmp_path))
    monkeypatch.setenv("BONDHU_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return tmp_path / "var"


def test_what_is_valid_is_imported_once(tmp_path: Path, var: Path) -> None:
    """A bad line is told by number and leaves the rest; importing again makes no second."""
    file = tmp_path / "tracks.jsonl"
    file.write_text(GOOD + "no json\n")
    first = CliRunner().invoke(app, ["catalogue", "import", str(file)])
    assert first.exit_code == 1
    assert "imported 1 recordings, skipped 1 lines" in first.output
    file.write_text(GOOD)
    assert CliRunner().invoke(app, ["catalogue", "import", str(file)]).exit_code == 0
    [database] = var.rglob("*.db")
    with create_engine(f"sqlite:///{database}").connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM imported_tracks")).scalar() == 1
