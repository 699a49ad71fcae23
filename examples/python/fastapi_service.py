"""An inspection service: POST a disk's name, read the progress and the result as server-sent events.

    GUESTKIT_DISKS=/var/lib/images uvicorn --host 127.0.0.1 --port 8000 fastapi_service:app
    curl -N --json '{"disk": "debian.qcow2"}' http://127.0.0.1:8000/inspections

Closing the connection cancels the inspection and ends its appliance. Whoever can reach the service can read
the names of the disks' systems: it listens only on the loopback, and takes disks only from one folder.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from guestkit import AsyncGuestfs, Error

FOLDER = Path(os.environ.get("GUESTKIT_DISKS", ".")).resolve()

#: Limits the appliances that run at once: each takes some hundred MB of memory.
appliances = asyncio.Semaphore(4)

#: The running inspections: asyncio itself keeps no strong reference, and the shutdown cancels them.
running: set[asyncio.Task[None]] = set()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    yield
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


app = FastAPI(title="Inspection", lifespan=lifespan)


class Order(BaseModel):
    disk: str


@app.post("/inspections")
async def inspect(order: Order) -> StreamingResponse:
    disk = (FOLDER / order.disk).resolve()
    if not disk.is_relative_to(FOLDER) or not disk.is_file():
        raise HTTPException(404, "there is no such disk")
    return StreamingResponse(messages(disk), media_type="text/event-stream")


@app.get("/inspections")
async def count() -> dict[str, int]:
    return {"running": len(running)}


async def messages(disk: Path) -> AsyncGenerator[str]:
    """Yield the events of an inspection. When the connection closes, this ends, and the work with it."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(work(disk, queue))
    running.add(task)
    task.add_done_callback(running.discard)
    task.add_done_callback(lambda _: queue.put_nowait(""))
    try:
        while message := await queue.get():
            yield message
    finally:
        task.cancel()


async def work(disk: Path, queue: asyncio.Queue[str]) -> None:
    def tell(event: str, **data: object) -> None:
        # JSON escapes line ends and control characters, whatever the guest says.
        queue.put_nowait(f"event: {event}\ndata: {json.dumps(data)}\n\n")

    def launching(done: int, total: int) -> None:
        tell("progress", step="launch", done=done, total=total)

    try:
        async with appliances, AsyncGuestfs() as g:
            await g.open_disk(disk)  # refuses a disk that refers to other files
            tell("progress", step="launch")
            await g.launch(progress=launching)  # called if the launch takes longer than five seconds
            tell("progress", step="inspect")
            systems = [
                {"root": root, "name": await g.inspect_get_product_name(root)}
                for root in await g.inspect_os()
            ]
        tell("result", systems=systems)
    except Error as error:
        tell("error", message=str(error))
