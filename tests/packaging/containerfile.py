"""The Containerfile's stages, which the tests run in systems in folders: they need no container engine."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.chroot import ROOT, Chroot


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, such as ("RUN", "apt-get update"), without FROM."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found: list[list[tuple[str, str]]] = []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            assert rest.split()[0] == "debian:12-slim"  # tests.chroot.make(…, "bookworm", …) is its like
            found.append([])
        elif word and word != "#":
            found[-1].append((word, rest.strip()))
    return found


class Image:
    """What a stage makes of a system, and how its container is run."""

    def __init__(self, system: Chroot, stage: list[tuple[str, str]], built: Chroot | None = None) -> None:
        """Take the instructions of the stage; `built` is the system of the stage that is called build."""
        self.system, self.user, self.folder, self.environment = system, 0, "/", dict[str, str]()
        self.entry: list[str] = []
        for word, rest in stage:
            match word, rest.split():
                case "COPY", [".", "."]:
                    system.clone(self.folder)
                case "COPY", ["--from=build", pattern, target]:
                    assert built is not None
                    copied = [*built.root.glob(pattern.lstrip("/"))]
                    assert copied, f"the stage build has made no {pattern}"
                    for path in copied:
                        shutil.copy(path, system.root / target.lstrip("/"))
                case "RUN", _:
                    system.must(
                        "sh", "-euc", rest,
                        directory=self.folder, environment=self.environment, private_dev=True,
                    )  # fmt: skip
                case "ENV", words:
                    self.environment |= dict(each.split("=", 1) for each in words)
                case "USER", [number]:
                    self.user = int(number)
                case "WORKDIR", [folder]:
                    self.folder = folder
                    (system.root / self.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
                case "ENTRYPOINT", _:
                    self.entry = json.loads(rest)
                case _:
                    pytest.fail(f"the tests do not know the instruction {word} {rest}")
