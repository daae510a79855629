# shellcheck shell=bash disable=SC2317
# For shells of sshd and Jupyter, which get none of the container's environment: /etc/profile.d/megatron-recipe.sh.
# Read from process 1 each time, so that keys which were given to the container are written to no file.
if [ -n "${BASH_VERSION:-}" ] && [ -z "${PET_NPROC_PER_NODE:-}" ] && [ -r /proc/1/environ ]; then
    while IFS= read -r -d '' setting; do
        case ${setting%%=*} in
            HOME | USER | LOGNAME | SHELL | PWD | OLDPWD | SHLVL | TERM | MAIL | _ | *[!A-Za-z0-9_]*) ;;
            *) export "${setting?}" ;;
        esac
    done </proc/1/environ
    unset setting
fi
# torchrun refuses "gpu" where there is none: a machine for data preparation, AutoDL's mode without a GPU.
if [ "${PET_NPROC_PER_NODE:-}" = gpu ] && [ ! -e /dev/nvidiactl ] && [ ! -e /dev/dxg ]; then
    export PET_NPROC_PER_NODE=1
fi
