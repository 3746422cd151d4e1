"""The images of the container tests, built without a registry: from the interpreter and the libraries of this machine.

`TEST_BASE_IMAGE` names a base image to use instead. Each image is built once and kept, tagged with a digest of what it
was made of.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pip

ROOT = Path(__file__).resolve().parents[3]
BASE_VARIABLE = "TEST_BASE_IMAGE"
LOCKS = ("requirements.lock", "requirements-build.lock")
SOURCES = (
    "Dockerfile",
    ".dockerignore",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "pytest_clusterd.py",
    *LOCKS,
    "clusterd",
    "cli",
)
_TOOLS = ("/bin/sh", "/bin/sleep")
_LIBRARIES = (  # that wheels are linked with
    *("libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libm.so.6"),
    *("libstdc++.so.6", "libgcc_s.so.1", "libz.so.1"),
)
_NOT_NEEDED = re.compile(
    r"/(test|tests|idlelib|tkinter|turtledemo|ensurepip|site-packages|dist-packages|config-[^/]*)(/|$)"
)
_OFFLINE = "--no-index --find-links /lock"


def clusterd_image(client: Any, cache: Path) -> str:
    """Return the tag of clusterd's image, built from the Dockerfile unless it is there; `cache` keeps its wheels."""
    with _one_at_a_time(cache):
        base = os.environ.get(BASE_VARIABLE) or _base_image(client)
        tag = f"clusterd-test/clusterd:{_digest([base.encode(), *_contents(SOURCES)])}"
        if not _exists(client, tag):
            _build_clusterd(client, base, tag, _wheels(cache))
        return tag


@contextlib.contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    """Processes that test in parallel don't build the same thing at once."""
    with (cache / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _base_image(client: Any) -> str:
    python = Path(os.path.realpath(sys._base_executable))
    tag = f"clusterd-test/python:{_digest([sys.version.encode(), python.read_bytes(), Path(__file__).read_bytes()])}"
    if not _exists(client, tag):
        with tempfile.TemporaryDirectory(prefix="clusterd-base-") as context:
            with tarfile.open(Path(context, "base.tar"), "w") as archive:
                _pack_python(archive, python)
            Path(context, "Dockerfile").write_text("FROM scratch\nADD base.tar /\nENV PATH=/usr/local/bin:/bin\n")
            client.images.build(path=context, tag=tag, rm=True)
    return tag


def _pack_python(archive: tarfile.TarFile, python: Path) -> None:
    version = f"python{sysconfig.get_python_version()}"
    stdlib = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix, "base": sys.base_prefix}))
    library = f"usr/local/lib/{version}"
    archive.add(python, f"usr/local/bin/{version}")
    for name in ("python3", "python"):
        _link(archive, f"usr/local/bin/{name}", version)
    archive.add(stdlib, library, filter=_needed)
    archive.add(Path(pip.__file__).parent, f"{library}/pip", filter=_needed)
    binaries = [python, *map(Path, _TOOLS), *(stdlib / "lib-dynload").glob("*.so")]
    for tool in _TOOLS:
        archive.add(Path(tool).resolve(), tool.lstrip("/"))
    for path in sorted(_libraries(binaries)):
        archive.add(path.resolve(), str(path).lstrip("/"))
    _directory(archive, "tmp", 0o1777)
    _file(archive, "etc/passwd", b"root:x:0:0::/:/bin/sh\n")


def _needed(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if _NOT_NEEDED.search(f"/{entry.name}") else entry


def _libraries(binaries: Iterable[Path]) -> set[Path]:
    """Return the shared libraries that these need, with their loader, and those that are loaded by name later."""
    found: set[Path] = set()
    for binary in binaries:
        listed = subprocess.run(["ldd", binary], capture_output=True, text=True)
        found.update(map(Path, re.findall(r"(/\S+) \(0x", listed.stdout)))
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    for name in _LIBRARIES:
        found.update(map(Path, re.findall(rf"{re.escape(name)} \(libc6,x86-64.*\) => (\S+)", known)))
    return found


def _link(archive: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    archive.addfile(entry)


def _directory(archive: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    archive.addfile(entry)


def _file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _wheels(cache: Path) -> Path:
    """Return a folder with all that the locks name, for this Python; made once for each content of the locks."""
    folder = cache / f"wheels-{_digest([sys.version.encode(), *_contents(LOCKS)])}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache) as partial:
            for lock in LOCKS:
                command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
                command += ["--require-hashes", "--no-deps", "--dest", partial, "--requirement", str(ROOT / lock)]
                result = subprocess.run(command, capture_output=True, text=True)
                assert result.returncode == 0, f"the wheels of {lock} could not be had:\n{result.stderr}"
            shutil.copytree(partial, folder)
    return folder


def _build_clusterd(client: Any, base: str, tag: str, wheels: Path) -> None:
    """Build it without a network, so that it shows what is claimed: nothing but the base and the wheels is needed."""
    with tempfile.TemporaryDirectory(prefix="clusterd-context-") as context:
        for name in SOURCES:
            source, target = ROOT / name, Path(context, name)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        shutil.copytree(wheels, Path(context, "wheels"))
        arguments = {"BASE_IMAGE": base, "PIP_OPTIONS": _OFFLINE, "VERSION": "0.0.0-test"}
        client.images.build(path=context, tag=tag, buildargs=arguments, network_mode="none", rm=True)


def _exists(client: Any, tag: str) -> bool:
    return any(tag in image.tags for image in client.images.list())


def _contents(names: Iterable[str]) -> Iterator[bytes]:
    for name in names:
        path = ROOT / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            yield str(file.relative_to(ROOT)).encode()
            yield file.read_bytes()


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]
