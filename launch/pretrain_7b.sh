#!/usr/bin/env bash
"exec" "env" "PATH=${0%/*}/../.venv/bin:$PATH" "python3" "-P" "-m" "megatron_recipe.launch" "--standalone" "--nproc-per-node=${NPROC_PER_NODE:-gpu}" "$0" "$@"
# Train gpt_7b on datasets/main, on all GPUs of this machine. Run it either way:
#
#     ./launch/pretrain_7b.sh --set data.datasets=datasets/fineweb
#     torchrun --nproc-per-node gpu launch/pretrain_7b.sh
#
# The second line is a string to Python and a command to bash, so one file serves both.
from megatron_recipe.launch import launch

if __name__ == "__main__":
    launch("gpt_7b")
