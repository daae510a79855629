#!/usr/bin/env bash
# Set up a plain instance of AutoDL, where no image can be brought and no Docker runs. In ~/megatron-recipe:
#
#     bash launch/autodl/setup.sh              # about ten minutes; then 保存镜像 on the web page keeps it
#     bash launch/autodl/setup.sh --data-only  # without Transformer Engine, as in the mode without a GPU (无卡模式)
#     bash launch/autodl/setup.sh --dry-run
#
# pip's own configuration says where packages come from; nothing here passes an address. The checkout and .venv lie on
# the system disk, which an image holds; runs, data and caches on the data disk; Transformer Engine's wheel, which
# takes long to compile, on the file storage. Again after an interruption: what is there is left.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
# shellcheck source=launch/autodl/env.sh
. launch/autodl/env.sh

ENGINE=2.20.2 # of Transformer Engine, as in pyproject.toml
NEED_GB=14    # torch with CUDA's libraries, Transformer Engine, and the rest
DATA_ONLY_GB=10
data_only='' dry_run=''
say() { echo "autodl: $*" >&2; }
give_up() { say "error: $*"; exit 2; }
for option in "$@"; do
    case $option in
        --data-only) data_only=1 ;;
        --dry-run) dry_run=1 ;;
        *) give_up "$option is not known; it has --data-only and --dry-run" ;;
    esac
done

if [[ -z $data_only ]] && ! nvidia-smi -L >/dev/null 2>&1; then
    say "no GPU here (无卡模式): without Transformer Engine; run this again when the instance has its GPU"
    data_only=1
fi
need=$NEED_GB
[[ -z $data_only ]] || need=$DATA_ONLY_GB
[[ -d $AUTODL_DATA ]] || give_up "no data disk at $AUTODL_DATA; is this an instance of AutoDL? Else use: make setup"
free=$(df --output=avail --block-size=1G . | tail -n 1 | tr -d ' ')
if [[ ! -e .venv/.complete && $free -lt $need ]]; then
    give_up "$free GB are free on the system disk, and $need are needed: delete what the image brought \
(conda clean --all), or take a Miniconda image, which is smaller"
fi

find_python() {
    local candidate
    for candidate in python3.12 "$HOME/miniconda3/bin/python3.12" "$HOME/python312/bin/python3.12"; do
        if command -v "$candidate" >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
}
PYTHON=${PYTHON:-$(find_python)}

kept=$AUTODL_FS
[[ -d $kept ]] || kept=$AUTODL_DATA
if [[ -n $dry_run ]]; then
    say "would use ${PYTHON:-a Python 3.12 that conda makes in ~/python312}, $free GB free on the system disk"
    say "would link runs, datasets, corpora and exports to $AUTODL_DATA, and keep wheels in $kept/wheels"
    say "would run launch/setup_env.sh$([[ -n $data_only ]] || echo ", and install Transformer Engine $ENGINE")"
    exit
fi

mkdir -p "$PIP_CACHE_DIR" "$HF_HOME"
for name in runs datasets corpora exports; do
    mkdir -p "$AUTODL_DATA/$name"
    [[ -e $name || -L $name ]] || ln -s "$AUTODL_DATA/$name" "$name"
done

missing=()
for program in rsync rclone tmux; do
    command -v "$program" >/dev/null || missing+=("$program")
done
if [[ ${#missing[@]} -gt 0 ]]; then
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } ||
        say "warning: ${missing[*]} could not be installed; megatron-recipe sync needs rsync or rclone"
fi

if [[ -z $PYTHON ]]; then
    conda=$(command -v conda || echo "$HOME/miniconda3/bin/conda")
    [[ -x $conda ]] || give_up "no Python 3.12 and no conda here; take one of AutoDL's own images, or set PYTHON"
    say "making Python 3.12"
    "$conda" create --yes --quiet --prefix "$HOME/python312" python=3.12
    PYTHON=$HOME/python312/bin/python3.12
fi
export PYTHON
bash launch/setup_env.sh

if [[ -z $data_only ]]; then
    torch=$(.venv/bin/python -c 'import torch; print(torch.__version__.replace("+", "_"))')
    wheels=$kept/wheels/engine-$ENGINE-torch-$torch
    if ! compgen -G "$wheels/transformer_engine_torch-*.whl" >/dev/null; then
        say "compiling Transformer Engine for torch $torch, once: the wheel is kept in $wheels"
        mkdir -p "$wheels"
        partial=$(mktemp -d "$wheels/.partial.XXXXXX")
        NVTE_FRAMEWORK=pytorch MAX_JOBS=${MAX_JOBS:-$(nproc)} .venv/bin/python -m pip wheel --no-deps \
            --no-build-isolation --wheel-dir "$partial" "transformer_engine_torch==$ENGINE"
        mv "$partial"/*.whl "$wheels/"
        rmdir "$partial"
    fi
    .venv/bin/python -m pip install --constraint requirements.lock --find-links "$wheels" --no-build-isolation \
        "transformer-engine[pytorch]==$ENGINE" nvidia-ml-py
fi
.venv/bin/megatron-recipe doctor || say "the doctor found something: see above"
say "done; 保存镜像 on the web page keeps the system disk (shut the instance down first). Train with:"
say "bash launch/autodl/start.sh launch/pretrain_1b.sh --set data.datasets=datasets/main"
