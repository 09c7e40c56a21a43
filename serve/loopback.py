"""Which addresses belong to this machine alone."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether an address (or `localhost`) can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
