"""Adds new songs to playlists that have not changed for a long time.

A playlist that exists only here is changed directly, and the change can be undone by its key. A playlist that is also
at a service is only proposed for change: nothing happens without the person's yes.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import cast

from agents.music.agent import MusicServices
from agents.music.catalogue import read_tracks
from agents.music.chooser import Chooser
from agents.music.tools import AGENT, MusicTools, Renewal
from agents.proposals import ProposalBook
from jobs.kinds.person import CONVERSATION, context_of
from jobs.runner import JobRun
from storage.agents.states import StatesWithin
from storage.jobs.kinds import PlaylistsParams
from storage.media.playlists import PlaylistDiff, SqlPlaylists
from storage.services.remote_playlists import SqlRemotes

MAX_AT_ONCE = 20

Open = Callable[[JobRun], AbstractAsyncContextManager[MusicServices]]


async def renew_playlists(job: JobRun, open_services: Open) -> int:
    """Renew old playlists; returns how many."""
    remote = await SqlRemotes(job.engine, job.now).ids_of(job.owner)
    params = cast("PlaylistsParams", job.params)
    playlists = SqlPlaylists(job.engine, job.now)
    old = await playlists.unchanged_since(job.owner, job.now() - timedelta(days=params.older_than_days))
    old = old[:MAX_AT_ONCE]
    context = await context_of(job)
    renewals: list[Renewal] = []
    async with open_services(job) as services:
        tools = MusicTools(Chooser(read_tracks(), services.imported, services.radio, services.artists), playlists)
        for number, playlist in enumerate(old, 1):
            renewal = await tools.renewal_of(playlist, context)
            renewals += [] if renewal is None else [renewal]
            await job.progress(number, len(old) + 1)
    proposals = [
        {"playlist": each.playlist.id, "added": len(each.add), "removed": len(each.gone), "proposed": is_remote}
        for each in renewals
        for is_remote in [each.playlist.id in remote]
    ]
    async with job.finishing({"playlists": proposals, "conversation": CONVERSATION}) as connection:
        for number, each in enumerate(renewals, 1):
            if each.playlist.id in remote:
                context.state = StatesWithin(connection, job.now)
                await ProposalBook(AGENT, {}, context).propose([each.effect])
                await playlists.touch_within(connection, job.owner, each.playlist.id)
                continue
            diff, key = PlaylistDiff(each.add, each.gone), f"{job.id}-{number}"
            await playlists.change_within(connection, job.owner, each.playlist.id, diff, key=key)
    return len(renewals)
