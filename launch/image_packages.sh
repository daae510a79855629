#!/usr/bin/env bash
# Make an image's virtual environment with all packages but the project itself. A step of the Dockerfile:
#     EXTRAS=gpu,tracking TRANSFORMER_ENGINE= OTHER_PINS= bash launch/image_packages.sh /opt/venv
#
# Where the base brings torch (NGC's do), that one stays, with the Transformer Engine and apex that were built against it.
# apex is never installed: on the package index that name is another project. Nothing here names an index.
set -euo pipefail
venv=$1
torch_of() { "$1" -c 'import torch; print(torch.__version__, torch.__file__)' 2>/dev/null || true; }

read -ra pins <<<"${OTHER_PINS:-}"
image_torch=$(torch_of python3)
constraints=$(mktemp) requirements=$(mktemp)
trap 'rm -f "$constraints" "$requirements"' EXIT
if [[ -n $image_torch ]]; then
    echo "keeping the image's torch: $image_torch"
    python3 -m venv --system-site-packages "$venv"
    # Some images keep torch in a virtual environment of their own, which system-site-packages does not reach.
    if [[ -z $(torch_of "$venv/bin/python") ]]; then
        dirname "$(dirname "${image_torch#* }")" >"$("$venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')/image.pth"
    fi
    "$venv/bin/python" launch/image_constraints.py requirements.lock >"$constraints"
elif [[ ${#pins[@]} -gt 0 ]]; then
    python3 -m venv "$venv"
    "$venv/bin/python" launch/image_constraints.py requirements.lock "${pins[@]}" >"$constraints"
else
    python3 -m venv "$venv"
    cp requirements.lock "$constraints"
fi
"$venv/bin/python" launch/image_requirements.py pyproject.toml "${EXTRAS:-}" >"$requirements"
# Bytecode is made at the end, on all cores.
install=("$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off --no-compile -c "$constraints")
"${install[@]}" -r "$requirements"

if [[ -n ${TRANSFORMER_ENGINE:-} ]]; then
    version=$(sed -n 's/^transformer-engine==//p' requirements.lock)
    # Its kernels come as a wheel; the binding to torch is C++ that is compiled here, against the torch that is now there.
    # FORCE_BUILD: else its set-up fetches a binary from elsewhere.
    "${install[@]}" wheel ninja packaging "nvidia-cudnn-frontend>=1.29"
    NVTE_PYTORCH_FORCE_BUILD=TRUE NVTE_FRAMEWORK=pytorch MAX_JOBS="${MAX_JOBS:-4}" \
        "${install[@]}" --no-build-isolation "transformer-engine[$TRANSFORMER_ENGINE]==$version"
fi

torch_now=$(torch_of "$venv/bin/python")
[[ -n $torch_now ]] || { "$venv/bin/python" -c 'import torch'; exit 1; }
if [[ -n $image_torch && $torch_now != "$image_torch" ]]; then
    echo "the image's torch was replaced: it was $image_torch and is $torch_now" >&2
    exit 1
fi
echo "$image_torch" >"$venv/.image_torch" # megatron-recipe doctor looks whether it is still so
# A user who is not root could not keep it, and each rank of each start would compile torch and Megatron anew. Some
# packages hold templates that are no Python: these are left out without a word.
"$venv/bin/python" -m compileall -q -j 0 "$venv" >/dev/null || true
