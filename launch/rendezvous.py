"""Where this machine stands towards the head of several: prints shell assignments for multinode.sh.

    python launch/rendezvous.py 10.0.0.1      → is_host=true local_address=10.0.0.1 interface=eth0

torchrun finds the machine that keeps the store by comparing host names, and publishes the address that its own host
name resolves to. In containers and behind NAT both are often wrong (127.0.1.1, or a name that nobody resolves), and
the ranks then wait for one another forever. The route to the head tells both for certain.
"""

import array
import fcntl
import socket
import struct
import sys

SIOCGIFADDR = 0x8915
"""Linux's request for an interface's IPv4 address (netdevice(7))."""


def is_own(address: str) -> bool:
    """Whether this machine holds the address: only then may a socket be bound to it."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def address_towards(head: str) -> str:
    """This machine's address on the route to `head`; connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((head, 9))
        return str(probe.getsockname()[0])


def interface_of(address: str) -> str:
    """Name of the network interface that holds the address; "" where none does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = array.array("B", struct.pack("256s", name.encode()[:15]))
            try:
                fcntl.ioctl(probe.fileno(), SIOCGIFADDR, request)
            except OSError:
                continue  # an interface without an IPv4 address
            if socket.inet_ntoa(request.tobytes()[20:24]) == address:
                return name
    return ""


def main() -> None:
    """Print the assignments for the head named on the command line."""
    name = sys.argv[1]
    try:
        head = socket.gethostbyname(name)
        is_host = is_own(head)
        local = head if is_host else address_towards(head)
    except OSError as error:
        sys.exit(f"multinode: --head {name}: {error.strerror}; name an address that every machine reaches")
    print(f"is_host={str(is_host).lower()} local_address={local} interface={interface_of(local)}")


if __name__ == "__main__":
    main()
