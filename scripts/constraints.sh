#!/bin/sh
# Resolve pyproject.toml and requirements/*.in into hash-pinned requirements/*.txt (Python 3.11).
# The files name no package index: pip uses the one that it is set up for.
set -eu
cd "$(dirname "$0")/.."
if ! command -v uv >/dev/null; then
    echo "kitops: uv is missing: pip install uv" >&2
    exit 1
fi
compile() {
    output=$1
    shift
    uv pip compile --quiet --generate-hashes --no-strip-extras --python-version 3.11 --no-emit-index-url --no-emit-find-links \
        --custom-compile-command "make constraints" --output-file "requirements/$output" "$@"
}
compile quickstart.txt pyproject.toml requirements/build.in
compile dev.txt pyproject.toml requirements/dev.in
compile lowest.txt requirements/lowest.in
