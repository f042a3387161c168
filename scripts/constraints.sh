#!/bin/sh
# Resolve pyproject.toml and requirements/*.in into hash-pinned requirements/*.txt (Python 3.11, Linux x86_64).
# The files name no package index: pip uses the one that it is set up for.
set -eu
cd "$(dirname "$0")/.."
python -m pip --version >/dev/null
if ! command -v pip-compile >/dev/null; then
    echo "kitops: pip-compile is missing: pip install pip-tools" >&2
    exit 1
fi
export CUSTOM_COMPILE_COMMAND="make constraints"
compile() {
    output=$1
    shift
    pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-trusted-host \
        --no-emit-find-links --output-file "requirements/$output" "$@"
}
compile quickstart.txt pyproject.toml requirements/build.in
compile dev.txt pyproject.toml requirements/dev.in
compile lowest.txt requirements/lowest.in
