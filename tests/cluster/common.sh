# shellcheck shell=bash
# What the proofs in this folder share: a small dataset, small runs, and how runs are compared.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=$root/.venv/bin/python
export OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES=
STEPS=${STEPS:-60}

say() { echo "$(date +%H:%M:%S) $*"; }
fail() { say "FAILED: $*"; exit 1; }

# A folder of its own with the dataset of the tests.
make_work_folder() {
    work=$(mktemp -d -t megatron-recipe-cluster.XXXXXX)
    (cd "$work" && PYTHONPATH="$root:$root/tests" "$python" -P -c "
from pathlib import Path
from small_dataset import write_dataset
write_dataset(Path('small'))")
    say "work folder $work"
}

# Arguments of a run into folder $1; a checkpoint every ten steps.
arguments_of() {
    PYTHONPATH="$root" "$python" -W ignore -P -c "
import sys
from benchmarks.faults import MODEL
sets = [f'data.datasets={sys.argv[1]}/small', *MODEL, 'batch.global_batch_size_samples=16', f'train.steps={sys.argv[3]}']
print('\n'.join(['--run-dir', f'{sys.argv[1]}/{sys.argv[2]}', *(word for one in sets for word in ('--set', one))]))" \
        "$work" "$1" "$STEPS"
}

# The newest step that the run in $1 has logged.
step_of() { tail -n 1 "$work/$1/metrics.jsonl" 2>/dev/null | grep -o '"step": *[0-9]*' | grep -o '[0-9]*' || echo 0; }

# Wait up to $3 seconds until the run in $1 has come past step $2.
wait_for_step() {
    local until=$((SECONDS + $3))
    while [[ $(step_of "$1") -lt $2 ]]; do
        [[ $SECONDS -lt $until ]] || fail "$1 is at step $(step_of "$1") after $3 s, not at $2"
        sleep 0.3
    done
}

# Whether the newest checkpoints of the runs $1 and $2 are equal to the last bit.
must_be_equal() {
    PYTHONPATH="$root" "$python" -W ignore -P -c "
import sys
from pathlib import Path
from benchmarks.faults import final_state, newest_step, same
one, other = map(Path, sys.argv[1:])
assert newest_step(one) == newest_step(other), (newest_step(one), newest_step(other))
sys.exit(not same(final_state(one), final_state(other)))" "$work/$1" "$work/$2" || fail "$1 and $2 ended differently"
    say "$1 and $2 are equal to the last bit"
}

# What the run in $1 says of its starts and its end.
events_of() { grep -oE '"event": *"(start|resume|stopped|end|failed)".*' "$work/$1/events.jsonl" | cut -c1-150; }
