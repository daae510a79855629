#!/usr/bin/env bash
# A one-node Slurm (Debian: slurm-wlm, munge) started here as root: slurm.sbatch is preempted by `scontrol requeue`, runs
# into its time limit, loses its node, and goes on. bash tests/cluster/slurm.sh [preempted_by_requeue | node_down | time_is_up | wrong_input]
set -euo pipefail
# shellcheck source=tests/cluster/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

for tool in munged slurmctld slurmd sbatch; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install slurm-wlm munge"
done
make_work_folder
export SLURM_CONF=$work/slurm.conf
daemons=()

clean_up() {
    scancel --user root 2>/dev/null || true
    for _ in $(seq 70); do [[ -n $(squeue -h 2>/dev/null) ]] || break; sleep 1; done # its steps end with slurmd
    for one in "${daemons[@]}"; do kill "$one" 2>/dev/null || true; done
}
trap clean_up EXIT
trap 'exit 143' TERM INT

start_slurm() {
    mkdir "$work/munge" "$work/state" "$work/spool"
    chmod 700 "$work/munge"
    chmod 755 "$work"
    head -c 1024 /dev/urandom >"$work/munge/key"
    chmod 400 "$work/munge/key"
    cat >"$SLURM_CONF" <<CONFIG
ClusterName=proof
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=26817
SlurmdPort=26818
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CryptoType=crypto/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobRequeue=1
KillWait=60
ReturnToService=2
SchedulerParameters=requeue_delay=0
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc --all) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONFIG
    munged --foreground --force --key-file "$work/munge/key" --socket "$work/munge/socket" --pid-file "$work/munge/pid" \
        --seed-file "$work/munge/seed" --log-file "$work/munge/log" >/dev/null 2>&1 &
    daemons+=($!)
    sleep 1
    slurmctld -D >/dev/null 2>&1 &
    daemons+=($!)
    slurmd -D >/dev/null 2>&1 &
    daemons+=($!)
    local until=$((SECONDS + 60))
    until [[ $(sinfo -h -o %t 2>/dev/null) == idle ]]; do
        [[ $SECONDS -lt $until ]] || { tail -n 5 "$work"/slurm*.log; fail "Slurm did not start"; }
        sleep 1
    done
    say "Slurm $(sinfo --version | cut -d' ' -f2) is up: $(sinfo -h -o '%N %t')"
}

# Submit a run of two ranks into folder $1, with further options of sbatch after it.
submit() {
    local run=$1 arguments
    shift
    mapfile -t arguments < <(arguments_of "$run")
    (cd "$root" && PREFLIGHT=off PET_NPROC_PER_NODE=2 sbatch --parsable --output "$work/$run.log" "$@" \
        launch/slurm.sbatch launch/pretrain_tiny.sh "${arguments[@]}")
}

must_complete() {
    local until=$((SECONDS + 900)) state
    while true; do
        state=$(scontrol show job "$2" | grep -o 'JobState=[A-Z_]*' | cut -d= -f2)
        case $state in
            COMPLETED) break ;;
            FAILED | CANCELLED | TIMEOUT | NODE_FAIL) tail -n 20 "$work/$1.log"; fail "$1: $state" ;;
        esac
        [[ $SECONDS -lt $until ]] || fail "$1 is $state after 900 s"
        sleep 1
    done
    say "job $2 ($1) completed after $(grep -c ' start [0-9]* of job' "$work/$1.log") starts"
    events_of "$1"
}

preempted_by_requeue() {
    say "== preempted by scontrol requeue"
    job=$(submit requeued)
    wait_for_step requeued 25 300
    scontrol requeue "$job"
    say "requeued at step $(step_of requeued)"
    must_complete requeued "$job"
    must_be_equal undisturbed requeued
}

node_down() {
    say "== the node goes down, and comes back"
    job=$(submit node_down)
    wait_for_step node_down 25 300
    # what a lost node is to its ranks: no signal that they could heed
    scontrol listpids "$job" | awk 'NR > 1 && $1 > 1 { print $1 }' | xargs -r kill -STOP
    scontrol update "nodename=$(hostname -s)" state=down reason=proof
    scontrol listpids "$job" | awk 'NR > 1 && $1 > 1 { print $1 }' | xargs -r kill -KILL 2>/dev/null || true
    say "down at step $(step_of node_down)"
    sleep 5
    scontrol update "nodename=$(hostname -s)" state=resume 2>/dev/null || true # it may have come back by itself
    must_complete node_down "$job"
    must_be_equal undisturbed node_down
}

time_is_up() {
    say "== signal before the time is up"
    # Slurm counts in minutes: four, with the signal 150 s before the end, so a minute and a half after the start.
    job=$(STEPS=4000 submit timed --time=4 --signal=B:USR1@150)
    local until=$((SECONDS + 500))
    until grep -q ' start 2 of job' "$work/timed.log" 2>/dev/null; do
        [[ $SECONDS -lt $until ]] || { tail "$work/timed.log"; fail "the job was not requeued"; }
        sleep 1
    done
    until grep -q '"resume"' "$work/timed/events.jsonl"; do
        [[ $SECONDS -lt $((until + 120)) ]] || fail "it did not continue"
        sleep 1
    done
    grep -E 'the time is up|SIGUSR1|stopped at|of job|continuing' "$work/timed.log"
    events_of timed
    scancel "$job"
}

wrong_input() {
    say "== a wrong input is not requeued"
    job=$(cd "$root" && PREFLIGHT=off PET_NPROC_PER_NODE=2 sbatch --parsable --output "$work/wrong.log" \
        launch/slurm.sbatch launch/pretrain_tiny.sh --set data.datasets=nowhere)
    until scontrol show job "$job" | grep -q JobState=FAILED; do sleep 1; done
    scontrol show job "$job" | grep -oE 'Restarts=[0-9]+|ExitCode=[0-9:]+' | tr '\n' ' '
    [[ $(grep -c '^error: nowhere' "$work/wrong.log") == 1 ]] || fail "said more than once"
    say "said once"
}

start_slurm
say "== undisturbed"
must_complete undisturbed "$(submit undisturbed)"
for case in "${@:-preempted_by_requeue node_down time_is_up wrong_input}"; do
    for one in $case; do "$one"; done
done
say "PASSED: $(nproc --all) cores, $STEPS steps each"
