#!/usr/bin/env bash
# Run a command with AutoDL's academic acceleration (学术资源加速), which makes GitHub and Hugging Face quick.
# Not for pip: its mirror is near, and the way through the acceleration is longer.
#
#     bash launch/autodl/fast.sh git pull
#     bash launch/autodl/fast.sh megatron-recipe data download fineweb --max-gb 10
set -euo pipefail
turbo=${AUTODL_TURBO:-/etc/network_turbo}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH="$here/../../.venv/bin:$PATH"
if [[ -r $turbo ]]; then
    # shellcheck source=/dev/null
    . "$turbo" >/dev/null
else
    echo "fast: no $turbo here: without acceleration" >&2
fi
exec "$@"
