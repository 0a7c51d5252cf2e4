"""Limits attempts with unknown API keys by client address, so that guesses cost no SQL.

It is checked before a key is looked up. This module does not know keys or proxies: all clients behind a proxy that does
not forward their addresses share one limit.
"""

import ipaddress
from collections.abc import Callable

from serving.resilience.throttle import Throttle

BURST = 50  # unknown keys at once; a valid key only counts during its lookup
REFILL_S = 1.0  # time per further attempt
IPV6_PREFIX = 64  # bits of the prefix that one customer usually has


class AuthThrottle:
    """The limit of one gateway worker.

    Args:
        clock: monotonic seconds.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._throttle = Throttle(clock, burst=BURST, refill_s=REFILL_S)

    def take(self, address: str) -> float:
        """Take one attempt; returns 0 if it is allowed, otherwise the seconds to wait."""
        return self._throttle.take(_network(address))

    def give_back(self, address: str) -> None:
        """Return an attempt whose key is valid or could not be checked."""
        self._throttle.give_back(_network(address))


def _network(address: str) -> str:
    """The network that shares a limit: an IPv4 address itself, an IPv6 address's /64."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]  # a Unix socket, or a name that a proxy forwards
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip) >> IPV6_PREFIX << IPV6_PREFIX, IPV6_PREFIX)))
