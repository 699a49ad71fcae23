#!/bin/sh
# Measures launches with KVM and prints the table, in Markdown. Its figures are missing in docs/performance.md,
# since none of the project's machines has a working KVM. On a host that has it, run
#
#     benchmarks/kvm.sh [ROUNDS]
#
# as the user who launches, with nothing else running, and send us what it prints.
set -eu
exec "$(dirname "$0")/../run" bench launch "${1:-5}" --accel kvm
