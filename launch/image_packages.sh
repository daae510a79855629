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
    "$venv/bin/python" launch/image_constraints.py requirements.lock >"$constraints"
elif [[ ${#pins[@]} -gt 0 ]]; then
    python3 -m venv "$venv"
    "$venv/bin/python" launch/image_constraints.py requirements.lock "${pins[@]}" >"$constraints"
else
    python3 -m venv "$venv"
    cp requirements.lock "$constraints"
fi
"$venv/bin/python" launch/image_requirements.py pyproject.toml "${EXTRAS:-}" >"$requirements"
"$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off -c "$constraints" -r "$requirements"

if [[ -n ${TRANSFORMER_ENGINE:-} ]]; then
    version=$(sed -n 's/^transformer-engine==//p' requirements.lock)
    # Compiled against the torch that is now there, for the cards of the recipes: A100, RTX 4090 and L40S, H100, B200.
    NVTE_FRAMEWORK=pytorch NVTE_CUDA_ARCHS="80;89;90;100" MAX_JOBS="${MAX_JOBS:-4}" \
        "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off --no-build-isolation \
        -c "$constraints" "transformer-engine[$TRANSFORMER_ENGINE]==$version"
fi

torch_now=$(torch_of "$venv/bin/python")
[[ -n $torch_now ]] || { "$venv/bin/python" -c 'import torch'; exit 1; }
if [[ -n $image_torch && $torch_now != "$image_torch" ]]; then
    echo "the image's torch was replaced: it was $image_torch and is $torch_now" >&2
    exit 1
fi
echo "$image_torch" >"$venv/.image_torch" # megatron-recipe doctor looks whether it is still so
# Bytecode is written at import where it is missing; in an image it is only size.
find "$venv" -name __pycache__ -type d -prune -exec rm -rf {} +
