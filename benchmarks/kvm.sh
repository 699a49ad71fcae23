#!/bin/sh
# Measures launches with KVM and prints the table for docs/fast-launch.md, in Markdown. Its figures are missing there,
# since none of the project's machines has a working KVM. On a host that has it, run
#
#     benchmarks/kvm.sh [ROUNDS]
#
# as the user who launches, with nothing else running, and send us what it prints.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
rounds=${1:-5}

# Whether KVM runs guests, by the probe that launches use; else why not.
"$root/run" exec python -c '
import sys
from guestkit import Guestfs, _native
with Guestfs() as g:
    usable, reason = _native.kvm_status(g.get_hv())
sys.exit(0 if usable else "benchmarks/kvm.sh: nothing to measure: " + reason)'

"$root/run" exec python -c '
import pathlib, platform, subprocess
from guestkit import Guestfs
with Guestfs() as g:
    version = g.version()
    qemu = subprocess.run([g.get_hv(), "--version"], capture_output=True, text=True).stdout.split("\n")[0]
rows = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
cpu = next((row.partition(":")[2].strip() for row in rows if row.startswith("model name")), platform.machine())
nested = ", nested" if any("hypervisor" in row for row in rows if row.startswith("flags")) else ""
print(f"With KVM, {cpu}{nested}, Linux {platform.release()}; "
      "libguestfs {major}.{minor}.{release}".format(**version) + f", {qemu}\n")'

figures=$("$root/run" bench launch "$rounds" --accel kvm)
printf '%s\n' "$figures" | awk '
  BEGIN { print "| with KVM | libguestfs'"'"' own | lean |\n|---|---|---|" }
  # such as:  1 disks, lean :  0.98 s (0.60), PSS 284 MB (0.66), private 280 MB (0.65)
  / disks, plain/ { sub(/.*: */, ""); plain = $1; next }
  / disks, lean/ {
    count = $1
    sub(/.*: */, "")
    print "| " count (count == 1 ? " disk" : " disks") " | " plain " s | " $1 " s " substr($3, 1, length($3) - 1) " |"
  }
  /^lean, / { stages = stages "\n" $0 }
  END { print stages }'
