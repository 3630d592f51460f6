"""Ports from the kernel. A port is kept by a bound socket until the program
that shall have it starts, and claimed among the test processes until it is
released: two gateways never get the same one."""
import socket


class Port:
    """A free port on IPv4 and IPv6."""

    def __init__(self):
        self.claim = None
        while self.claim is None:
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self.socket.bind(("::", 0))
            self.number = self.socket.getsockname()[1]
            self._claim()

    def _claim(self):
        """An abstract name is held by one process, and gone with it."""
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0daemun-wire-port-{self.number}")
        except OSError:
            claim.close()
            self.socket.close()
        else:
            self.claim = claim

    def give(self):
        """Lets go of the port, for the program that is about to start."""
        self.socket.close()
        return self.number

    def release(self):
        """The program has ended."""
        self.socket.close()
        self.claim.close()


def free_port():
    """A port that was free a moment ago."""
    port = Port()
    port.release()
    return port.number
