"""Fuzzes the readers of images, rpm, registries, LVM; longer: `./run test fuzz -- --fuzz-seconds 3600`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
INCLUDE = HERE.parents[1] / "include"
SANITIZERS = "fuzzer,address,undefined"
#: What is fuzzed, by the file of its fuzzer, and where its first inputs are.
SEEDS = {
    "probe": HERE / "corpus",
    "rpm": HERE / "corpus-rpm",
    "registry": HERE / "corpus-registry",
    "lvm": HERE / "corpus-lvm",
}


@pytest.fixture(scope="module", params=SEEDS)
def fuzzer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("fuzz") / str(request.param)
    subprocess.run(
        ["clang++", "-std=c++20", "-O1", "-g", f"-fsanitize={SANITIZERS}", "-fno-sanitize-recover=undefined",
         f"-I{INCLUDE}", HERE / f"{program.name}.cpp", "-o", program, "-lguestfs"],
        check=True,
    )  # fmt: skip
    return program


def run(fuzzer: Path, *words: str | Path, cwd: Path) -> str:
    """Run the fuzzer; return its output, whose last lines hold an input that crashed it, in Base64."""
    # A shell forks the fuzzer: a child of this process would inherit the peak of its memory use.
    done = subprocess.run(
        ["sh", "-c", '"$@"; exit $?', "sh", fuzzer, *words],
        cwd=cwd, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-8000:]
    return done.stderr


def test_the_corpus_crashes_nothing(fuzzer: Path, tmp_path: Path) -> None:
    corpus = sorted(SEEDS[fuzzer.name].iterdir())
    assert len(corpus) > 5
    assert f"Executed {corpus[0]} in" in run(fuzzer, *corpus, cwd=tmp_path)


@pytest.mark.timeout(0)
def test_no_input_crashes_hangs_or_takes_memory(fuzzer: Path, tmp_path: Path, seconds: int) -> None:
    shutil.copytree(SEEDS[fuzzer.name], tmp_path / "corpus")  # keeps new inputs out of the tree
    output = run(
        fuzzer, f"-max_total_time={seconds}", "-max_len=16384", "-timeout=10", "-rss_limit_mb=1024",
        "-malloc_limit_mb=256", tmp_path / "corpus", cwd=tmp_path,
    )  # fmt: skip
    assert "Done " in output
