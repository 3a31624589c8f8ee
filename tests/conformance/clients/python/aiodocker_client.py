"""aiodocker against the daemon that DOCKER_HOST names. A busybox image is loaded already."""

import unittest

import aiodocker

BUSYBOX = "busybox"


class AioDocker(unittest.IsolatedAsyncioTestCase):
    """What programs on aiodocker do most."""

    async def asyncSetUp(self):
        self.docker = aiodocker.Docker()
        self.addAsyncCleanup(self.docker.close)

    async def container(self, *command, **config):
        """A running container that goes with the test."""
        config = {"Image": BUSYBOX, "Cmd": list(command), **config}
        container = await self.docker.containers.create(config)
        self.addAsyncCleanup(container.delete, force=True)
        await container.start()
        return container

    async def test_a_command_gives_its_output(self):
        container = await self.container("sh", "-c", "echo out; echo err >&2; exit 3")
        self.assertEqual((await container.wait())["StatusCode"], 3)
        self.assertEqual("".join(await container.log(stdout=True)), "out\n")
        self.assertEqual("".join(await container.log(stderr=True)), "err\n")

    async def test_input_is_carried_over_a_web_socket_or_stream(self):
        container = await self.container("cat", Tty=True, OpenStdin=True)
        async with container.attach(stdin=True, stdout=True) as stream:
            await stream.write_in(b"typed\n")
            message = await stream.read_out()
        self.assertIn(b"typed", message.data)

    async def test_exec_keeps_outputs_apart(self):
        container = await self.container("sleep", "1000")
        process = await container.exec(["sh", "-c", "echo out; echo err >&2; exit 4"])
        seen = {1: b"", 2: b""}
        async with process.start(detach=False) as stream:
            while (message := await stream.read_out()) is not None:
                seen[message.stream] += message.data
        self.assertEqual(seen, {1: b"out\n", 2: b"err\n"})
        self.assertEqual((await process.inspect())["ExitCode"], 4)

    async def test_an_unknown_container_is_a_404(self):
        with self.assertRaises(aiodocker.DockerError) as raised:
            await self.docker.containers.get("no-such-container")
        self.assertEqual(raised.exception.status, 404)

    async def test_images_and_facts(self):
        names = [tag for image in await self.docker.images.list() for tag in image["RepoTags"]]
        self.assertIn("busybox:latest", names)
        self.assertEqual((await self.docker.version())["Os"], "linux")


if __name__ == "__main__":
    unittest.main()
