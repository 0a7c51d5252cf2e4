"""The limits' state in Redis, changed only by two Lua scripts: `take` a reservation, `close` it.

A per-minute limit is a sliding-window log: it counts the requests begun in the last window (60 s), each with the tokens
that it reserved or, once known, used. Unlike GCRA it stays exact when tokens are refunded: a leaky bucket has partly
drained by then, and refunding everything would allow more than the limit. A per-day limit is a counter of the UTC day
in which the request began. An application and each of its end users are scopes with their own log and counters.

The only clock is the server's (TIME), so the gateways' clocks do not matter. All keys have the application as hash
tag, so a call uses one slot of a Redis Cluster. A reservation is a field of the hash `open` under its request id, and a
member of `due`; `state` has the application's totals. None of the three expires, so at any time reserved = settled +
refunded + open. The sweep refunds overdue reservations; an id stays in `due` until then, so that all operations are
idempotent. This module does not know tiers or HTTP, nor what to do while Redis is unavailable.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from redis.typing import EncodableT

from serving.limits.buckets import Bucket, Limits, Use, buckets
from serving.resilience.redis import GuardedRedis

PREFIX = "bondhu:limits:"
UNLIMITED = -1
REFUND, KEEP_OPEN = -1, -2  # instead of a number of tokens used
FORGET = "*"  # instead of an era

# Shared by both scripts. A scope is its log (zset: "requests:tokens:id" by the instant it began, in us) and its sums
# (hash: r and t are the log's totals, d the tokens of day `day`). Redis may evict either; without the other it is void.
# Nothing is written before `write_totals`: a full Redis refuses that, and a script is then refused as a whole.
_PRELUDE = """
local DAY = 86400000000
local TOTALS = {'era', 'reserved_requests', 'reserved_tokens', 'settled_requests', 'settled_tokens',
  'refunded_requests', 'refunded_tokens'}
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local function int(number) return string.format('%.0f', number) end

local function read_totals()
  local totals = {}
  for index, value in ipairs(redis.call('HMGET', KEYS[3], unpack(TOTALS))) do
    totals[TOTALS[index]] = tonumber(value or 0)
  end
  return totals
end

local function write_totals(totals)
  if totals.era == 0 then totals.era = now end
  local pairs_ = {}
  for _, name in ipairs(TOTALS) do
    pairs_[#pairs_ + 1] = name
    pairs_[#pairs_ + 1] = int(totals[name])
  end
  redis.call('HSET', KEYS[3], unpack(pairs_))
end

-- A clock that was set back left entries in the future; they begin now, or they would count until then.
local function bring_back(log)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', log, '(' .. int(now), '+inf')) do
    redis.call('ZADD', log, int(now), member)
  end
end

local function load(log, sums, window)
  bring_back(log)
  local held = redis.call('HMGET', sums, 'r', 't', 'day', 'd')
  local oldest = redis.call('ZRANGE', log, 0, 0, 'WITHSCORES')
  local scope = {log = log, sums = sums, r = 0, t = 0, d = 0, day = math.floor(now / DAY), gone = 0}
  scope.is_new_day = tonumber(held[3]) ~= scope.day
  if not scope.is_new_day then scope.d = tonumber(held[4]) end
  if not held[1] then
    scope.gone = oldest[1] and redis.call('ZCARD', log) or 0
  elseif oldest[1] then
    scope.r, scope.t = tonumber(held[1]), tonumber(held[2])
    if tonumber(oldest[2]) <= now - window then
      local gone = redis.call('ZRANGEBYSCORE', log, '-inf', int(now - window))
      for _, member in ipairs(gone) do
        local requests, tokens = string.match(member, '^(%d+):(%d+):')
        scope.r, scope.t = scope.r - requests, scope.t - tokens
      end
      scope.gone = #gone
    end
  end
  return scope
end

local function save(scope, window)
  redis.call('HSET', scope.sums, 'r', int(scope.r), 't', int(scope.t), 'day', int(scope.day), 'd', int(scope.d))
  if scope.is_new_day then
    redis.call('PEXPIRE', scope.sums, int(math.ceil((DAY - now % DAY + window) / 1000)))
  end
  redis.call('PEXPIRE', scope.log, int(math.ceil(window / 1000)))
end

local function forget(scope) -- what has left the window
  if scope.gone > 0 then redis.call('ZREMRANGEBYRANK', scope.log, 0, scope.gone - 1) end
end

local function add(scope, window, requests, tokens, id, at)
  if at > now - window then
    redis.call('ZADD', scope.log, int(at), int(requests) .. ':' .. int(tokens) .. ':' .. id)
    scope.r, scope.t = scope.r + requests, scope.t + tokens
  end
end

local function book(scope, tokens, at)
  if math.floor(at / DAY) == scope.day then scope.d = math.max(0, scope.d + tokens) end
end

local function open(totals, scopes, window, id, requests, tokens, user, at, hold)
  totals.reserved_requests = totals.reserved_requests + requests
  totals.reserved_tokens = totals.reserved_tokens + tokens
  write_totals(totals)
  redis.call('HSET', KEYS[1], id, int(tokens) .. ' ' .. int(at) .. ' ' .. user .. ' ' .. int(requests))
  redis.call('ZADD', KEYS[2], int(now + hold), id)
  for _, scope in ipairs(scopes) do
    forget(scope)
    add(scope, window, requests, tokens, id, at)
    book(scope, tokens, at)
    save(scope, window)
    scope.gone, scope.is_new_day = 0, false
  end
end

local function load_scopes(window)
  local scopes = {load(KEYS[4], KEYS[5], window)}
  if KEYS[6] then scopes[2] = load(KEYS[6], KEYS[7], window) end
  return scopes
end
"""

# ARGV: id, tokens, window us, hold us, user, requests, then of each scope its limits (requests, tokens, day's tokens;
# -1: none).
# Answers granted, era, now, and of each scope r, t, d, the newest entry's instant, and how long to wait for each limit.
_TAKE = (
    _PRELUDE
    + """
local id, tokens, window, hold, user = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local requests = tonumber(ARGV[6])

-- Until enough of the oldest entries have left the log for `excess` to be gone. `part` 1: requests, 2: tokens.
local function wait_for(scope, part, excess)
  local from = scope.gone
  while true do
    local entries = redis.call('ZRANGE', scope.log, from, from + 63, 'WITHSCORES')
    if #entries == 0 then return 0 end
    for i = 1, #entries, 2 do
      excess = excess - select(part, string.match(entries[i], '^(%d+):(%d+):'))
      if excess <= 0 then return entries[i + 1] + window - now end
    end
    from = from + 64
  end
end

local known = redis.call('ZSCORE', KEYS[2], id)
local totals = read_totals()
local scopes = load_scopes(window)
local waits, granted = {}, 1
for index, scope in ipairs(scopes) do
  local limits = {tonumber(ARGV[index * 3 + 4]), tonumber(ARGV[index * 3 + 5]), tonumber(ARGV[index * 3 + 6])}
  local excess = {scope.r + requests - limits[1], scope.t + tokens - limits[2], scope.d + tokens - limits[3]}
  for which = 1, 3 do
    local wait = 0
    if not known and limits[which] >= 0 and excess[which] > 0 then
      granted = 0
      wait = which == 3 and DAY - now % DAY or wait_for(scope, which, excess[which])
    end
    waits[#waits + 1] = wait
  end
end

if granted == 1 and not known then open(totals, scopes, window, id, requests, tokens, user, now, hold) end
local answer = {granted, totals.era, now}
for index, scope in ipairs(scopes) do
  local newest = now
  if granted == 0 or known then
    newest = tonumber(redis.call('ZRANGE', scope.log, -1, -1, 'WITHSCORES')[2] or 0)
  end
  for _, number in ipairs({scope.r, scope.t, scope.d, newest}) do answer[#answer + 1] = number end
  for which = 1, 3 do answer[#answer + 1] = waits[(index - 1) * 3 + which] end
end
for index, number in ipairs(answer) do answer[index] = int(number) end
return table.concat(answer, ' ') -- one string: a list of numbers takes the client longer to read
"""
)

# ARGV: id, tokens used (or REFUND, or KEEP_OPEN), window us, hold us, user, tokens reserved, age us, the era that
# granted it ('' when Redis does not know of it, '*' when it is to be forgotten in that case), and requests reserved.
# Answers 1 when it changed something, 0 when there was nothing (left) to close.
_CLOSE = (
    _PRELUDE
    + """
local id, used, window, hold, user = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local record = redis.call('HGET', KEYS[1], id)
local totals = read_totals()
if not record and (ARGV[8] == '*' or int(totals.era) == ARGV[8] or redis.call('ZSCORE', KEYS[2], id)) then return 0 end

local scopes = load_scopes(window)
local reserved, at, requests = tonumber(ARGV[6]), now - ARGV[7], tonumber(ARGV[9])
if record then
  reserved, at, requests = string.match(record, '^(%d+) (%d+) [^ ]* ?(%d*)$')
  reserved, at, requests = tonumber(reserved), tonumber(at), tonumber(requests) or 1 -- 1: an earlier version's
else -- granted while Redis was away, or before it lost its memory
  open(totals, scopes, window, id, requests, reserved, user, at, hold)
end
if used == -2 then return 1 end

redis.call('HDEL', KEYS[1], id)
local kept = math.max(0, used)
local outcome = used < 0 and 'refunded_requests' or 'settled_requests'
totals[outcome] = totals[outcome] + requests
totals.reserved_tokens = totals.reserved_tokens + math.max(0, kept - reserved)
totals.settled_tokens = totals.settled_tokens + kept
totals.refunded_tokens = totals.refunded_tokens + math.max(0, reserved - kept)
write_totals(totals)
for _, scope in ipairs(scopes) do
  forget(scope)
  local member = int(requests) .. ':' .. int(reserved) .. ':' .. id
  local score = redis.call('ZSCORE', scope.log, member)
  if score then
    redis.call('ZREM', scope.log, member)
    scope.r, scope.t = scope.r - requests, scope.t - reserved
    if used >= 0 then add(scope, window, requests, used, id, tonumber(score)) end
  elseif used > reserved then -- it outlived the window, and its excess is of now
    add(scope, window, 0, used - reserved, id, now)
  end
  book(scope, kept - reserved, at)
  save(scope, window)
end
return 1
"""
)

# Ids past due and their records; those that are closed are forgotten.
_OVERDUE = """
local clock = redis.call('TIME')
local overdue = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', clock[1] * 1000000 + clock[2], 'LIMIT', 0, 100)) do
  local record = redis.call('HGET', KEYS[1], id)
  if record then
    overdue[#overdue + 1] = id
    overdue[#overdue + 1] = record
  else
    redis.call('ZREM', KEYS[2], id)
  end
end
return overdue
"""

# A worker is here; answers how many have been within ARGV[2] seconds.
_BEAT = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
return redis.call('ZCARD', KEYS[1])
"""

_ADD_APPS = "for _, app in ipairs(ARGV) do redis.call('SADD', KEYS[1], app) end"


@dataclass(frozen=True, slots=True)
class Record:
    """An open reservation in Redis; `user` is the digest of an end user, "" without one."""

    app: str
    user: str
    request_id: str
    tokens: int
    requests: int = 1  # how many requests it counts as


@dataclass(frozen=True, slots=True)
class Taken:
    """The result of `take`: whether it was granted, the era of Redis's data, and the state of the limits."""

    granted: bool
    era: int
    buckets: tuple[Bucket, ...]


class LimitStore:
    """The scripts as methods; they raise what is in `AWAY` if Redis is unavailable or full, and always ask it.

    Args:
        redis: Redis, guarded for the limits.
        window_s: length of "a minute".
        hold_s: time after which an open reservation is overdue; longer than the longest request.

    """

    def __init__(self, redis: GuardedRedis, *, window_s: float, hold_s: float) -> None:
        self.redis = redis
        self._window_us = round(window_s * 1e6)
        self._hold_us = round(hold_s * 1e6)
        self._client = redis.client
        self._take = redis.client.register_script(_TAKE)
        self._close = redis.client.register_script(_CLOSE)
        self._overdue = redis.client.register_script(_OVERDUE)
        self._beat = redis.client.register_script(_BEAT)
        self._add_apps = redis.client.register_script(_ADD_APPS)

    async def take(self, record: Record, scopes: Sequence[Limits]) -> Taken:
        """Reserve in all scopes (the app's, then the user's if there is one) or in none; one round trip."""
        limits: list[EncodableT] = [UNLIMITED if limit is None else limit for scope in scopes for limit in scope]
        arguments: list[EncodableT] = [record.request_id, record.tokens, self._window_us, self._hold_us, record.user]
        async with self.redis.probing():
            result = await self._take(_keys(record), [*arguments, record.requests, *limits])
        granted, era, now_us, *numbers = map(int, result.split(b" "))
        standing: list[Bucket] = []
        for of, scope, at in zip(("app", "user"), scopes, range(0, len(numbers), 7), strict=False):
            requests, tokens, day_tokens, newest_us, *waits_us = numbers[at : at + 7]
            reset_s = max(0, newest_us + self._window_us - now_us) / 1e6 if requests or tokens else 0.0
            use = Use(requests, tokens, day_tokens, reset_s, _until_midnight_s(now_us))
            standing += buckets(of, scope, use, tuple(wait / 1e6 for wait in waits_us))
        return Taken(bool(granted), era, tuple(standing))

    async def close(self, record: Record, used: int, *, age_s: float, era: str) -> bool:
        """Settle (`used` tokens, 0 or more), REFUND, or only record it (KEEP_OPEN); False if there was nothing to do.

        `age_s` is how long ago it was granted; `era` is Taken.era, "" if Redis was unavailable then, or FORGET.
        """
        arguments: list[EncodableT] = [record.request_id, used, self._window_us, self._hold_us, record.user]
        arguments += [record.tokens, round(age_s * 1e6), era, record.requests]
        async with self.redis.probing():
            return bool(await self._close(_keys(record), arguments))

    async def find(self, app: str, request_id: str) -> Record | None:
        """Return the open reservation with this id."""
        async with self.redis.probing():
            found: Any = await self._client.hget(_prefix(app) + "open", request_id)
        return None if found is None else _record(app, request_id, found.decode())

    async def overdue(self, app: str) -> list[Record]:
        """Return up to 100 overdue open reservations, and forget ids that were closed before."""
        async with self.redis.probing():
            found = [item.decode() for item in await self._overdue([_prefix(app) + "open", _prefix(app) + "due"])]
        return [_record(app, *pair) for pair in zip(found[::2], found[1::2], strict=True)]

    async def totals(self, app: str) -> dict[str, int]:
        """Return reserved, settled, refunded and open, each as _requests and _tokens, since Redis was last empty."""
        async with self.redis.probing(), self._client.pipeline(transaction=True) as pipeline:
            pipeline.hgetall(_prefix(app) + "state")
            pipeline.hvals(_prefix(app) + "open")
            state, records = await pipeline.execute()
        known = {name.decode(): int(value) for name, value in state.items()}
        totals = {
            f"{what}_{unit}": known.get(f"{what}_{unit}", 0)
            for what in ("reserved", "settled", "refunded")
            for unit in ("requests", "tokens")
        }
        return totals | {
            "open_requests": sum(_record("", "", record.decode()).requests for record in records),
            "open_tokens": sum(int(record.split()[0]) for record in records),
        }

    async def beat(self, worker: str, gone_s: float) -> int:
        """Register `worker`; returns the number of workers seen within `gone_s`."""
        async with self.redis.probing():
            return int(await self._beat([PREFIX + "workers"], [worker, math.ceil(gone_s)]))

    async def leave(self, worker: str) -> None:
        """Deregister `worker`."""
        async with self.redis.probing():
            await self._client.zrem(PREFIX + "workers", worker)

    async def add_apps(self, apps: Sequence[str]) -> None:
        """Add applications whose reservations are to be swept.

        A script, because all scripts share a connection: the first requests of an application would open one each.
        """
        async with self.redis.probing():
            await self._add_apps([PREFIX + "apps"], apps)

    async def apps(self) -> list[str]:
        """Return all applications that ever had reservations."""
        async with self.redis.probing():
            apps: Any = await self._client.smembers(PREFIX + "apps")
        return sorted(app.decode() for app in apps)


def _prefix(app: str) -> str:
    return f"{PREFIX}{{{quote(app, safe='')}}}:"


def _keys(record: Record) -> list[str]:
    prefix = _prefix(record.app)
    keys = [prefix + name for name in ("open", "due", "state", "log", "sums")]
    if record.user:
        keys += [f"{prefix}{record.user}:log", f"{prefix}{record.user}:sums"]
    return keys


def _record(app: str, request_id: str, stored: str) -> Record:
    tokens, _at, user, *requests = stored.split(" ")
    return Record(app, user, request_id, int(tokens), int(requests[0]) if requests else 1)


def _until_midnight_s(now_us: int) -> float:
    day_us = 86_400_000_000
    return (day_us - now_us % day_us) / 1e6
