#!/usr/bin/env bash
# Starts the image's services where they are wanted, then what the container was asked to run.
#
#   PUBLIC_KEY          a public key: sshd lets its owner in as root (RunPod sets it)          [image `cloud`]
#   JUPYTER_PASSWORD    the token of Jupyter on port 8888; none: no Jupyter                    [image `cloud`]
#   TENSORBOARD         off: none. Else it shows all runs on port 6006, to whoever reaches it  [image `cloud`]
set -euo pipefail
# shellcheck source=launch/container/login.sh
. /opt/recipe/launch/container/login.sh

if [[ ${MEGATRON_RECIPE_SERVICES:-0} == 1 && $(id -u) == 0 ]]; then
    if [[ -n ${PUBLIC_KEY:-} ]]; then
        install -d -m 700 "$HOME/.ssh"
        touch "$HOME/.ssh/authorized_keys"
        chmod 600 "$HOME/.ssh/authorized_keys"
        grep -qxF "$PUBLIC_KEY" "$HOME/.ssh/authorized_keys" || echo "$PUBLIC_KEY" >>"$HOME/.ssh/authorized_keys"
    fi
    if [[ -s $HOME/.ssh/authorized_keys ]]; then
        ssh-keygen -A >/dev/null # each container has host keys of its own, none is in the image
        /usr/sbin/sshd -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no
    fi
    folder=/
    for disk in /data /workspace /root/autodl-tmp; do [[ ! -d $disk ]] || folder=$disk; done
    if [[ ${TENSORBOARD:-on} != off ]]; then
        setsid /opt/venv/bin/python -m tensorboard.main --logdir "${folder%/}/runs" --host 0.0.0.0 --port 6006 \
            >/var/log/tensorboard.log 2>&1 &
    fi
    if [[ -n ${JUPYTER_PASSWORD:-} ]]; then
        # The token goes through the environment: an argument would stand in the process list. Jupyter writes it down for
        # its own tools: into memory here, so that it is on no disk and in no image that is saved of this machine.
        install -d -m 700 /dev/shm/jupyter
        JUPYTER_TOKEN=$JUPYTER_PASSWORD JUPYTER_RUNTIME_DIR=/dev/shm/jupyter setsid /opt/jupyter/bin/jupyter lab --allow-root --no-browser --ip=0.0.0.0 \
            --port=8888 --ServerApp.root_dir="$folder" --ServerApp.terminado_settings='{"shell_command": ["bash", "-l"]}' \
            >/var/log/jupyter.log 2>&1 &
    fi
fi
exec "$@"
