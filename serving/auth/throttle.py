"""Limits unknown keys per address with a token bucket, as a virtual schedule (GCRA, ITU-T I.371).

It is checked before a key is looked up, so that guesses cost no SQL query. It does not know keys, nor which addresses
are proxies: all clients of a proxy that does not forward their addresses share one bucket.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

BURST = 50  # unknown keys at once; a valid key uses one only during its lookup
REFILL_S = 1.0  # time after which one more is allowed
MAX_ADDRESSES = 10_000  # remembered; the least recently seen is forgotten first
IPV6_PREFIX = 64  # bits of the network that a single customer usually has


class AuthThrottle:
    """The throttle of one gateway worker.

    Args:
        clock: monotonic seconds.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()  # when the bucket of an address will be full again

    def take(self, address: str) -> float:
        """Take one attempt; returns 0 if it was taken, else the seconds to wait."""
        name, now = _network(address), self._clock()
        full_at = max(self._full_at.get(name, now), now) + REFILL_S
        wait_s = full_at - now - BURST * REFILL_S
        if wait_s > 0:
            return wait_s
        self._full_at[name] = full_at
        self._full_at.move_to_end(name)
        while len(self._full_at) > MAX_ADDRESSES:
            self._full_at.popitem(last=False)
        return 0.0

    def give_back(self, address: str) -> None:
        """Return an attempt whose key was valid or could not be checked."""
        name = _network(address)
        if name in self._full_at:
            self._full_at[name] -= REFILL_S


def _network(address: str) -> str:
    """The network of an address: the /64 of an IPv6 address, an IPv4 address itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]  # a Unix socket, or a proxy's own name for a client
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip) >> IPV6_PREFIX << IPV6_PREFIX, IPV6_PREFIX)))
