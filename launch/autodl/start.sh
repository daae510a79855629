#!/usr/bin/env bash
# On an instance of AutoDL: TensorBoard on port 6006, and a launch file that nobody looks at.
#
#     bash launch/autodl/start.sh [--idle-minutes 30] launch/pretrain_1b.sh --set data.datasets=…
#
# Everything it says is also in $AUTODL_DATA/run.log, which `megatron-recipe launch autodl logs` shows.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
# shellcheck source=launch/autodl/env.sh
. launch/autodl/env.sh
export PATH="$PWD/.venv/bin:$PATH"
[[ $# -gt 0 ]] || { echo "start: name a launch file, such as launch/pretrain_1b.sh" >&2; exit 2; }
mkdir -p "$AUTODL_DATA"
exec > >(tee -a "$AUTODL_DATA/run.log") 2>&1
bash launch/autodl/tensorboard.sh || true
exec megatron-recipe launch run "$@"
