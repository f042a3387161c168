#!/bin/sh
# Make a virtual environment from a hash-pinned constraints file, or do nothing when it is up to date.
#
#   scripts/environment.sh DIRECTORY REQUIREMENTS
#   scripts/environment.sh --can-make              only says whether a Python for it was found
#
# PYTHON may name the interpreter; otherwise the first Python 3.11 or later that is found is used.
set -eu

cd "$(dirname "$0")/.."

complain() {
    printf '\nkitops: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

can_make_environments() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" || complain "PYTHON=$PYTHON is not a Python 3.11 or later" \
            "set PYTHON to one that is, for example: make PYTHON=/usr/bin/python3.11 quickstart"
        can_make_environments "$PYTHON" || complain_about_venv "$PYTHON"
        python=$PYTHON
        return
    fi
    without_venv=
    for candidate in python3.11 python3 python3.12 python3.13 python3.14 /usr/bin/python3; do
        is_new_enough "$candidate" || continue
        if can_make_environments "$candidate"; then
            python=$candidate
            return
        fi
        without_venv=$candidate
    done
    if [ -n "$without_venv" ]; then complain_about_venv "$without_venv"; fi
    seen=$(python3 --version 2>&1 || true)
    complain "Python 3.11 or later is needed and was not found (python3 says: $seen)" \
        "Debian 12, Ubuntu 24.04: apt-get install python3 python3-venv" \
        "Fedora:                  dnf install python3.11" \
        "macOS:                   brew install python@3.11" \
        "Then run the command again; PYTHON=/path/to/python3.11 picks one."
}

complain_about_venv() {
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    complain "$1 (Python $version) cannot make virtual environments: its modules venv and ensurepip are missing" \
        "Debian, Ubuntu: apt-get install python3-venv   (or python$version-venv)" \
        "Elsewhere:      install the whole standard library of Python $version"
}

if [ "$1" = --can-make ]; then
    find_python
    exit 0
fi

directory=$1
requirements=$2
stamp=$directory/.kitops-environment
fingerprint=$(cat "$requirements" pyproject.toml src/kitops/__init__.py scripts/environment.sh | cksum)
if [ -x "$directory/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$fingerprint" ]; then exit 0; fi

find_python
echo "Making $directory from $requirements with $("$python" --version) ..." >&2
if [ ! -x "$directory/bin/python" ]; then
    "$python" -m venv "$directory" || complain "$python -m venv $directory failed (see above)"
fi
pip="$directory/bin/python -m pip --disable-pip-version-check --quiet"
$pip install --require-hashes -r "$requirements" || complain "installing $requirements failed (see above)" \
    "The packages come from the index that pip is set up to use (pip config list)."
$pip install --no-deps --no-build-isolation --editable . || complain "installing the project itself failed (see above)"
printf '%s' "$fingerprint" > "$stamp"
