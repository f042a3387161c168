#!/usr/bin/env bash
# pytest with the given arguments; the interpreter is the first `python` of the PATH.
#
# In CI, where other work may hold a process up for seconds, three failed tests at most are run once more, one after the
# other. Those that pass then are named as unsteady: each is a defect, of the test or of what it tests.
set -uo pipefail
cd "$(dirname "$0")/.."
most=3
record=.pytest_cache/v/cache/lastfailed

rm -f "$record"
python -m pytest "$@"
code=$?
if [ "$code" != 1 ] || [ -z "${CI:-}" ]; then exit "$code"; fi

if [ ! -f "$record" ]; then exit "$code"; fi # no test failed: something else did
mapfile -t names < <(python -c "import json; print(*json.load(open('$record')), sep='\n')")
if [ ${#names[@]} -gt "$most" ]; then exit "$code"; fi
printf '\nOnce more, alone: %s\n' "${names[*]}"
append=()
case " $* " in *" --cov "*) append=(--cov-append) ;; esac
python -m pytest "$@" "${append[@]}" -n 0 --last-failed || exit
printf '\nUNSTEADY, passed only when run again:\n'
printf '  %s\n' "${names[@]}"
