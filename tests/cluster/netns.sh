#!/usr/bin/env bash
# Two hosts as network namespaces on this machine: multinode.sh trains across them on gloo, and goes on after each of
# them was killed. As root, with iproute2: bash tests/cluster/netns.sh
set -euo pipefail
# shellcheck source=tests/cluster/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

HEAD_ADDRESS=10.231.7.1 OTHER_ADDRESS=10.231.7.2

clean_up() {
    for host in head other; do
        ip netns pids "mr_$host" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
        ip netns delete "mr_$host" 2>/dev/null || true
    done
}
trap clean_up EXIT
trap 'exit 143' TERM INT

make_hosts() {
    ip netns add mr_head
    ip netns add mr_other
    ip link add mr0 netns mr_head type veth peer name mr0 netns mr_other
    ip -n mr_head address add "$HEAD_ADDRESS/24" dev mr0
    ip -n mr_other address add "$OTHER_ADDRESS/24" dev mr0
    for host in head other; do
        ip -n "mr_$host" link set lo up
        ip -n "mr_$host" link set mr0 up
    done
}

# Start multinode.sh on host $1 for the run in folder $2; its output goes to $2.$1.log.
start_on() {
    local arguments
    mapfile -t arguments < <(arguments_of "$2")
    PREFLIGHT=${PREFLIGHT:-off} ip netns exec "mr_$1" bash "$root/launch/multinode.sh" --nodes "${NODES:-2}" \
        --head "$HEAD_ADDRESS" --patience 300 "$root/launch/pretrain_tiny.sh" "${arguments[@]}" \
        >>"$work/$2.$1.log" 2>&1 &
    started[$1]=$!
}

kill_host() {
    ip netns pids "mr_$1" | xargs -r kill -9
    wait "${started[$1]}" 2>/dev/null || true
    say "killed all processes of $1"
}

# Wait for the end of multinode.sh on the hosts after $1, a run.
must_end() {
    local run=$1 host
    shift
    for host; do
        wait "${started[$host]}" || { tail -n 20 "$work/$run".*.log; fail "$run on $host ended with $?"; }
    done
    events_of "$run"
}

declare -A started
make_work_folder
make_hosts

say "== undisturbed on two hosts, after the preflight"
PREFLIGHT=on start_on head undisturbed
PREFLIGHT=on start_on other undisturbed
must_end undisturbed head other
grep -h "all-reduce of" "$work"/undisturbed.*.log

for victim in other head; do
    say "== $victim killed in the middle, and started again"
    start_on head "killed_$victim"
    start_on other "killed_$victim"
    wait_for_step "killed_$victim" 25 300
    kill_host "$victim"
    sleep 3
    start_on "$victim" "killed_$victim"
    must_end "killed_$victim" head other
    must_be_equal undisturbed "killed_$victim"
done

say "== 1:2: the other host killed for good; the head goes on alone"
NODES=1:2 start_on head alone
NODES=1:2 start_on other alone
wait_for_step alone 25 300
kill_host other
must_end alone head
say "PASSED: $(nproc --all) cores, $STEPS steps each"
