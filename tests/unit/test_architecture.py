"""Claims about the package as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from interlock.journal import Journal, Vault, tables

HEAVY = {"sqlalchemy", "alembic", "pydantic", "fastapi", "httpx", "uvicorn", "cryptography", "typer", "rich"}


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


def test_importing_the_package_or_its_public_names_loads_nothing_heavy() -> None:
    for statement in ("import interlock", "from interlock import Denied, Ended, Gate, Held, NoEffect"):
        assert loaded_by(statement) & HEAVY == set()


def test_every_public_name_is_there() -> None:
    import interlock

    for name in interlock.__all__:
        assert getattr(interlock, name) is not None


def test_the_command_line_answers_help_without_opening_any_room() -> None:
    assert loaded_by("import interlock.cli") & (HEAVY - {"typer", "rich"}) == set()


def test_migrations_make_exactly_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    journal = Journal.open_sqlite(tmp_path / "journal.db", Vault(bytes(32), bytes(32)))
    with journal.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": tables.metadata})
        assert compare_metadata(context, tables.metadata) == []
    journal.close()


def test_no_room_names_a_package_registry_or_this_machine() -> None:
    checkout = Path(__file__).parents[2]
    for file in (checkout / "src").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert str(checkout) not in text, file
        assert "pypi" not in text.lower(), file
