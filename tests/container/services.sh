#!/usr/bin/env bash
# The services of an image of target `cloud`, started as a platform starts it: process 1 of namespaces of its own.
#     bash tests/container/services.sh IMAGE      (run by build.sh; root, buildah, ssh)
set -euo pipefail
image=$1
work=$(mktemp -d)
container=$(buildah from "$image")
root=$(buildah mount "$container")
clean_up() {
    buildah unmount "$container" >/dev/null
    buildah rm "$container" >/dev/null
    rm -rf "$work"
}
trap clean_up EXIT

key=planted-$RANDOM$RANDOM token=planted-$RANDOM$RANDOM
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
install -d "$root/proof"
echo "127.0.0.1 localhost" >"$root/etc/hosts" # as every platform writes it
install -m 600 "$work/key" "$root/proof/key"
buildah inspect --type container --format '{{range .OCIv1.Config.Env}}{{println .}}{{end}}' "$container" | grep . >"$work/environment"
mapfile -t environment <"$work/environment"

cat >"$root/proof/inside.sh" <<'INSIDE'
set -euo pipefail
fail() { echo "FAILED: $*"; exit 1; }
within() { for _ in $(seq 120); do "$@" >/dev/null 2>&1 && return; sleep 0.5; done; fail "$*"; }
login=(ssh -q -i /proof/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes root@127.0.0.1)
within "${login[@]}" true
# A login gets the container's environment, from process 1.
[[ $("${login[@]}" 'bash -lc "echo \$WANDB_API_KEY \$PET_NPROC_PER_NODE; command -v torchrun"') == "$WANDB_API_KEY 1"$'\n'/opt/venv/bin/torchrun ]] \
    || fail "the login's environment"
"${login[@]}" -o PubkeyAuthentication=no true 2>/dev/null && fail "a login without the key"
echo "sshd: in with the key alone, with the container's environment"
within curl -sf "http://127.0.0.1:8888/api/status?token=$JUPYTER_PASSWORD"
[[ $(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8888/api/status) == 403 ]] || fail "Jupyter without the token"
(within curl -sf http://127.0.0.1:6006/data/environment) || fail "TensorBoard: $(tail -1 /var/log/tensorboard.log)"
echo "TensorBoard: answers on port 6006"
for process in /proc/[0-9]*; do
    case $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null || true) in *"$JUPYTER_PASSWORD"* | *"$WANDB_API_KEY"*) fail "a secret among the processes" ;; esac
done
echo "Jupyter: in with the token alone, which is in no process list"
[[ $(cat /proc/1/comm) == tini ]] || fail "process 1 is $(cat /proc/1/comm)"
INSIDE
touch "$work/before"

# shellcheck disable=SC2016  # expanded in the namespaces
unshare --net --pid --mount --uts --fork --kill-child bash -c '
    ip link set lo up
    mount -t proc proc "$1/proc"; mount -t sysfs sysfs "$1/sys"; mount --rbind /dev "$1/dev"; mount -t tmpfs tmpfs "$1/dev/shm"
    mount -t tmpfs tmpfs "$1/run"; mkdir -p "$1/run/sshd"
    root=$1; shift
    exec chroot "$root" env -i HOME=/root TERM=dumb "$@" /usr/bin/tini -g -- /opt/recipe/launch/container/entrypoint.sh bash /proof/inside.sh' \
    _ "$root" "${environment[@]}" "PUBLIC_KEY=$(cat "$work/key.pub")" "JUPYTER_PASSWORD=$token" "WANDB_API_KEY=$key"

# Files that were written since the start, of all that the container keeps.
if find "$root" -xdev -newer "$work/before" -type f -print0 | xargs -0 -r grep -lE "$key|$token"; then
    echo "FAILED: a secret was written to these files"
    exit 1
fi
echo "no secret in any file that the container wrote"
