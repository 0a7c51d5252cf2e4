"""Whose rows a statement is about. All access to the tables of `storage.memory.tables` starts with one of these.

There is no way here to ask for a row by its id alone: whoever forgets the owner has nothing to call. It does not know
what the tables hold.
"""

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, Delete, Select, Update, and_, bindparam, delete, select, update

from storage.memory.tables import Owned


@dataclass(frozen=True, slots=True)
class Owner:
    """An end user, as their application calls them."""

    app: str
    user: str

    @property
    def columns(self) -> dict[str, str]:
        """The two columns that every row of theirs has."""
        return {"app": self.app, "end_user": self.user}

    def has(self, table: type[Owned]) -> ColumnElement[bool]:
        """Of `table`, what is theirs."""
        return and_(table.app == self.app, table.end_user == self.user)

    def select(self, table: type[Owned], *columns: Any) -> Select[Any]:
        """Their rows of `table`; all columns, when none is named."""
        return select(*(columns or table.__table__.columns)).select_from(table).where(self.has(table))

    def update(self, table: type[Owned]) -> Update:
        """Change rows of theirs."""
        return update(table).where(self.has(table))

    def delete(self, table: type[Owned]) -> Delete:
        """Delete rows of theirs."""
        return delete(table).where(self.has(table))


# Whoever is named when a statement is executed, by `Owner.columns`. For what every chat asks: SQLAlchemy takes longer
# to make such a statement than SQL to answer it, so it is made once.
WHOEVER = Owner(cast("str", bindparam("app")), cast("str", bindparam("end_user")))
