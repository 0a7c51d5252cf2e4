"""Reads the listening history of linked accounts into the person's taste."""

import logging
from collections.abc import Mapping

from sqlalchemy import update

from agents.music.history import History, Listen, signals_of
from agents.music.tools import AGENT
from agents.outside.http import ServiceFailed
from agents.ranking.feedback import FeedbackBook
from jobs.kinds.person import context_of
from jobs.runner import JobFailed, JobRun
from storage.agents.states import StatesWithin
from storage.services.links import SqlLinks
from storage.services.tables import ServiceLink

log = logging.getLogger(__name__)


async def read_history(job: JobRun, services: Mapping[str, History]) -> dict[str, int]:
    """Read new listens; the number per service. Raises JobFailed if none could be read."""
    links = [link for link in await SqlLinks(job.engine, job.now).all_of(job.owner) if link.service in services]
    listens_by_service: dict[str, list[Listen]] = {}
    for link in links:
        try:
            listens_by_service[link.service] = await services[link.service].since(link.account, link.heard_until)
        except ServiceFailed as failure:
            log.info("no history from %s: %s", link.service, failure)
            if len(links) == 1:
                raise JobFailed(f"{link.service} {failure.status or 'away'}", failure.retry_after_s or 0) from failure
    found = {service: len(listens) for service, listens in listens_by_service.items()}
    context = await context_of(job)
    async with job.finishing({"listens": found}) as connection:
        context.state = StatesWithin(connection, job.now)
        for service, listens in listens_by_service.items():
            if not listens:
                continue
            await FeedbackBook(AGENT, context).add(signals_of(listens, source=service))
            mine = update(ServiceLink).where(job.owner.has(ServiceLink), ServiceLink.service == service)
            await connection.execute(mine.values(heard_until=max(listen.at for listen in listens)))
    return found
