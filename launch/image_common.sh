# shellcheck shell=bash disable=SC2034
# What build_image.sh and push_image.sh share: options, the tag, and which program builds.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
variant=ngc target=runtime registry='' dry_run=''

say() { echo "image: $*" >&2; }
wrong() { say "$*"; exit 2; }

while [[ $# -gt 0 ]]; do
    [[ $1 == --dry-run || $# -gt 1 ]] || wrong "$1 needs a value"
    case $1 in
        --variant) variant=$2; shift ;;
        --target) target=$2; shift ;;
        --registry) registry=$2; shift ;;
        --dry-run) dry_run=1 ;;
        *) wrong "$1 is not known; there are --variant --target --registry --dry-run" ;;
    esac
    shift
done
[[ $target == runtime || $target == cloud ]] || wrong "--target $target: runtime (not root), or cloud (sshd and Jupyter, root)"

# Docker, or what takes the same arguments; ENGINE names another.
engine=${ENGINE:-}
for one in docker podman buildah; do
    [[ -n $engine ]] || ! command -v "$one" >/dev/null || engine=$one
done
[[ -n $engine || -n $dry_run ]] || wrong "docker, podman or buildah is needed, and none is on PATH"
engine=${engine:-docker}

# A tag names a commit, so what is in the image must be in the commit. $1: paths to look at, as git takes them.
refuse_dirty_tree() {
    local changes
    changes=$(git status --porcelain -- "$@")
    [[ -z $changes ]] || wrong "the tree has changes that no commit holds, so no tag could name it; commit them first:
$changes"
}

revision=$(git rev-parse HEAD)
tag=megatron-recipe:${revision:0:12}-$variant$([[ $target == runtime ]] || echo "-$target")

run() {
    say "$([[ -z $dry_run ]] || echo 'would run: ')$*"
    [[ -n $dry_run ]] || "$@"
}
