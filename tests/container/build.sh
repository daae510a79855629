#!/usr/bin/env bash
# Execute the Dockerfile's steps on a base made of Debian's packages, and train in the image: as root, with buildah.
#     bash tests/container/build.sh [runtime|cloud]
#
# The base has no CUDA, so TRANSFORMER_ENGINE stays empty and torch trains on the CPU; everything else is what
# launch/build_image.sh --variant slim does. Takes minutes, 15 GB of disk, and the package index.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
targets=("${@:-runtime}")
base=localhost/megatron-recipe-base
work=$(mktemp -d -t megatron-recipe-container.XXXXXX)
say() { echo "$(date +%H:%M:%S) $*"; }

buildah inspect "$base" >/dev/null 2>&1 || bash "$here/base.sh"
# The commit, not the folder: what nobody committed is in no image.
git clone --quiet --depth 1 "file://$root" "$work/checkout"
cd "$work/checkout"
# CONTEXT_PATCH: a command that changes this copy, which is then committed here.
if [[ -n ${CONTEXT_PATCH:-} ]]; then
    eval "$CONTEXT_PATCH"
    git -c user.name=proof -c user.email=proof@localhost commit --quiet --all --message "as it will be"
fi
revision=$(git rev-parse HEAD)
export ENGINE=buildah PIP_CONFIG_FILE=$work/pip.conf
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\ntimeout = 180\n' >"$PIP_CONFIG_FILE"
export BUILD_OPTIONS="--isolation chroot --layers --build-arg BUILD_IMAGE=$base --build-arg RUN_IMAGE=$base --build-arg PYTHON_PACKAGES= --build-arg TRANSFORMER_ENGINE="

(cd "$work" && PYTHONPATH="$root:$root/tests" "$root/.venv/bin/python" -P -c "
from pathlib import Path
from small_dataset import write_dataset
write_dataset(Path('small'))")

for target in "${targets[@]}"; do
    began=$SECONDS
    bash launch/build_image.sh --variant slim --target "$target"
    tag=megatron-recipe:${revision:0:12}-slim$([[ $target == runtime ]] || echo "-$target")
    say "built $tag in $((SECONDS - began)) s: $(buildah images --format '{{.Size}}' "localhost/$tag")"
    container=$(buildah from "localhost/$tag")
    mkdir -p "$work/runs-$target"
    chmod 777 "$work/runs-$target"
    # As a person would start it: the entrypoint, the image's own user, its PATH. Services have a proof of their own.
    inside() {
        buildah run --isolation chroot -e TENSORBOARD=off -v "$work/small:/data/small:ro" -v "$work/runs-$target:/data/runs" "$container" -- \
            /usr/bin/tini -g -- /opt/recipe/launch/container/entrypoint.sh "$@"
    }
    # shellcheck disable=SC2016  # it is expanded in the image
    inside bash -c 'echo "in it: $(id -un), $(which torchrun), one process for each: $PET_NPROC_PER_NODE"'
    inside megatron-recipe doctor --build
    inside torchrun /opt/recipe/launch/pretrain_tiny.sh --set data.datasets=/data/small --set train.steps=5 \
        --set train.log_every_steps=1 --run-dir /data/runs/tiny
    grep -q '"event": *"end"' "$work/runs-$target/tiny/events.jsonl"
    say "trained in $tag"
    # The wheels' apex is another project; the pip configuration must be in no layer.
    inside bash -c '! /opt/venv/bin/pip show apex 2>/dev/null; [[ ! -s /etc/pip.conf ]]'
    buildah rm "$container" >/dev/null
    [[ $target != cloud ]] || bash "$here/services.sh" "localhost/$tag"
done
say "PASSED: ${targets[*]}, $(nproc --all) cores"
