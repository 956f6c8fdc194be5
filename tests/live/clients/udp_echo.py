"""A peer on the Internet: it prints its address, as packets to the host that is named leave from it, and sends back what it receives by UDP.

Usage: `python -m tests.live.clients.udp_echo <host> <port to listen on>`
"""

import socket
import sys


def main() -> None:
    """Echo until it is killed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
        towards.connect((sys.argv[1], 9))
        address = towards.getsockname()[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        echo.bind((address, int(sys.argv[2])))
        print(address, flush=True)
        while True:
            data, sender = echo.recvfrom(65535)
            echo.sendto(data, sender)


main()
