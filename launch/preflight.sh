#!/usr/bin/env bash
# Look before a run: the doctor on this machine, then the speed of an all-reduce over all ranks.
# Run by multinode.sh: bash launch/preflight.sh [TORCHRUN OPTIONS]   (PREFLIGHT=off leaves it out)
#
# Ends with 1 where the doctor finds a failure or the ranks do not reach one another. Without options there is one
# rank, which has nothing to send.
set -euo pipefail

report=$(megatron-recipe doctor) || {
    grep '^fail' <<<"$report" >&2
    echo "preflight: the doctor found these; PREFLIGHT=off starts all the same" >&2
    exit 1
}
grep '^warn' <<<"$report" >&2 || true
[[ $# -gt 0 ]] || exit 0
python3 -P -m torch.distributed.run "$@" -m megatron_recipe.doctor.bandwidth || {
    echo "preflight: the ranks do not reach one another: see above, and docs/cluster.md" >&2
    exit 1
}
