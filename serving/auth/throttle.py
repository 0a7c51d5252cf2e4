"""How many unknown keys an address may present: a token bucket each, as a virtual schedule (GCRA, ITU-T I.371).

It is asked before a key is looked up, so that guesses cost no SQL. It does not know keys, nor which addresses are
proxies: behind one that does not say for whom it asks, all of its clients are one address.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

BURST = 50  # unknown keys at once; looking up a good one takes a place for the moment of the look-up only
REFILL_S = 1.0  # then one in this time
MAX_ADDRESSES = 10_000  # remembered; whoever was seen longest ago is forgotten first
IPV6_PREFIX = 64  # bits that a single customer is given


class AuthThrottle:
    """One gateway worker's.

    Args:
        clock: monotonic seconds.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()  # when an address will have its whole burst again

    def take(self, address: str) -> float:
        """Take one attempt; seconds to wait when there is none, and 0 when it was taken."""
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
        """The attempt was none: its key is good, or nobody could tell."""
        name = _network(address)
        if name in self._full_at:
            self._full_at[name] -= REFILL_S


def _network(address: str) -> str:
    """Whom an address belongs to: an IPv6 one to its /64."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]  # a socket without addresses, or a proxy's word for a client
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip) >> IPV6_PREFIX << IPV6_PREFIX, IPV6_PREFIX)))
