#!/usr/bin/env bash
# Push the image of this commit and note its digest in launch/images.json:
#     bash launch/push_image.sh --registry docker.io/NAME [--variant ngc] [--target runtime] [--dry-run]
#
#   --registry  docker.io/NAME                                  Docker Hub
#               ghcr.io/NAME                                    GitHub
#               registry.cn-hangzhou.aliyuncs.com/NAMESPACE     Alibaba's ACR: the one to pull from within China
#
# REGISTRY_USERNAME and REGISTRY_PASSWORD (a token of the registry) log in for this push alone; the password goes through
# standard input, so it stands in no process list, and what the login wrote is deleted. Without them an earlier login
# counts. PUSH_OPTIONS is given to the push as it is.
set -euo pipefail
# shellcheck source=launch/image_common.sh
. "$(dirname "${BASH_SOURCE[0]}")/image_common.sh"
[[ $registry =~ ^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$ ]] \
    || wrong "--registry '$registry': HOST/NAME, such as docker.io/NAME, ghcr.io/NAME or registry.cn-hangzhou.aliyuncs.com/NAMESPACE"
python3 launch/images.py args "$variant" >/dev/null
refuse_dirty_tree . ':!launch/images.json'

host=${registry%%/*}
image=$registry/$tag
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [[ -n ${REGISTRY_PASSWORD:-} ]]; then
    [[ -n ${REGISTRY_USERNAME:-} ]] || wrong "REGISTRY_PASSWORD is set and REGISTRY_USERNAME is not"
    export DOCKER_CONFIG=$scratch REGISTRY_AUTH_FILE=$scratch/auth.json # docker's; podman's and buildah's
    say "logging in to $host as $REGISTRY_USERNAME"
    if [[ -z $dry_run ]]; then
        # shellcheck disable=SC2086
        printf '%s' "$REGISTRY_PASSWORD" | "$engine" login ${LOGIN_OPTIONS:-} --username "$REGISTRY_USERNAME" --password-stdin "$host"
    fi
fi
unset REGISTRY_PASSWORD

run "$engine" tag "$tag" "$image"
if [[ $engine == docker ]]; then
    # shellcheck disable=SC2086
    run docker push ${PUSH_OPTIONS:-} "$image"
    [[ -n $dry_run ]] || docker inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image" \
        | sed -n "s|^${image%:*}@||p" | head -1 >"$scratch/digest"
else
    # shellcheck disable=SC2086
    run "$engine" push ${PUSH_OPTIONS:-} --digestfile "$scratch/digest" "$image"
fi
if [[ -z $dry_run ]]; then
    python3 launch/images.py record "$image" "$(cat "$scratch/digest")" "$revision" "$variant" "$target"
    say "pushed $image@$(cat "$scratch/digest"); commit launch/images.json, which holds the digest"
fi
