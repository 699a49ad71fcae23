"""Fuzzes what reads hostile bytes; longer: `./run test --full fuzz -- --fuzz-seconds 3600`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SANITIZERS = "fuzzer,address,undefined"
#: What is fuzzed, by the file of its fuzzer, and where its first inputs are.
SEEDS = {
    "probe": HERE / "corpus",
    "rpm": HERE / "corpus-rpm",
    "registry": HERE / "corpus-registry",
    "lvm": HERE / "corpus-lvm",
    "texts": HERE / "corpus-texts",
    "untrusted": HERE / "corpus-untrusted",
}
#: What a fuzzer needs beside the headers.
SOURCES = {"texts": [ROOT / "appliance" / name for name in ("command.cpp", "storage.cpp", "system.cpp")]}


@dataclass(frozen=True)
class Fuzzer:
    """A program of libFuzzer's, or of atheris, which takes the same arguments."""

    name: str
    command: Sequence[str | Path]

    @property
    def seeds(self) -> Path:
        return SEEDS[self.name]

    def run(self, *words: str | Path, cwd: Path, seconds: int = 0) -> str:
        """Return the output, whose last lines hold an input that crashed the fuzzer, in Base64.

        seconds: how long it fuzzes; five minutes later it hangs
        """
        # timeout(1) forks the fuzzer: a child of this process would inherit the peak of its memory use. The
        # fuzzer ends with it, as when Ctrl-C ends the tests.
        limit = ["timeout", "--foreground", "--kill-after=10", str(seconds + 300)]
        done = subprocess.run(
            [*limit, "setpriv", "--pdeathsig", "KILL", *self.command, *words],
            cwd=cwd, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-8000:]
        return done.stderr


@pytest.fixture(scope="module", params=SEEDS)
def fuzzer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    name = str(request.param)
    if (HERE / f"{name}.py").exists():
        pytest.importorskip("atheris", reason="atheris has no release for this Python")
        return Fuzzer(name, [sys.executable, HERE / f"{name}.py"])
    program = tmp_path_factory.mktemp("fuzz") / name
    optimised = "-O1" if request.config.getoption("--full") else "-O0"  # a corpus is run sooner than compiled
    subprocess.run(
        ["clang++", "-std=c++20", optimised, "-g",
         f"-fsanitize={SANITIZERS}", "-fno-sanitize-recover=undefined",
         f"-I{ROOT / 'include'}", HERE / f"{name}.cpp", *SOURCES.get(name, ()), "-o", program, "-lguestfs"],
        check=True,
    )  # fmt: skip
    return Fuzzer(name, [program])


def test_each_fuzzer_has_inputs_to_begin_with() -> None:
    assert {path.name for path in HERE.glob("corpus*")} == {path.name for path in SEEDS.values()}
    assert all(len(list(folder.iterdir())) > 5 for folder in SEEDS.values())


def test_the_corpus_crashes_nothing(fuzzer: Fuzzer, tmp_path: Path) -> None:
    corpus = sorted(fuzzer.seeds.iterdir())
    assert f"Executed {corpus[0]} in" in fuzzer.run(*corpus, cwd=tmp_path)


@pytest.mark.timeout(24 * 3600)
@pytest.mark.full
def test_no_input_crashes_hangs_or_takes_memory(fuzzer: Fuzzer, tmp_path: Path, seconds: int) -> None:
    shutil.copytree(fuzzer.seeds, tmp_path / "corpus")  # keeps new inputs out of the tree
    output = fuzzer.run(
        f"-max_total_time={seconds}", "-max_len=16384", "-timeout=10", "-rss_limit_mb=1024",
        "-malloc_limit_mb=256", tmp_path / "corpus", cwd=tmp_path, seconds=seconds,
    )  # fmt: skip
    assert "Done " in output
