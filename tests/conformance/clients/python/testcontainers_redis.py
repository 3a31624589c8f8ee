"""Testcontainers against the daemon that DOCKER_HOST names, with a real redis. Its image is loaded.

The reaper is off: its published image cannot be had without a registry.
"""

import os
import socket
import unittest

os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
# Where the tests themselves run in a container, it would look for the ports at the bridge's gateway.
os.environ["TESTCONTAINERS_CONNECTION_MODE"] = "docker_host"

from testcontainers.core.container import DockerContainer  # noqa: E402 (reads the environment)
from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # noqa: E402

PORT = 6379


class Redis(unittest.TestCase):
    """A test that needs a server."""

    def test_a_server_is_there_once_its_log_says_so_and_gone_afterwards(self):
        server = (
            DockerContainer("redis")
            .with_command("redis-server --protected-mode no")
            .with_exposed_ports(PORT)
            .waiting_for(LogMessageWaitStrategy("Ready to accept connections"))
        )
        with server:
            address = (server.get_container_host_ip(), int(server.get_exposed_port(PORT)))
            with socket.create_connection(address, timeout=10) as connection:
                connection.sendall(b"PING\r\n")
                self.assertEqual(connection.recv(100), b"+PONG\r\n")
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(address, timeout=10)


if __name__ == "__main__":
    unittest.main()
