#!/usr/bin/env bash
# Make .venv: Python 3.12, this project in editable mode and all that the demo and the tests need.
# Run: make setup   (or bash launch/setup_env.sh [--dry-run])
#
#   PYTHON=/path/to/python3.12   use this Python instead of searching for one
#   OWN_TORCH=1                  install a torch of our own even where the image brings one
#
# pip and not uv: the mirrors, proxies and caches of our users are written in pip's configuration, which uv does not
# read. Nothing here passes an index address, so that configuration holds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=.venv
COMPLETE=$VENV/.complete      # written last: the Makefile takes a .venv without it for not made
INCOMPLETE=$VENV/.incomplete  # there while work goes on: pip cut off in the middle leaves half packages, so start afresh
CONSTRAINTS=requirements.lock
DRY_RUN=${1:-}

say() { echo "set-up: $*" >&2; }
die() { say "$*"; exit 1; }

interrupted() {
    say "interrupted; the same command starts afresh / 已中断，再次运行会重新开始"
    exit 130
}

require_linux() {
    case "$(uname -s)" in
        Linux) ;;
        Darwin) die "megatron-core has no macOS wheel; see README.md, 'In a container' / megatron-core 没有 macOS 安装包，见 README.zh-CN.md 的容器一节" ;;
        *) die "this needs Linux (on Windows: WSL 2); see README.md, 'In a container' / 需要 Linux（Windows 上用 WSL 2），见 README.zh-CN.md 的容器一节" ;;
    esac
}

# A candidate counts only when it runs: pyenv puts a python3.12 on PATH that fails unless that version is selected.
# venv and ensurepip are asked for because Debian and Ubuntu package them apart.
is_usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1
}

candidates() {
    echo python3.12
    # shellcheck disable=SC2012  # sorted by version, which find cannot
    ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python3.12 2>/dev/null | sort -rV || true
    uv python find --no-project 3.12 2>/dev/null || true
    ls -d "${CONDA_PREFIX:-/opt/conda}"/bin/python3.12 "${CONDA_PREFIX:-/opt/conda}"/envs/*/bin/python3.12 \
        "$HOME"/miniconda3/bin/python3.12 "$HOME"/miniconda3/envs/*/bin/python3.12 2>/dev/null || true
    echo python3
    echo python
}

find_python() {
    if [[ -n "${PYTHON:-}" ]]; then
        is_usable "$PYTHON" || die "PYTHON=$PYTHON is not a working Python 3.12 with venv / 不是可用的 Python 3.12"
        command -v "$PYTHON"
        return
    fi
    local candidate
    while read -r candidate; do
        if is_usable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done < <(candidates)
    die "Python 3.12 with venv was not found. Get it with one of / 没有找到 Python 3.12，任选一种安装:" \
        "apt-get install python3.12-venv | conda create -n py312 python=3.12 | uv python install 3.12 | pyenv install 3.12"
}

# "version path" of the torch that a Python imports, or nothing.
torch_of() {
    "$1" -c 'import torch; print(torch.__version__, torch.__file__)' 2>/dev/null || true
}

create_venv() {
    local python=$1 image_torch=$2
    if [[ -e $INCOMPLETE ]]; then
        say "the last set-up was interrupted: starting afresh / 上次安装中断，重新开始"
        rm -rf "$VENV"
    fi
    mkdir -p "$VENV"
    rm -f "$COMPLETE"
    touch "$INCOMPLETE"
    [[ -x $VENV/bin/pip ]] && return
    if [[ -z $image_torch ]]; then
        "$python" -m venv "$VENV"
        return
    fi
    "$python" -m venv --system-site-packages "$VENV"
    # Some images keep torch in a virtual environment of their own, which system-site-packages does not reach.
    if [[ -z $(torch_of "$VENV/bin/python") ]]; then
        dirname "$(dirname "${image_torch#* }")" >"$("$VENV/bin/python" -c 'import site; print(site.getsitepackages()[0])')/image.pth"
    fi
}

install() {
    local constraints=$1
    "$VENV/bin/python" -m pip install --disable-pip-version-check --progress-bar on -c "$constraints" -e '.[dev]'
}

main() {
    trap interrupted INT TERM
    require_linux
    local python image_torch="" constraints=$CONSTRAINTS
    python=$(find_python)
    [[ -n "${OWN_TORCH:-}" ]] || image_torch=$(torch_of "$python")
    say "Python: $python ($("$python" -V))"
    if [[ -n $image_torch ]]; then
        say "keeping the image's torch: $image_torch / 保留镜像自带的 torch"
        constraints=$VENV/constraints.txt
    fi
    say "installing into $VENV with pip and your own pip configuration (5-6 GB, minutes on a fast mirror) / 用您自己的 pip 配置安装"
    [[ $DRY_RUN == --dry-run ]] && return

    create_venv "$python" "$image_torch"
    if [[ -n $image_torch ]]; then
        "$VENV/bin/python" launch/image_constraints.py "$CONSTRAINTS" >"$constraints"
    fi
    if ! install "$constraints"; then
        [[ -z $image_torch ]] || say "if pip names a conflict with the image's packages: OWN_TORCH=1 make setup installs torch into $VENV only"
        die "pip failed; its message is above. Run the same command again when it is mended / pip 失败，原因见上"
    fi
    local torch_now
    torch_now=$(torch_of "$VENV/bin/python")
    [[ -n $torch_now ]] || die "torch does not import: $("$VENV/bin/python" -c 'import torch' 2>&1 | tail -1)"
    if [[ -n $image_torch && $torch_now != "$image_torch" ]]; then
        die "the image's torch was replaced: it was '$image_torch' and is '$torch_now' / 镜像自带的 torch 被替换"
    fi
    echo "$image_torch" >"$VENV/.image_torch"  # megatron-recipe doctor looks whether it is still so
    rm -f "$INCOMPLETE"
    touch "$COMPLETE"
    say "done / 完成"
}

main
