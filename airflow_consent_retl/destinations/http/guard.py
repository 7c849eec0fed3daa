"""The guard of network addresses: it decides which ones may be contacted. Pure: it resolves and connects nothing."""

from __future__ import annotations

import ipaddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Prefixes whose last 32 bits are an IPv4 address: `::/96` (compatible, RFC 4291), stateless translation (RFC 7915).
_EMBEDDING = (ipaddress.ip_network("::/96"), ipaddress.ip_network("::ffff:0:0:0/96"))
# The network-specific prefixes of NAT64 put the IPv4 address at one of six places (RFC 6052, section 2.2). Where a
# local-use prefix (RFC 8215) puts it is not known, so each place is looked at.
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
_NAT64_PREFIXES = (32, 40, 48, 56, 64, 96)
# The last 64 bits of an address of ISATAP (RFC 5214) begin so, and end with the IPv4 address.
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
# Addresses where clouds give credentials to every caller; none of them is ever a destination. All link-local
# addresses are refused. Read in November 2026 in the vendors' pages on instance metadata.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "100.100.100.200",  # Alibaba Cloud
            "168.63.129.16",  # Azure, a public address
            "192.0.0.192",  # Oracle Cloud
            "fd00:ec2::254",  # AWS, instance metadata
            "fd00:ec2::23",  # AWS, pod identity
            "fd20:ce::254",  # Google Cloud
        ),
    )
)


def refusal(address: IPAddress, *, allow_private: bool, plain: bool) -> str | None:
    """Return the reason why an address may not be contacted, or None.

    Args:
        address: an address of the host.
        allow_private: whether addresses inside the own network are allowed.
        plain: whether the request would not be encrypted, which is allowed only inside the own network.
    """
    parts = _parts(address)
    if any(_never(part) for part in parts):
        return "which is never a destination (metadata, link-local, multicast or unspecified)"
    public = all(_public(part) for part in parts)
    if not public and not allow_private:
        return "an address inside the own network; set `allow_private` in the connection's extra if that is meant"
    if public and plain:
        return "a public address, over plain http; use https"
    return None


def _parts(address: IPAddress) -> tuple[IPAddress, ...]:
    """Return the addresses where packets to this one may end: IPv6 has many ways to embed an IPv4 address."""
    if not isinstance(address, ipaddress.IPv6Address):
        return (address,)
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped is not None or address in _NAT64:
        return (low,)
    embedded: list[ipaddress.IPv4Address] = []
    if address.sixtofour is not None:
        embedded = [address.sixtofour]
    elif address.teredo is not None:
        embedded = list(address.teredo)
    elif address in _LOCAL_NAT64:
        # Zeros are padding: the address is at another place.
        found = (_nat64(address, prefix) for prefix in _NAT64_PREFIXES)
        embedded = [one for one in found if not one.is_unspecified]
    elif int(address) >> 32 & 0xFFFFFFFF in _ISATAP or any(address in network for network in _EMBEDDING):
        embedded = [low] if int(address) > 1 else []
    return address, *embedded


def _nat64(address: ipaddress.IPv6Address, prefix: int) -> ipaddress.IPv4Address:
    """Return the IPv4 address behind a prefix of this many bits; bits 64 to 71 are no part of it."""
    bits = f"{int(address):0128b}"
    found = bits[prefix : prefix + 32] if prefix == 96 else (bits[prefix:64] + bits[72:])[:32]
    return ipaddress.IPv4Address(int(found, 2))


def _never(address: IPAddress) -> bool:
    return address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified


def _public(address: IPAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (
        address not in _GLOBAL_UNICAST
        # Relays of retired protocols (RFC 7526), which Python's versions classify differently.
        or address.sixtofour is not None
        or address.teredo is not None
    ):
        return False
    return address.is_global and not address.is_reserved
