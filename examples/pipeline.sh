#!/bin/sh
# The jobs of a pipeline, one subcommand each; the YAML files beside this only call it. README.md says which, and when.
#
#   pipeline.sh setup             what a fresh checkout needs: Python packages, Pulumi CLI, Amazon's CA bundle
#   pipeline.sh stacks [BASE]     names of all stacks, or of those whose YAML changed since BASE, as a JSON list
#   pipeline.sh check STACK       pull request: what would change, what blocks, what warns
#   pipeline.sh advance STACK     merge and schedule: as far as encryptdb:phase in the YAML allows
#   pipeline.sh status STACK      schedule: fails where somebody has to look
#   pipeline.sh cutover STACK     by approval: moves the applications
#   pipeline.sh rollback STACK    by approval: moves them back
#   pipeline.sh retire STACK      by approval: ends the rollback path, once rollbackWindow is over
#
# Exit status 0: its goal is reached, or, of check, advance and status, it waits: the summary says for what, and the
# schedule brings the job back. In a job that a person started "not yet" is a failure (3): nothing brings it back.
# Everything else is the status of the command that failed.
#
# No two jobs that change one stack may run at once: advance takes an earlier job's lock away. The pipeline sees to it
# (a concurrency group, a build limit of 1).
set -eu

: "${ENCRYPTDB_JOB_SECONDS:=3000}" # advance ends by itself after this, and comes back
: "${ENCRYPTDB_ALLOW_REBOOT:=}"    # 1, in a job behind an approval: the source may be rebooted now
: "${ENCRYPTDB_APPROVED_BY:=}"     # who approved, for the journal
: "${ENCRYPTDB_MAX_PAUSE:=10}"     # seconds, of cutover and rollback
: "${ENCRYPTDB_AGAIN_SECONDS:=15}" # status looks a second time before it fails
: "${PULUMI_VERSION:=3.259.0}"     # what setup installs where there is no CLI

usage() {
    sed -n 's/^#   //p' "$0" >&2
    exit 2
}

say() { printf 'pipeline: %s\n' "$*" >&2; }

# Markdown on standard input goes where GitHub shows it, elsewhere into the log.
note() { if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then cat >>"$GITHUB_STEP_SUMMARY"; else cat; fi; }

# waits REASON: ends the job; green, unless somebody asked for it.
waits() {
    printf '**Waits for:** %s\n\n' "$*" | note
    say "waits for: $*"
    exit "$waiting"
}

fail() {
    status=$1
    shift
    printf '**Failed:** %s\n\n' "$*" | note
    say "$*"
    exit "$status"
}

summary() { "$python" examples/summary.py "$@"; }

# What is left of the job, in whole seconds. (To `timeout`, 0 would mean no limit.)
left() {
    seconds=$((started + ENCRYPTDB_JOB_SECONDS - $(date +%s)))
    if [ "$seconds" -lt 1 ]; then seconds=1; fi
    echo "$seconds"
}

cut_off() { waits "the next job: this one was cut off (ENCRYPTDB_JOB_SECONDS is $ENCRYPTDB_JOB_SECONDS). What was done stays done."; }

# try COMMAND [OPTION]...: one command of the controller. Its document is in $work/COMMAND.json, its status in $ended.
try() {
    command=$1
    shift
    ended=0
    # shellcheck disable=SC2086  # no word, or several
    ${bound:-} "$python" -m controller "$command" --stack "$stack" --json "$@" >"$work/$command.json" || ended=$?
}

# The same, and the job ends here unless the command reached its goal.
ask() {
    try "$@"
    if [ "$ended" = 0 ]; then return; fi
    if [ -n "${bound:-}" ] && { [ "$ended" = 124 ] || [ "$ended" = 137 ]; }; then cut_off; fi
    summary ended "$1" "$ended" "$work/$1.json" | note
    if [ "$ended" = 3 ]; then exit "$waiting"; fi
    exit "$ended"
}

# The same for what may last; the controller ends cleanly on SIGTERM, and goes on from there the next time.
ask_long() {
    bound="timeout -k 60 $(left)"
    ask "$@"
    bound=
}

of() { summary get "$work/$1.json" "$2"; }

read_outputs() {
    if ! pulumi stack output --json --non-interactive --stack "$stack" >"$work/outputs.json"; then
        fail 1 "pulumi does not tell the stack's outputs; the log says why. The databases are as they were: run the job again."
    fi
}

setting() { pulumi config get "encryptdb:$1" --non-interactive --stack "$stack"; }

# What the YAML asks for, read once: what cannot be read is no value, and least of all another one than before.
read_settings() {
    if ! wanted_phase=$(setting phase) || ! wanted_attempt=$(setting attempt); then
        fail 1 "pulumi does not tell the stack's configuration; the log says why. Nothing was changed: run the job again."
    fi
}

select_stack() {
    pulumi stack select --create --non-interactive ${ENCRYPTDB_SECRETS_PROVIDER:+--secrets-provider "$ENCRYPTDB_SECRETS_PROVIDER"} --stack "$stack" >&2 ||
        fail 1 "pulumi cannot select the stack; the log says why. Nothing was changed: run the job again."
}

# The stack's configuration, to be used with another phase: `--config` writes into the file that it is used with, and the
# checkout's has to go on saying what is wanted.
yaml=
copy_yaml() {
    yaml=$work/Pulumi.$stack.yaml
    cp "stacks/Pulumi.$stack.yaml" "$yaml"
}

# up PHASE
up() {
    say "pulumi up in phase $1"
    copy_yaml
    seconds=$(left)
    {
        ended=0
        # The CLI alone is interrupted, and once: a second SIGINT would be an order not to tidy up.
        timeout --foreground -s INT -k 60 "$seconds" pulumi up --yes --non-interactive --stack "$stack" \
            --config-file "$yaml" --config "encryptdb:phase=$1" 2>&1 || ended=$?
        echo "$ended" >"$work/ended"
    } | tee "$work/up.txt" >&2
    ended=$(cat "$work/ended")
    case $ended in 124 | 137) cut_off ;; esac
    summary up "$1" "$ended" "$work/up.txt" | note
    if [ "$ended" != 0 ]; then exit 1; fi
}

# What an update that was cut off left: its lock, and what AWS was still making.
take_over() {
    pulumi cancel --yes --stack "$stack" >/dev/null 2>&1 || true
    if ! pulumi stack export --stack "$stack" >"$work/state.json"; then
        fail 1 "pulumi does not give the stack's state; the log says why. Nothing was changed: run the job again."
    fi
    if ! summary pending "$work/state.json"; then return; fi
    say "an earlier job was cut off"
    ended=0
    "$python" -m stacks recover --stack "$stack" --cancel 2>"$work/recover.txt" || ended=$?
    cat "$work/recover.txt" >&2
    case $ended in
        0) ;;
        3) waits "AWS: $(sed -e 's/^AWS is //' -e 1q "$work/recover.txt")" ;;
        *) fail "$ended" "$(head -n 1 "$work/recover.txt")" ;;
    esac
}

prepare_source() {
    if [ "$ENCRYPTDB_ALLOW_REBOOT" = 1 ]; then ask_long prepare --allow-reboot; else ask_long prepare; fi
}

# Refuses while the rollback path is open; ends it, and leaves the report, once it is not.
retire_when_due() {
    ask status
    state=$(of status state)
    # Of an abandoned attempt nothing is left to take down.
    if [ "$state" = abandoned ]; then return; fi
    if [ "$state" != retired ] && ! until=$(summary due "$work/status.json"); then
        waits "the end of the rollback window, $until (rollbackWindow). Until then \`rollback\` loses nothing."
    fi
    ask retire --output "encryptdb-$stack.html"
    summary retired "$work/retire.json" | note
}

to_caught_up() {
    read_outputs
    if [ "$(of outputs attempt)" != "$wanted_attempt" ]; then
        up prepare
        read_outputs
    fi
    if [ "$(of outputs phase)" = prepare ]; then prepare_source; fi
    up restore
    ask status
    case $(of status state) in
        open) waits "\`phase: retire\` in stacks/Pulumi.$stack.yaml, when nobody will go back any more." ;;
        retired) waits "\`phase: retire\` in stacks/Pulumi.$stack.yaml: replication has been taken down." ;;
        rolled-back) waits "a decision: it was rolled back, the source serves. Cut over again, or abandon." ;;
        abandoned) waits "\`attempt\` one higher in stacks/Pulumi.$stack.yaml: this one was abandoned." ;;
    esac
    ask_long replicate
    if [ "$(of status verified.equal)" != true ]; then ask_long verify; fi
    waits "the approval of the cutover. The target has caught up, and every row was compared."
}

advance() {
    select_stack
    read_settings
    take_over
    case $wanted_phase in
        prepare)
            up prepare
            prepare_source
            waits "\`phase: restore\` in stacks/Pulumi.$stack.yaml. The source is prepared."
            ;;
        restore) to_caught_up ;;
        retire)
            retire_when_due
            up retire
            ;;
        *) fail 2 "stacks/Pulumi.$stack.yaml: encryptdb:phase is none of prepare, restore, retire." ;;
    esac
}

# The phase that `advance` would begin with.
next_phase() {
    if [ "$(of outputs attempt)" != "$wanted_attempt" ]; then
        echo prepare
    elif [ "$wanted_phase" = restore ] && [ -z "$(of status state)" ]; then
        echo prepare
    elif [ "$wanted_phase" = retire ] && [ "$(of status state)" != retired ]; then
        of outputs phase
    else
        echo "$wanted_phase"
    fi
}

check() {
    select_stack
    read_settings
    read_outputs
    attempt=$(of outputs attempt)
    if [ -n "$attempt" ]; then ask status; fi
    phase=$(next_phase)
    copy_yaml
    failed=0
    pulumi preview --json --non-interactive --stack "$stack" --config-file "$yaml" \
        --config "encryptdb:phase=$phase" >"$work/preview.json" || failed=1
    summary preview "$phase" "$wanted_phase" "$work/preview.json" | note
    case $attempt,$(of status state) in
        ,*)
            printf 'A new stack: preflight needs its outputs, and runs before anything is prepared, on merge.\n\n' | note
            ;;
        *,open | *,rolled-back | *,retired | *,abandoned)
            printf 'No preflight: the migration is %s.\n\n' "$(of status state)" | note
            ;;
        *)
            try preflight
            summary preflight "$ended" "$work/preflight.json" | note
            if [ "$ended" != 0 ]; then failed=$ended; fi
            ;;
    esac
    return "$failed"
}

status() {
    read_outputs
    if [ -z "$(of outputs phase)" ]; then waits "\`advance\`: nothing of this stack is there yet."; fi
    ask status
    if ! summary status "$work/status.json" >"$work/status.md"; then
        # A worker that is just being started again is nothing to wake somebody for.
        sleep "$ENCRYPTDB_AGAIN_SECONDS"
        ask status
        if ! summary status "$work/status.json" >"$work/status.md"; then
            note <"$work/status.md"
            exit 1
        fi
    fi
    note <"$work/status.md"
}

cutover() {
    if [ -z "$ENCRYPTDB_APPROVED_BY" ]; then fail 2 "ENCRYPTDB_APPROVED_BY does not say who approved."; fi
    ask status
    if [ "$(of status state)" != open ]; then
        if [ "$(of status verified.equal)" != true ]; then fail 3 "No comparison has found both sides equal: advance first."; fi
        ask cutover --dry-run --max-pause "$ENCRYPTDB_MAX_PAUSE"
    fi
    ask cutover --approved-by "$ENCRYPTDB_APPROVED_BY" --max-pause "$ENCRYPTDB_MAX_PAUSE"
    summary moved "$work/cutover.json" | note
}

rollback() {
    ask rollback --max-pause "$ENCRYPTDB_MAX_PAUSE"
    summary moved "$work/rollback.json" | note
}

stacks() {
    if [ -n "${1:-}" ] && git -C "$yamls" cat-file -e "$1^{commit}" 2>/dev/null; then
        found=$(git -C "$yamls" diff --name-only --diff-filter=d --relative "$1...HEAD" -- 'Pulumi.*.yaml')
    else
        # Without a commit to compare with nothing is known to be unchanged.
        found=$(cd "$yamls" && ls -1 Pulumi.*.yaml 2>/dev/null || true)
    fi
    printf '%s\n' "$found" | summary names
}

setup() {
    if [ ! -x .venv/bin/python ]; then "${PYTHON:-python3}" -m venv .venv; fi
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
    if ! command -v pulumi >/dev/null 2>&1; then
        say "installing pulumi $PULUMI_VERSION"
        .venv/bin/python -c '
import sys
import semver
from pulumi.automation import PulumiCommand
PulumiCommand.install(root=".venv/pulumi", version=semver.VersionInfo.parse(sys.argv[1]))
' "$PULUMI_VERSION"
    fi
    if [ -z "${PGSSLROOTCERT:-}" ] && [ ! -s rds-bundle.pem ]; then
        curl -fsSo rds-bundle.pem https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
    fi
}

started=$(date +%s)
job=${1:-}
# The directory of the YAML files, for a repository that has this one as a submodule.
yamls=$(cd "${ENCRYPTDB_STACKS:-$(dirname "$0")/../stacks}" && pwd)
cd "$(dirname "$0")/.."
python=${PYTHON:-$PWD/.venv/bin/python}
PATH=$PATH:$PWD/.venv/pulumi/bin
export PATH
if [ -z "${PGSSLROOTCERT:-}" ] && [ -s rds-bundle.pem ]; then export PGSSLROOTCERT="$PWD/rds-bundle.pem"; fi

case $job in
    setup | stacks)
        if [ "$job" = stacks ] && [ ! -x "$python" ]; then python=python3; fi
        shift
        "$job" "$@"
        exit
        ;;
    check | advance | status) waiting=0 ;;
    cutover | rollback | retire) waiting=3 ;;
    *) usage ;;
esac

stack=${2:-}
case $stack in '' | *[!A-Za-z0-9_.-]*) usage ;; esac
if [ ! -f "$yamls/Pulumi.$stack.yaml" ]; then
    say "there is no Pulumi.$stack.yaml in $yamls"
    exit 2
fi
if [ "$yamls" != "$PWD/stacks" ]; then cp "$yamls/Pulumi.$stack.yaml" stacks/; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '## %s: %s\n\n' "$stack" "$job" | note
case $job in
    retire) retire_when_due ;;
    *) "$job" ;;
esac
