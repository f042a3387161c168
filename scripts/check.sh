#!/usr/bin/env bash
# Everything that decides whether a change is good, each step by its name and with its time.
#
#   scripts/check.sh all       what `make test` and CI run
#   scripts/check.sh static    without the tests
#
# The programs (ruff, mypy, pytest ...) are those of the PATH; `make test` puts .venv/bin first.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=()

step() {
    local name=$1 started=$SECONDS
    shift
    printf '\n==> %s\n' "$name"
    if "$@"; then
        printf '    ok, %d s\n' $((SECONDS - started))
    else
        printf '    FAILED, %d s: %s\n' $((SECONDS - started)) "$*"
        failed+=("$name")
    fi
}

fragments() {
    # Every change brings a fragment; directly after a release there is a change log and no fragment yet.
    towncrier build --draft --version next >/dev/null
    if [ -z "$(find changelog.d -name '*.md' ! -name README.md -print -quit)" ] && ! grep -q '^## ' CHANGELOG.md; then
        echo "changelog.d/ holds no fragment and CHANGELOG.md no release"
        return 1
    fi
}

golden() {
    # The vectors of other tools are the judge of compatibility: a clone without them must not pass by accident.
    local found
    found=$(find tests/golden -type f | wc -l)
    if [ "$found" -lt 200 ]; then
        echo "tests/golden holds only $found files"
        return 1
    fi
}

tests() {
    rm -f .coverage .coverage.*
    scripts/run_tests.sh -q -n 2 --dist worksteal --cov --cov-report= --durations=10
}

covered() {
    # pytest-cov has merged what workers and programs wrote; left are the broken files of processes that tests killed.
    rm -f .coverage.*
    coverage report --skip-covered --fail-under=95
}

step "format" ruff format --check .
step "lint" ruff check .
step "types" mypy
step "the layers of the house" lint-imports
step "generated documents" python scripts/generated.py check
step "links of the documents" python scripts/links.py
step "change log fragments" fragments
step "golden vectors" golden
step "wheel" python scripts/check_wheel.py
if [ "${1:-all}" = all ]; then
    step "tests" tests
    step "coverage of lines and branches" covered
    step "quickstart" python scripts/quickstart.py
fi

if [ ${#failed[@]} -gt 0 ]; then
    printf '\nFAILED after %d s:' "$SECONDS"
    printf ' [%s]' "${failed[@]}"
    printf '\n'
    exit 1
fi
printf '\nEverything passed in %d s.\n' "$SECONDS"
