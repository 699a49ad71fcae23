"""An inspection service: POST a disk's name, read the progress and the result as server-sent events.

    GUESTKIT_DISKS=/var/lib/images uvicorn --host 127.0.0.1 --port 8000 fastapi_service:app
    curl -N --json '{"disk": "debian.qcow2"}' http://127.0.0.1:8000/inspections

Closing the connection cancels the inspection and ends its appliance. Whoever can reach the service can read
the names of the disks' systems: it listens only on the loopback, and takes disks only from one folder. Where
strangers put disks there, give the inspection sandbox="strict" too: see SECURITY.md.
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

import guestkit.aio
from guestkit import Error

#: Seconds for an inspection; a disk that takes longer is an error.
TIMEOUT = 300

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

    try:
        async with appliances:
            found = await guestkit.aio.inspect(  # refuses a disk that refers to other files
                disk, timeout=TIMEOUT, step=lambda step: tell("progress", step=step)
            )
        systems = [
            {"root": system.root, "name": system.product_name, "packages": len(system.applications)}
            for system in found.operating_systems
        ]
        tell("result", systems=systems, unopened=[shut.device for shut in found.unopened])
    except Error as error:
        tell("error", message=str(error))
