#!/usr/bin/env bash
# Train on several machines (or unattended on one): run the same line on each of them.
#
#     bash launch/multinode.sh --nodes 2 --head 10.0.0.1 launch/pretrain_1b.sh --set data.datasets=datasets/main
#
#   --nodes N        machines; 1:2 goes on with one where the other is lost       [NUM_NODES, else 1]
#   --head HOST      an address of the first machine that all of them reach       [MASTER_ADDR]
#   --port PORT      of the head, and the next one for the preflight              [MASTER_PORT, else 29400]
#   --restarts N     how often to start anew after ranks or machines died         [3]
#   --patience S     seconds to wait for machines that are not there (yet)        [1800]
#   --dry-run        say what would be run
#
# The run folder must be on a disk that all machines share: each rank writes its part of a checkpoint there. A machine
# that comes back runs the same line again; all go on from the newest whole checkpoint. SIGUSR1 or SIGTERM to this
# script: the ranks save, and it ends. Ends with 0 at the end of the run, 2 for wrong input.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH="$here/../.venv/bin:$PATH"
# shellcheck source=launch/env.sh
. "$here/env.sh"

nodes=${NUM_NODES:-1} head=${MASTER_ADDR:-} port=${MASTER_PORT:-29400} restarts=3 patience=1800 dry_run=

say() { echo "multinode: $*" >&2; }
wrong() { say "$*"; exit 2; }

while [[ $# -gt 0 && $1 == --* ]]; do
    [[ $1 == --dry-run || $# -gt 1 ]] || wrong "$1 needs a value"
    case $1 in
        --nodes) nodes=$2; shift ;;
        --head) head=$2; shift ;;
        --port) port=$2; shift ;;
        --restarts) restarts=$2; shift ;;
        --patience) patience=$2; shift ;;
        --dry-run) dry_run=1 ;;
        *) wrong "$1 is not known; it has --nodes --head --port --restarts --patience --dry-run, then a launch file" ;;
    esac
    shift
done
[[ $nodes =~ ^[1-9][0-9]*(:[1-9][0-9]*)?$ ]] || wrong "--nodes $nodes: a number of machines, or least:most"
[[ $port =~ ^[1-9][0-9]*$ && $port -lt 65535 ]] || wrong "--port $port: a number below 65535"
[[ $restarts =~ ^[0-9]+$ ]] || wrong "--restarts $restarts: a number"
[[ $patience =~ ^[1-9][0-9]*$ ]] || wrong "--patience $patience: a number of seconds"
[[ $# -gt 0 ]] || wrong "name a launch file, such as launch/pretrain_1b.sh"
[[ -f $1 ]] || wrong "$1: no such file; launch/pretrain_*.sh are the launch files"
[[ $nodes == 1 ]] && head=${head:-127.0.0.1}
[[ -n $head ]] || wrong "--nodes $nodes needs --head, an address of the first machine"

place=$(python3 "$here/rendezvous.py" "$head") || wrong "no way to the head"
is_host=${place#*is_host=} is_host=${is_host%% *}
local_address=${place#*local_address=} local_address=${local_address%% *}
interface=${place#*interface=}
# Both look at the host name by themselves, which in a container leads nowhere.
[[ -z $interface ]] || export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-$interface}" NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-$interface}"

# torchrun's options; the rendezvous of the preflight is another one, so that no machine meets the wrong one.
options_on() {
    printf '%s\n' "--nnodes=$nodes" "--nproc-per-node=$PET_NPROC_PER_NODE" --rdzv-backend=c10d \
        "--rdzv-endpoint=$head:$1" "--rdzv-id=$2" "--rdzv-conf=is_host=$is_host,join_timeout=$patience" \
        "--local-addr=$local_address"
}
mapfile -t training < <(options_on "$port" training)
mapfile -t looking < <(options_on $((port + 1)) preflight)
[[ $nodes != 1 || $PET_NPROC_PER_NODE != 1 ]] || looking=()
command=(python3 -P -m megatron_recipe.launch "${training[@]}" "--max-restarts=$restarts" "$@")

if [[ -n $dry_run ]]; then
    say "this machine is $local_address, $([[ $is_host == true ]] && echo 'the head' || echo "towards the head $head")"
    say "would look: megatron-recipe doctor${looking[0]:+, then an all-reduce over all ranks}"
    say "would run: ${command[*]}"
    exit
fi

child=0 stopping=
# Ranks are the children of the launcher, which itself ignores SIGUSR1.
# shellcheck disable=SC2317  # traps call it
pass_on() {
    stopping=1
    if [[ $child -eq 0 ]]; then # before the ranks, or between two attempts
        say "stopped; the same line continues"
        case $1 in USR1) exit 0 ;; INT) exit 130 ;; *) exit 143 ;; esac
    fi
    if [[ $1 == USR1 ]]; then pkill -USR1 -P "$child" || true; else kill -s "$1" "$child" 2>/dev/null || true; fi
}
for signal in TERM INT USR1; do
    # shellcheck disable=SC2064  # the name is meant as it is now
    trap "pass_on $signal" "$signal"
done

wait_for_head() {
    [[ $is_host == true ]] && return
    local until=$((SECONDS + patience)) said=
    until (exec 3<>"/dev/tcp/$head/$1") 2>/dev/null; do
        [[ -n $said ]] || { say "waiting for $head:$1"; said=1; }
        [[ $SECONDS -lt $until ]] || { say "$head:$1 did not answer within $patience s"; exit 1; }
        sleep 1
    done
}

if [[ ${PREFLIGHT:-on} != off ]]; then
    [[ ${#looking[@]} -eq 0 ]] || wait_for_head $((port + 1))
    bash "$here/preflight.sh" "${looking[@]}"
fi
for ((attempt = 0; attempt <= restarts; attempt++)); do
    wait_for_head "$port"
    # An ignored signal stays ignored in the launcher; the trainer in each rank sets its own handler.
    (trap '' USR1; exec "${command[@]}") &
    child=$!
    code=0
    while wait "$child" || code=$?; kill -0 "$child" 2>/dev/null; do code=0; done
    [[ $code -ne 0 ]] || { [[ -z $stopping ]] || say "stopped; the same line continues"; exit 0; }
    [[ -z $stopping && $code -ne 2 ]] || exit "$code"
    [[ $attempt -lt $restarts ]] || break
    say "ended with code $code; starting again, $((attempt + 1)) of $restarts"
    child=0
    sleep 5 >/dev/null 2>&1 &
    wait "$!" # a signal ends it at once
done
exit "$code"
