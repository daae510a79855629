#!/usr/bin/env bash
"exec" "env" "PATH=${0%/*}/../.venv/bin:$PATH" "python3" "-P" "-m" "megatron_recipe.launch" "--standalone" "--nproc-per-node=${NPROC_PER_NODE:-1}" "$0" "$@"
# Train gpt_tiny_cpu on datasets/demo, on a CPU. Run it either way:
#
#     ./launch/pretrain_tiny.sh --set train.steps=50
#     torchrun --nproc-per-node 2 launch/pretrain_tiny.sh
#
# The second line is a string to Python and a command to bash, so one file serves both.
from megatron_recipe.launch import launch

if __name__ == "__main__":
    launch("gpt_tiny_cpu")
