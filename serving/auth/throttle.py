"""How many unknown keys an address may present, so that guesses cost no SQL.

It is asked before a key is looked up. It does not know keys, nor which addresses are proxies: behind one that does not
say for whom it asks, all of its clients are one address.
"""

import ipaddress
from collections.abc import Callable

from serving.resilience.throttle import Throttle

BURST = 50  # unknown keys at once; looking up a good one takes a place for the moment of the look-up only
REFILL_S = 1.0  # then one in this time
IPV6_PREFIX = 64  # bits that a single customer is given


class AuthThrottle:
    """One gateway worker's.

    Args:
        clock: monotonic seconds.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._throttle = Throttle(clock, burst=BURST, refill_s=REFILL_S)

    def take(self, address: str) -> float:
        """Take one attempt; seconds to wait when there is none, and 0 when it was taken."""
        return self._throttle.take(_network(address))

    def give_back(self, address: str) -> None:
        """The attempt was none: its key is good, or nobody could tell."""
        self._throttle.give_back(_network(address))


def _network(address: str) -> str:
    """Whom an address belongs to: an IPv6 one to its /64."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]  # a socket without addresses, or a proxy's word for a client
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip) >> IPV6_PREFIX << IPV6_PREFIX, IPV6_PREFIX)))
