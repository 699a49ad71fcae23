"""The asynchronous examples, and common forms of user programs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from guestkit import AsyncGuestfs
from guestkit.demo import DEMO_SYSTEM

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "python"

#: Seconds; only something that hangs takes longer.
PATIENCE = 300


def hypervisors(process: int) -> list[int]:
    """Return the ids of the QEMU processes that a process has started."""
    lists = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children")]
    numbers = [int(number) for text in lists for number in text.split()]
    return [number for number in numbers if Path(f"/proc/{number}/comm").read_text().startswith("qemu")]


async def first_hypervisors(process: int) -> list[int]:
    """Wait until the process has started QEMU; return the process ids."""
    async with asyncio.timeout(PATIENCE):
        while not (found := hypervisors(process)):  # noqa: ASYNC110 - another process sends no signal
            await asyncio.sleep(0.01)
    return found


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- async_inspection.py


@pytest.fixture
def here(tmp_path: Path, demo_guest: Path) -> Path:
    """A directory with guest.img, the demo guest, and empty.img, a disk with nothing on it."""
    (tmp_path / "guest.img").hardlink_to(demo_guest)
    (tmp_path / "empty.img").write_bytes(bytes(1024 * 1024))
    return tmp_path


def test_many_disks_at_once(here: Path) -> None:
    program = EXAMPLES / "async_inspection.py"
    lines = run(program, "many", "guest.img", "empty.img", "missing.img", folder=here).splitlines()
    assert lines[:2] == [f"guest.img: '{DEMO_SYSTEM.product_name}'", "empty.img: no operating system"]
    assert lines[2].startswith("missing.img: ")
    assert "no such file" in lines[2]
    assert len(lines) == 3


def test_results_as_they_come(here: Path) -> None:
    program = EXAMPLES / "async_inspection.py"
    first, second = run(program, "progress", "guest.img", "missing.img", folder=here).splitlines()
    assert first.startswith("[1/2] missing.img: ")
    assert second == f"[2/2] guest.img: '{DEMO_SYSTEM.product_name}'"


def test_files_are_extracted(here: Path) -> None:
    run(EXAMPLES / "async_inspection.py", "extract", "guest.img", here, "/etc/hostname", folder=here)
    assert (here / "hostname").read_text() == f"{DEMO_SYSTEM.hostname}\n"


def test_one_disk_and_a_comparison(here: Path) -> None:
    program = EXAMPLES / "async_inspection.py"
    assert run(program, "one", "guest.img", folder=here) == f"'{DEMO_SYSTEM.product_name}'\n"
    printed = run(program, "compare", "empty.img", folder=here)
    assert re.fullmatch(r"in turn [\d.]+ s, at once [\d.]+ s: [\d.]+ times as fast\n", printed)


# ---- the blocking handle in pools of threads and processes

PARTITIONS = """
import multiprocessing, sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pool
from guestkit import Guestfs

def partitions(disk):
    with Guestfs() as g:
        g.add_drive_ro(disk)
        g.launch()
        return g.list_partitions()
"""
THREADS = """
with ThreadPoolExecutor(max_workers=4) as executor:
    results = list(executor.map(partitions, disk_list))
"""
PROCESSES = """
with Pool(4) as pool:
    results = pool.map(partitions, disk_list)
"""


@pytest.mark.parametrize(
    ("start", "form"),
    [("fork", THREADS), ("fork", PROCESSES), ("spawn", PROCESSES)],
    ids=["threads", "forked", "spawned"],
)
def test_a_pool_maps_a_function_of_the_blocking_handle(here: Path, start: str, form: str) -> None:
    # The parent has used a handle before the fork: its locks must not block the children.
    lines = [
        f"multiprocessing.set_start_method('{start}')",
        "Guestfs().get_memsize()",
        "disk_list = sys.argv[1:]",
    ]
    main = "\n".join([*lines, form, "print(results)"]).replace("\n", "\n    ")
    (here / "program.py").write_text(f"{PARTITIONS}\nif __name__ == '__main__':\n    {main}\n")
    assert run("program.py", "guest.img", "empty.img", folder=here) == "[['/dev/sda1', '/dev/sda2'], []]\n"


# ---- fastapi_service.py


class Service:
    """The example service on its own port, and a client."""

    def __init__(self, process: asyncio.subprocess.Process, client: httpx.AsyncClient) -> None:
        self.process = process
        self.client = client

    async def idle(self) -> None:
        """Wait until the service reports that no inspection runs."""
        async with asyncio.timeout(PATIENCE):
            while (await self.client.get("/inspections")).json() != {"running": 0}:
                pass


@pytest_asyncio.fixture
async def service(here: Path) -> AsyncIterator[Service]:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", "0", "--app-dir", str(EXAMPLES)],
        "fastapi_service:app",
        env=os.environ | {"GUESTKIT_DISKS": str(here)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    address = None
    async with asyncio.timeout(PATIENCE):
        while address is None:
            line = (await process.stderr.readline()).decode()
            assert line, "the service has ended"
            address = re.search(r"http://127\.0\.0\.1:\d+", line)
    async with httpx.AsyncClient(base_url=address.group(), timeout=PATIENCE) as client:
        yield Service(process, client)
    if process.returncode is None:
        process.terminate()
    await process.communicate()


async def messages(response: httpx.Response) -> AsyncIterator[tuple[str, dict[str, object]]]:
    event = ""
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            yield event, json.loads(value)


async def test_the_service_tells_progress_and_the_result(service: Service) -> None:
    async with service.client.stream("POST", "/inspections", json={"disk": "guest.img"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        received = [message async for message in messages(response)]
    *progress, result = received
    assert progress[0] == ("progress", {"step": "starting the appliance"})
    assert ("progress", {"step": "looking for operating systems"}) in progress
    system = {"root": DEMO_SYSTEM.root, "name": DEMO_SYSTEM.product_name, "packages": 5}
    assert result == ("result", {"systems": [system], "unopened": []})


@pytest.mark.parametrize("disk", ["../x", "/etc/passwd", "link.img", "missing.img", "."])
async def test_the_service_opens_no_file_elsewhere(service: Service, here: Path, disk: str) -> None:
    (here / "link.img").symlink_to("/etc/passwd")
    assert (await service.client.post("/inspections", json={"disk": disk})).status_code == 404


async def test_closing_the_connection_ends_the_appliance(service: Service) -> None:
    async with service.client.stream("POST", "/inspections", json={"disk": "empty.img"}) as response:
        received = messages(response)
        await anext(received)
        assert (await service.client.get("/inspections")).json() == {"running": 1}
        assert await first_hypervisors(service.process.pid)
    await service.idle()
    assert hypervisors(service.process.pid) == []


async def test_the_service_says_what_is_wrong_with_a_disk(service: Service, here: Path) -> None:
    (here / "broken.qcow2").write_bytes(b"QFI\xfb" + bytes(500))
    answer = await service.client.post("/inspections", json={"disk": "broken.qcow2"})
    assert answer.text.split("\n\n")[-2].startswith("event: error\n")


async def test_ending_the_service_ends_what_it_inspects(service: Service) -> None:
    async with service.client.stream("POST", "/inspections", json={"disk": "empty.img"}) as response:
        received = messages(response)  # keeps the generator alive: httpx closes the connection with it
        await anext(received)
        (qemu,) = map(os.pidfd_open, await first_hypervisors(service.process.pid))
        service.process.terminate()
        await asyncio.wait_for(service.process.wait(), PATIENCE)
    ended, _, _ = select.select([qemu], [], [], 0)
    os.close(qemu)
    assert ended


# ---- aiohttp


async def test_an_aiohttp_handler_is_cancelled_with_its_connection(here: Path) -> None:
    ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def inspect(request: web.Request) -> web.Response:
        try:
            async with AsyncGuestfs() as g:
                await g.add_drive_ro(here / request.match_info["disk"])
                await g.launch()
                return web.json_response([await g.inspect_get_hostname(r) for r in await g.inspect_os()])
        finally:
            ended.set_result(sys.exc_info()[0])

    app = web.Application()
    app.router.add_get("/{disk}", inspect)
    async with TestServer(app) as server, ClientSession() as client:
        async with client.get(server.make_url("/guest.img")) as response:
            assert await response.json() == [DEMO_SYSTEM.hostname]
        assert await ended is None
        ended = asyncio.get_running_loop().create_future()
        request = asyncio.ensure_future(client.get(server.make_url("/empty.img")))
        await first_hypervisors(os.getpid())
        request.cancel()
        assert await asyncio.wait_for(ended, PATIENCE) is asyncio.CancelledError
    assert hypervisors(os.getpid()) == []
