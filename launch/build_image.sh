#!/usr/bin/env bash
# Build an image of this commit: bash launch/build_image.sh [--variant ngc] [--target runtime] [--dry-run]
#
#   --variant ngc | ngc-cuda12 | slim | slim-cuda12     what it stands on (launch/images.json)
#   --target  runtime | cloud                           not root; or with sshd and Jupyter for RunPod and its like
#
# Docker, podman or buildah builds (ENGINE names one). Your pip configuration (mirror, proxy) goes in as a build secret
# and is in no layer. A tree with changes is refused: the tag is the commit's.
set -euo pipefail
# shellcheck source=launch/image_common.sh
. "$(dirname "${BASH_SOURCE[0]}")/image_common.sh"
[[ -z $registry ]] || wrong "--registry belongs to push_image.sh"

mapfile -t pairs < <(python3 launch/images.py args "$variant")
[[ ${#pairs[@]} -gt 0 ]] || exit 2
refuse_dirty_tree .

arguments=()
for pair in "${pairs[@]}"; do arguments+=(--build-arg "$pair"); done
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
arguments+=(--build-arg "REVISION=$revision" --build-arg "VERSION=$version" --build-arg "CREATED=$(git show -s --format=%cI HEAD)")
for file in "${PIP_CONFIG_FILE:-}" "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" /etc/pip.conf; do
    if [[ -f $file && $file != /dev/null ]]; then
        arguments+=(--secret "id=pip,src=$file")
        break
    fi
done
# buildah's `bud` is its `build`; it needs to be told of Docker's format for SHELL to count.
build=("$engine" build)
[[ $engine == docker ]] || build+=(--format docker)
# shellcheck disable=SC2086  # several options
DOCKER_BUILDKIT=1 run "${build[@]}" --target "$target" --tag "$tag" "${arguments[@]}" ${BUILD_OPTIONS:-} .
say "$([[ -z $dry_run ]] || echo 'would have ')built $tag"
