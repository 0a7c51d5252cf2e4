"""Common parts of the memory routes: the owner, limits and ledger, and the mapping of exceptions to API errors.

Each request counts in the limits of the key and the end user, without tokens: embedding is not charged. It has a row in
the ledger like any other request.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, Query, Request, Response
from fastapi.dependencies.models import Dependant

from memory.document_reader import WrongDocument
from memory.schemas import Accepted, Name
from serving.errors import AmbiguousMessage, ApiError, DatabaseAway, InvalidRequest, MemoryChanged, UnknownMemory
from serving.routes.counted import COUNTED
from serving.routes.dependencies import Caller, Gateway, Worker
from serving.routes.identity import LONGEST_NAME, USER_HEADER, about, check_one_user, class_of, end_user
from storage.api_keys import KeyRecord
from storage.database import AWAY
from storage.jobs.queue import SERVICE
from storage.memory import memories
from storage.memory.owner import Owner
from storage.memory.reply_context import SeveralMessages

User = Annotated[
    Name | None, Query(description=f"the end user, by the application's own name; or set the header {USER_HEADER}")
]


class OfUser(Accepted):
    """A body with an optional end user."""

    user: Name | None = None


class MemoryAccess:
    """The caller of a memory route; created for each request by FastAPI."""

    def __init__(self, http_request: Request, response: Response, gateway: Worker, caller: Caller) -> None:
        self._request = http_request
        self._response = response
        self._caller: KeyRecord = caller
        self.gateway: Gateway = gateway

    @property
    def app(self) -> str:
        """The application that the key belongs to."""
        return self._caller.app

    @asynccontextmanager
    async def counted(self, user: str | None) -> AsyncIterator[None]:
        """Count and record the request in this context; converts memory's exceptions to ApiError."""
        http_request, caller, gateway = self._request, self._caller, self.gateway
        endpoint = http_request.scope["route"].path
        check_query(http_request)
        http_request.scope[COUNTED] = True
        with gateway.ledger.begin(**about(http_request, caller, endpoint, {"user": user})) as record:
            class_of(http_request)
            reservation = await gateway.limiter.reserve(caller.app, user, caller.tier, 0, record.id)
            try:
                yield
            except Exception as problem:
                api_error = _as_api_error(problem)
                if api_error is None:
                    raise
                raise api_error from problem
            finally:
                await gateway.limiter.settle(reservation, 0)
            self._response.headers.update(reservation.headers)
            record.status = self._response.status_code or 200
            record.end("ok")

    @asynccontextmanager
    async def about(self, user: str | None) -> AsyncIterator[Owner]:
        """Like `counted`, for the request's end user; raises InvalidRequest without one."""
        owner = Owner(self.app, self._named(user))
        async with self.counted(owner.user):
            yield owner

    @property
    def is_admin(self) -> bool:
        """Whether the key is an admin key, which can access data of the service itself."""
        return self.gateway.may_see_all(self._caller)

    @asynccontextmanager
    async def about_or_service(self, user: str | None) -> AsyncIterator[Owner]:
        """Like `about`, but an admin key without a user accesses the service itself."""
        if self.is_admin and end_user(self._request, {"user": user}) is None:
            async with self.counted(None):
                yield SERVICE
            return
        async with self.about(user) as owner:
            yield owner

    def _named(self, user: str | None) -> str:
        check_one_user(self._request, {"user": user})
        named = end_user(self._request, {"user": user})
        if named is None:
            raise InvalidRequest(f"user: required; set it here or in the header {USER_HEADER}.", param="user")
        if len(named) > LONGEST_NAME:
            raise InvalidRequest(f"{USER_HEADER}: must have at most {LONGEST_NAME} characters.", param=USER_HEADER)
        return named


Access = Annotated[MemoryAccess, Depends()]


def check_query(http_request: Request) -> None:
    """Raise InvalidRequest for a query parameter that the route does not have: a misspelt filter would not filter."""
    known = _query_names(http_request.scope["route"].dependant)
    unknown = sorted(set(http_request.query_params) - known)
    if unknown:
        accepted = ", ".join(sorted(known)) or "none"
        raise InvalidRequest(
            f"{unknown[0][:64]}: no such query parameter; accepted: {accepted}.", param=unknown[0][:64]
        )


def _query_names(dependant: Dependant) -> set[str]:
    own = {each.alias for each in dependant.query_params}
    return own.union(*map(_query_names, dependant.dependencies)) if dependant.dependencies else own


def _as_api_error(problem: Exception) -> ApiError | None:
    match problem:
        case memories.NoSuchMemory(args=(str(id_),)):
            return UnknownMemory(f"This person has no memory '{id_}'.")
        case memories.NoSuchMessage(args=(str(id_),)):
            return InvalidRequest(f"message_id: this person has no message '{id_}'.", param="message_id")
        case memories.NotVerbatim():
            return InvalidRequest("quote: must be an exact part of the message `message_id`.", param="quote")
        case memories.EmptyInterval():
            return InvalidRequest("valid_until: must be later than valid_from.", param="valid_until")
        case memories.ChangedMeanwhile(args=(int(now),)):
            return MemoryChanged(
                f"changed_in: the memory has changed since; it is at {now} now. Read it again.", param="changed_in"
            )
        case SeveralMessages(args=(tuple(names),)):
            shown = ", ".join(f"'{name}'" for name in names)
            return AmbiguousMessage(
                f"message: stands in several conversations ({shown}); name one.", param="conversation"
            )
        case WrongDocument(args=(None, message)):
            return InvalidRequest(f"{message}.")
        case WrongDocument(args=(str(param), message)):
            return InvalidRequest(f"{param}: {message}", param=param)
        case _ if isinstance(problem, AWAY):
            return DatabaseAway()
    return None
