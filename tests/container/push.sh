#!/usr/bin/env bash
# Push to a real registry on this machine, with a login: as root, with buildah, docker-registry and apache2-utils.
#     bash tests/container/push.sh
#
# The image is a tiny one under the tag that build_image.sh would give: what is tried is push_image.sh.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d -t megatron-recipe-push.XXXXXX)
address=127.0.0.1:5055
password=planted-$RANDOM$RANDOM
registry=
clean_up() { [[ -z $registry ]] || kill "$registry"; rm -rf "$work"; }
trap clean_up EXIT
fail() { echo "FAILED: $*"; exit 1; }

htpasswd -Bbc "$work/users" ada "$password" 2>/dev/null
cat >"$work/registry.yml" <<CONFIG
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: $address}
auth: {htpasswd: {realm: proof, path: $work/users}}
CONFIG
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
registry=$!

git clone --quiet --depth 1 "file://$root" "$work/checkout"
cd "$work/checkout"
tag=megatron-recipe:$(git rev-parse HEAD | cut -c1-12)-slim
container=$(buildah from scratch)
buildah copy --quiet "$container" LICENSE / >/dev/null
buildah commit --quiet --rm "$container" "localhost/$tag" >/dev/null

export ENGINE=buildah LOGIN_OPTIONS=--tls-verify=false PUSH_OPTIONS=--tls-verify=false
push() { bash launch/push_image.sh --registry "$address/ada" --variant slim; }
# Whatever is started meanwhile is looked at: the password may be in no process's arguments.
(while sleep 0.02; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' || true; done) >"$work/processes" &
watcher=$!

if REGISTRY_USERNAME=ada REGISTRY_PASSWORD=wrong push >"$work/wrong.log" 2>&1; then fail "a wrong password was taken"; fi
git diff --quiet || fail "a push that failed was noted"
REGISTRY_USERNAME=ada REGISTRY_PASSWORD=$password push 2>&1 | tee "$work/push.log"
kill "$watcher"

noted=$(python3 -c 'import json; print(json.load(open("launch/images.json"))["pushed"][0]["digest"])')
curl -sS --user "ada:$password" -o "$work/manifest" -H 'Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json' \
    "http://$address/v2/ada/${tag%%:*}/manifests/${tag#*:}"
[[ $noted == "sha256:$(sha256sum <"$work/manifest" | cut -d' ' -f1)" ]] || fail "the registry holds another digest than $noted"
grep -a -q 'login --tls-verify=false --username ada' "$work/processes" || fail "the login was not seen among the processes"
# curl above names it, and is ours; the registry hashes it
grep -a -v curl "$work/processes" | grep -a -q "$password" && fail "the password stood in a process list"
if grep -rqs "$password" "$work/push.log" "$work/wrong.log" "$work/checkout" "$HOME/.docker" "${XDG_RUNTIME_DIR:-/run}/containers/0/auth.json" "$HOME/.config/containers"; then fail "the password was written down"; fi
buildah rmi "localhost/$tag" "$address/ada/$tag" >/dev/null
echo "PASSED: $noted"
