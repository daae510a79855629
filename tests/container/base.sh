#!/usr/bin/env bash
# Make localhost/megatron-recipe-base, which stands in for a public base image: Debian's packages and this machine's
# Python 3.12. As root, with buildah and mmdebstrap: bash tests/container/base.sh
set -euo pipefail
python=$(readlink -f "${PYTHON:-$(dirname "${BASH_SOURCE[0]}")/../../.venv/bin/python}")
home=$("$python" -c 'import sys; print(sys.base_prefix)')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mmdebstrap --quiet --variant=minbase bookworm "$work/tree" --include=ca-certificates,libssl3,libffi8,libbz2-1.0,liblzma5,libsqlite3-0,libreadline8,zlib1g,libncursesw6,libuuid1,libexpat1,libstdc++6
cp -a "$home/bin/python3.12" "$work/tree/usr/local/bin/"
for name in python3 python; do ln -s python3.12 "$work/tree/usr/local/bin/$name"; done
cp -a "$home"/lib/libpython3* "$work/tree/usr/local/lib/" 2>/dev/null || true # where Python is built with a shared library
mkdir -p "$work/tree/usr/local/include"
cp -a "$home/include/python3.12" "$work/tree/usr/local/include/"
tar -C "$home/lib" -cf - --exclude=site-packages --exclude=test --exclude=__pycache__ python3.12 | tar -C "$work/tree/usr/local/lib" -xf -
mkdir "$work/tree/usr/local/lib/python3.12/site-packages"
# What this machine's apt and TLS were told, the image's must be told too.
cp /etc/ssl/certs/ca-certificates.crt "$work/tree/etc/ssl/certs/"
find /etc/apt/apt.conf.d -name '99*' -exec cp {} "$work/tree/etc/apt/apt.conf.d/" \;
chroot "$work/tree" ldconfig
chroot "$work/tree" python3 -c 'import bz2, ctypes, lzma, readline, sqlite3, ssl, zlib'

container=$(buildah from scratch)
buildah copy --quiet "$container" "$work/tree" / >/dev/null
buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
buildah commit --quiet --rm "$container" localhost/megatron-recipe-base >/dev/null
echo "made localhost/megatron-recipe-base"
