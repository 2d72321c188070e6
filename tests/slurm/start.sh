#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: `start.sh FOLDER` starts it with all its files in FOLDER, and
# `start.sh stop FOLDER` stops it. Needs root, and Debian's packages slurm-wlm and munge (`make slurm` installs them).
# A job in the partition `high` preempts one in `low`, which Slurm itself puts back into the queue.
# Slurm's commands find it by `export SLURM_CONF=FOLDER/slurm.conf`.
set -euo pipefail

stop() { # each daemon by its own process id, the last one started first
  local name process
  for name in slurmd slurmctld munged; do
    process=$(cat "$1/$name.pid" 2>/dev/null) && kill "$process" 2>/dev/null || continue
    for _ in $(seq 50); do kill -0 "$process" 2>/dev/null || break; sleep 0.2; done
  done
}

write_config() {
  local folder=$1
  cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthInfo=socket=$folder/munge.socket
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdPidFile=$folder/slurmd.pid
SlurmdLogFile=$folder/slurmd.log
SlurmdSpoolDir=$folder/slurmd
StateSaveLocation=$folder/slurmctld
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=1
KillWait=10
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=localhost CPUs=2 State=UNKNOWN
PartitionName=low Nodes=localhost Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=5
PartitionName=high Nodes=localhost MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
CONF
}

start() {
  local folder=$1
  mkdir -p "$folder/slurmd" "$folder/slurmctld"
  chmod 755 "$folder"
  write_config "$folder"
  (umask 077 && dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 status=none)
  munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munged.seed" 2>/dev/null
  slurmctld -f "$folder/slurm.conf"
  slurmd -N localhost -f "$folder/slurm.conf"
  for _ in $(seq 60); do
    [ "$(SLURM_CONF="$folder/slurm.conf" sinfo --noheader --partition=low --format=%t 2>/dev/null)" = idle ] && return
    sleep 0.5
  done
  echo "Slurm did not start; its logs are in $folder" >&2
  return 1
}

if [ "$1" = stop ]; then stop "$2"; else start "$1"; fi
