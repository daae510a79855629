#!/usr/bin/env bash
# A Slurm of one node on this machine, to run pipelines against the real thing. Needs root and Debian's slurm-wlm, munge.
#
#   source benchmarks/one_node_slurm.sh start FOLDER     # exports SLURM_CONF; then sbatch, squeue and scancel work
#   bash benchmarks/one_node_slurm.sh stop FOLDER
one_node_slurm() {
    local action=$1 folder
    folder=$(realpath -m "$2")
    case $action in
    start)
        mkdir -p "$folder/state" "$folder/spool" /run/munge
        chown munge: /run/munge
        pgrep -x munged >/dev/null || runuser -u munge -- munged
        cat >"$folder/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
MinJobAge=60
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=8000 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
        export SLURM_CONF=$folder/slurm.conf
        slurmctld -c
        slurmd
        for _ in $(seq 30); do
            [[ $(sinfo -h -o %t 2>/dev/null) == idle ]] && { sinfo; return 0; }
            sleep 1
        done
        sinfo
        tail -n 5 "$folder"/slurm{ctld,d}.log
        return 1
        ;;
    stop)
        local pid
        for pid in "$folder"/slurmd.pid "$folder"/slurmctld.pid; do
            [[ -f $pid ]] && kill "$(cat "$pid")"
        done
        ;;
    *)
        echo "one_node_slurm.sh start|stop FOLDER" >&2
        return 2
        ;;
    esac
}
one_node_slurm "$@"
