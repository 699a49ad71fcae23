#!/usr/bin/env python3
"""Write every generated file from the facts in api/.

tools/generate.py           write what differs
tools/generate.py --check   write nothing; list what differs and exit 1
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from generators import bindings, cpp, facts, stubs, system_packages, values

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the generated files from the facts in api/.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if a file is out of date")
    arguments = parser.parse_args()

    api = facts.load(ROOT / "api")
    files = {
        **cpp.files(api),
        **bindings.files(api),
        **stubs.files(api, ROOT / "tools" / "templates"),
        **values.files(values.load(ROOT / "api")),
        **system_packages.files(ROOT / "guestkit" / "system_packages.txt"),
    }
    stale = [name for name, text in files.items() if not same(ROOT / name, text)]
    known = {ROOT / name for name in files}
    found = (p for folder in facts.FOLDERS for p in sorted((ROOT / folder).rglob("*")))
    orphans = [p for p in found if p.is_file() and p not in known and "__pycache__" not in p.parts]
    if arguments.check:
        for name in stale:
            print(f"{name} differs from what the facts say: run tools/generate.py", file=sys.stderr)
        for path in orphans:
            print(f"{path.relative_to(ROOT)} is not generated: delete or move it", file=sys.stderr)
        return 1 if stale or orphans else 0
    for name in stale:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(files[name], encoding="utf-8")
        print(f"wrote {name}")
    for path in orphans:
        path.unlink()
        print(f"deleted {path.relative_to(ROOT)}")
    return 0


def same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


if __name__ == "__main__":
    sys.exit(main())
