#!/usr/bin/env bash
# TensorBoard of all runs on port 6006, the one that AutoDL shows under 自定义服务. Run: bash launch/autodl/tensorboard.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
# shellcheck source=launch/autodl/env.sh
. launch/autodl/env.sh
port=${TENSORBOARD_PORT:-6006}
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo "tensorboard: something answers on port $port already"
    exit
fi
mkdir -p "$AUTODL_DATA/runs"
setsid .venv/bin/python -m tensorboard.main --logdir "$AUTODL_DATA/runs" --host 0.0.0.0 --port "$port" \
    >"$AUTODL_DATA/tensorboard.log" 2>&1 </dev/null &
echo "tensorboard: port $port, log in $AUTODL_DATA/tensorboard.log"
