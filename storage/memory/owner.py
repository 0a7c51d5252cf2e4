"""The owner of rows. All access to the tables of `storage.memory.tables` starts with one of these.

There is deliberately no way to select a row by its id alone, so no code can forget the owner. This module does not know
what the tables contain.
"""

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, Delete, Select, Update, and_, bindparam, delete, select, update

from storage.memory.tables import Owned


@dataclass(frozen=True, slots=True)
class Owner:
    """An end user, under the name that their application uses."""

    app: str
    user: str

    @property
    def columns(self) -> dict[str, str]:
        """The two columns that identify their rows."""
        return {"app": self.app, "end_user": self.user}

    @property
    def named(self) -> dict[str, str]:
        """The parameters of statements of `WHOSE`."""
        return {"of_app": self.app, "of_user": self.user}

    def has(self, table: type[Owned]) -> ColumnElement[bool]:
        """The condition for their rows in `table`."""
        return and_(table.app == self.app, table.end_user == self.user)

    def select(self, table: type[Owned], *columns: Any) -> Select[Any]:
        """Select their rows of `table`; all columns if none is named."""
        return select(*(columns or table.__table__.columns)).select_from(table).where(self.has(table))

    def update(self, table: type[Owned]) -> Update:
        """Update their rows."""
        return update(table).where(self.has(table))

    def delete(self, table: type[Owned]) -> Delete:
        """Delete their rows."""
        return delete(table).where(self.has(table))


# The owner is bound at execution, by `Owner.columns`. For the statements that every chat needs: SQLAlchemy takes longer
# to compile such a statement than SQL to execute it, so it is compiled once.
WHOEVER = Owner(cast("str", bindparam("app")), cast("str", bindparam("end_user")))
# The same for updates, where a parameter with the name of a column would be its new value; bound by `Owner.named`.
WHOSE = Owner(cast("str", bindparam("of_app")), cast("str", bindparam("of_user")))
