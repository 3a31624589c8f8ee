"""docker-py, Docker's own library for Python, against the daemon that DOCKER_HOST names.

A busybox image is loaded already. Every test leaves nothing behind.
"""

import io
import tarfile
import time
import unittest

import docker

BUSYBOX = "busybox"


class DockerPy(unittest.TestCase):
    """What programs on docker-py do most."""

    def setUp(self):
        self.client = docker.from_env(timeout=60)
        self.addCleanup(self.client.close)

    def container(self, *command, **options):
        """A container in the background that goes with the test."""
        container = self.client.containers.run(BUSYBOX, list(command), detach=True, **options)
        self.addCleanup(container.remove, force=True, v=True)
        return container

    def test_the_server_tells_what_it_is(self):
        self.assertTrue(self.client.ping())
        self.assertEqual(self.client.version()["Os"], "linux")
        self.assertIn("Containers", self.client.info())

    def test_a_command_gives_its_output(self):
        output = self.client.containers.run(BUSYBOX, ["echo", "hello"], remove=True)
        self.assertEqual(output, b"hello\n")

    def test_a_failing_command_raises_with_its_exit_code_and_words(self):
        with self.assertRaises(docker.errors.ContainerError) as raised:
            self.client.containers.run(BUSYBOX, "sh -c 'echo no >&2; exit 3'", remove=True)
        self.assertEqual(raised.exception.exit_status, 3)
        self.assertEqual(raised.exception.stderr, b"no\n")

    def test_an_unknown_image_raises_image_not_found(self):
        with self.assertRaises(docker.errors.ImageNotFound):
            self.client.images.get("no-such-image")

    def test_an_unknown_container_raises_not_found(self):
        with self.assertRaises(docker.errors.NotFound):
            self.client.containers.get("no-such-container")

    def test_a_container_lives_through_its_verbs(self):
        container = self.container("sleep", "1000", name="verbs", labels={"test": "verbs"})
        listed = self.client.containers.list(filters={"label": "test=verbs"})
        self.assertEqual([each.name for each in listed], ["verbs"])
        container.pause()
        container.reload()
        self.assertEqual(container.status, "paused")
        container.unpause()
        container.rename("renamed")
        container.restart(timeout=0)
        container.reload()
        self.assertEqual((container.name, container.status), ("renamed", "running"))
        container.kill()
        self.assertEqual(container.wait()["StatusCode"], 137)

    def test_exec_keeps_outputs_apart_and_tells_the_exit_code(self):
        container = self.container("sleep", "1000")
        result = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
        self.assertEqual(result.exit_code, 4)
        self.assertEqual(result.output, (b"out\n", b"err\n"))

    def test_exec_takes_input_on_a_socket(self):
        container = self.container("sleep", "1000")
        created = self.client.api.exec_create(container.id, ["cat"], stdin=True, tty=True)
        socket = self.client.api.exec_start(created["Id"], socket=True, tty=True)
        self.addCleanup(socket.close)
        socket._sock.sendall(b"typed\n")
        self.assertIn(b"typed", socket._sock.recv(100))

    def test_logs_stream_until_the_end(self):
        container = self.container("sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done")
        self.assertEqual(b"".join(container.logs(stream=True, follow=True)), b"1\n2\n3\n")
        container.wait()
        self.assertEqual(container.logs(tail=1), b"3\n")

    def test_attach_hears_what_comes(self):
        container = self.container("sh", "-c", "sleep 1; echo late")
        self.assertEqual(b"".join(container.attach(stream=True, logs=True)), b"late\n")

    def test_a_published_port_is_told(self):
        container = self.container("sleep", "1000", ports={"80/tcp": ("127.0.0.1", None)})
        container.reload()
        bound = container.attrs["NetworkSettings"]["Ports"]["80/tcp"][0]
        self.assertEqual(bound["HostIp"], "127.0.0.1")
        self.assertGreater(int(bound["HostPort"]), 0)

    def test_events_tell_a_life(self):
        since = int(time.time())
        events = self.client.events(decode=True, since=since, filters={"container": "told"})
        self.addCleanup(events.close)
        self.client.containers.run(BUSYBOX, ["true"], name="told", remove=True)
        seen = []
        for event in events:
            seen.append(event["Action"])
            if event["Action"] == "destroy":
                break
        for action in ("create", "start", "die", "destroy"):
            self.assertIn(action, seen)

    def test_limits_reach_the_container(self):
        container = self.container("sleep", "1000", mem_limit="64m", pids_limit=50, nano_cpus=10**9)
        seen = container.exec_run(["cat", "/sys/fs/cgroup/memory.max"]).output
        self.assertEqual(seen.strip(), str(64 << 20).encode())
        self.assertEqual(container.attrs["HostConfig"]["PidsLimit"], 50)

    def test_images_are_listed_tagged_and_untagged(self):
        image = self.client.images.get(BUSYBOX)
        self.assertTrue(image.tag("other", "1.0"))
        self.assertIn("other:1.0", self.client.images.get(image.id).tags)
        self.client.images.remove("other:1.0")
        self.assertEqual(self.client.images.list(name="other"), [])


class Networks(unittest.TestCase):
    """Containers that find each other."""

    def setUp(self):
        self.client = docker.from_env(timeout=60)
        self.addCleanup(self.client.close)

    def test_containers_of_a_network_find_each_other_by_name(self):
        network = self.client.networks.create("pair")
        self.addCleanup(network.remove)
        server = self.client.containers.run(
            BUSYBOX,
            "sh -c 'echo found > /tmp/index.html; exec httpd -f -p 80 -h /tmp'",
            name="server",
            network="pair",
            init=True,
            detach=True,
        )
        self.addCleanup(server.remove, force=True)
        wait = "until wget -q -O - http://server/ 2>/dev/null; do sleep 0.1; done"
        answer = self.client.containers.run(
            BUSYBOX, ["sh", "-c", wait], network="pair", remove=True
        )
        self.assertEqual(answer, b"found\n")
        network.reload()
        self.assertEqual([each.name for each in network.containers], ["server"])


class Volumes(unittest.TestCase):
    """Data that outlives its container."""

    def setUp(self):
        self.client = docker.from_env(timeout=60)
        self.addCleanup(self.client.close)

    def test_a_volume_outlives_its_container(self):
        volume = self.client.volumes.create("kept", labels={"a": "b"})
        self.addCleanup(volume.remove)
        mounts = {"kept": {"bind": "/data", "mode": "rw"}}
        self.client.containers.run(
            BUSYBOX, "sh -c 'echo blue > /data/colour'", volumes=mounts, remove=True
        )
        read = self.client.containers.run(
            BUSYBOX, "cat /data/colour", volumes=mounts, remove=True
        )
        self.assertEqual(read, b"blue\n")


class Archives(unittest.TestCase):
    """Files in and out, as tar archives."""

    def setUp(self):
        self.client = docker.from_env(timeout=60)
        self.addCleanup(self.client.close)

    def test_files_go_in_and_come_out(self):
        container = self.client.containers.create(BUSYBOX, ["cat", "/tmp/in"])
        self.addCleanup(container.remove, force=True)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            entry = tarfile.TarInfo("in")
            entry.size = 5
            archive.addfile(entry, io.BytesIO(b"hello"))
        self.assertTrue(container.put_archive("/tmp", packed.getvalue()))
        container.start()
        container.wait()
        self.assertEqual(container.logs(), b"hello")
        chunks, facts = container.get_archive("/tmp/in")
        self.assertEqual(facts["size"], 5)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            self.assertEqual(archive.extractfile("in").read(), b"hello")


if __name__ == "__main__":
    unittest.main()
