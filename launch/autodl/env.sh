# shellcheck shell=bash
# Where things lie on an instance of AutoDL. Source it: . launch/autodl/env.sh
# The system disk has 30 GB and is what 保存镜像 saves; the data disk stays with the instance; the file storage
# (文件存储) is shared by all instances of a region, and has to be switched on in the console.
AUTODL_DATA=${AUTODL_DATA:-/root/autodl-tmp}
AUTODL_FS=${AUTODL_FS:-/root/autodl-fs}
export AUTODL_DATA AUTODL_FS
export PIP_CACHE_DIR="${PIP_CACHE_DIR:-$AUTODL_DATA/cache/pip}"
export HF_HOME="${HF_HOME:-$AUTODL_DATA/cache/huggingface}"
export TRITON_CACHE_DIR="${TRITON_CACHE_DIR:-$AUTODL_DATA/cache/triton}"
export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$AUTODL_DATA/cache}"
