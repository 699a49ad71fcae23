"""What docs/containers.md says is what the Containerfile and the code have."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from guestkit import _native
from guestkit.cli.parser import parse
from guestkit.generated.values import ApplianceMode
from tests.docs.snippets import ROOT, blocks
from tests.packaging.containerfile import stages

TEXT = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
MANIFESTS: list[Any] = [yaml.safe_load(text) for text in blocks("containers.md", "yaml")]
#: The instructions that say how the container is run.
IMAGE = {word: rest for word, rest in stages()[-1] if word in ("ENV", "USER", "WORKDIR", "ENTRYPOINT")}
MIB = 1 << 20


def pod(manifest: Any) -> Any:
    """Return what a manifest says of its pod."""
    return manifest["spec"]["template"]["spec"] if manifest["kind"] == "Job" else manifest["spec"]


def size(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", text).groups()  # type: ignore[union-attr]
    return int(number) * (MIB if unit == "Mi" else 1 << 30)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_a_manifest_runs_the_image_as_it_is_meant(manifest: Any) -> None:
    assert manifest["apiVersion"] == {"Job": "batch/v1", "Pod": "v1"}[manifest["kind"]]
    spec = pod(manifest)
    assert str(spec["securityContext"]["runAsUser"]) == IMAGE["USER"]
    (container,) = spec["containers"]
    confined = container["securityContext"]
    assert confined["readOnlyRootFilesystem"]
    assert not confined["allowPrivilegeEscalation"]
    assert confined["capabilities"] == {"drop": ["ALL"]}
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert {each["name"] for each in mounts.values()} == set(volumes)
    disks = mounts[IMAGE["WORKDIR"]]
    assert disks["readOnly"]
    assert volumes[disks["name"]]["persistentVolumeClaim"]["readOnly"]
    environment = dict(each.split("=") for each in IMAGE["ENV"].split())
    assert {str(Path(place)) for place in environment.values()} == {"/tmp"}  # all that is written
    assert "emptyDir" in volumes[mounts["/tmp"]["name"]]


def test_the_job_has_memory_for_as_many_as_it_runs() -> None:
    (job,) = [each for each in MANIFESTS if each["kind"] == "Job"]
    (container,) = pod(job)["containers"]
    shell, option, command = container["command"]
    assert (shell, option) == ("sh", "-c")
    exec_, guestkit, *words = shlex.split(command)
    assert (exec_, guestkit) == ("exec", "guestkit")
    arguments = parse(words)
    resources = container["resources"]
    assert resources["limits"]["memory"] == resources["requests"]["memory"]
    needed = arguments.concurrency * _native.appliance_memory("lean")
    assert 128 * MIB <= size(resources["limits"]["memory"]) - needed <= 512 * MIB


def test_the_figures_of_memory_are_those_of_the_code() -> None:
    counts = r"It counts (\d+) MiB for an appliance of guestkit's, (\d+) MiB for libguestfs'"
    told = re.search(counts, " ".join(TEXT.split()))
    assert told is not None
    modes: tuple[ApplianceMode, ...] = ("lean", "system")
    counted = [_native.appliance_memory(mode) for mode in modes]
    assert [int(number) * MIB for number in told.groups()] == counted
    assert f"{2 * int(told[1]) + 256} MiB for two at once" in TEXT


def test_the_commands_are_those_of_the_containerfile() -> None:
    (first, *_) = blocks("containers.md", "shell")
    for line in re.findall(r"^# +(podman .*)$", (ROOT / "Containerfile").read_text(encoding="utf-8"), re.M):
        assert line in first.splitlines()


def test_variables_that_are_named_are_known() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for folder, pattern in (("guestkit", "*.py"), ("include", "*.?pp"))
        for path in (ROOT / folder).rglob(pattern)
    )
    named = set(re.findall(r"\b(?:LIB)?GUEST(?:KIT|FS)_[A-Z]+\b|\bXDG_[A-Z_]+\b|\bTMPDIR\b", TEXT))
    assert len(named) >= 4
    assert [name for name in sorted(named) if name not in sources] == []
