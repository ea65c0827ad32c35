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
# No two jobs that change one stack may run at once: advance takes an earlier job's lock away. The pipeline sees to it.
set -eu
: "${ENCRYPTDB_JOB_SECONDS:=3000}" # advance ends by itself after this, and comes back
: "${ENCRYPTDB_ALLOW_REBOOT:=}"    # 1, in a job behind an approval: the source may be rebooted now
: "${ENCRYPTDB_APPROVED_BY:=}"     # who approved, for the journal
: "${ENCRYPTDB_MAX_PAUSE:=10}"     # seconds, of cutover and rollback
: "${ENCRYPTDB_AGAIN_SECONDS:=15}" # status looks a second time before it fails
: "${PULUMI_VERSION:=3.259.0}"     # what setup installs where there is no CLI
usage() { sed -n 's/^#   //p' "$0" >&2; exit 2; }

# controller COMMAND [OPTION]...: run it, and tell how it ended where GitHub shows it, elsewhere in the log.
controller() {
    ended=0
    ${limit:-} "$python" -m controller "$@" --stack "$stack" --json >"$work/document" || ended=$?
    "$python" examples/summary.py "$job" "$1" "$ended" "$work/document" >>"${GITHUB_STEP_SUMMARY:-/dev/stderr}"
}

stacks() {
    cd "$yamls"
    if [ -n "${1:-}" ] && git cat-file -e "$1^{commit}" 2>/dev/null; then
        found=$(git diff --name-only --diff-filter=d --relative "$1...HEAD" -- 'Pulumi.*.yaml')
    else # without a commit to compare with nothing is known to be unchanged
        found=$(ls -1 Pulumi.*.yaml 2>/dev/null || true)
    fi
    printf '%s\n' "$found" | sed -n 's/^Pulumi\.\([A-Za-z0-9_.-]*\)\.yaml$/"\1"/p' | sort | paste -sd, - | sed 's/.*/[&]/'
}

setup() {
    [ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
    command -v pulumi >/dev/null 2>&1 || .venv/bin/python -c 'import sys, semver; from pulumi.automation import PulumiCommand
PulumiCommand.install(root=".venv/pulumi", version=semver.VersionInfo.parse(sys.argv[1]))' "$PULUMI_VERSION"
    [ -n "${PGSSLROOTCERT:-}" ] || [ -s rds-bundle.pem ] ||
        curl -fsSo rds-bundle.pem https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
}

job=${1:-} stack=${2:-}
# The directory of the YAML files, for a repository that has this one as a submodule.
yamls=$(cd "${ENCRYPTDB_STACKS:-$(dirname "$0")/../stacks}" && pwd)
cd "$(dirname "$0")/.."
python=${PYTHON:-$PWD/.venv/bin/python}
export PATH="$PATH:$PWD/.venv/pulumi/bin"
[ -n "${PGSSLROOTCERT:-}" ] || [ ! -s rds-bundle.pem ] || export PGSSLROOTCERT="$PWD/rds-bundle.pem"
case $job,$stack in
    setup,* | stacks,*) "$job" "$stack"; exit ;;
    *,*[!A-Za-z0-9_.-]* | *,) usage ;;
    check,* | advance,* | status,* | cutover,* | rollback,* | retire,*) ;;
    *) usage ;;
esac
[ -f "$yamls/Pulumi.$stack.yaml" ] || { echo "There is no Pulumi.$stack.yaml in $yamls." >&2; exit 2; }
[ "$job" != cutover ] || [ -n "$ENCRYPTDB_APPROVED_BY" ] || { echo "ENCRYPTDB_APPROVED_BY does not say who approved." >&2; exit 2; }
[ "$yamls" = "$PWD/stacks" ] || cp "$yamls/Pulumi.$stack.yaml" stacks/
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
printf '## %s: %s\n\n' "$stack" "$job" >>"${GITHUB_STEP_SUMMARY:-/dev/stderr}"
set -- ${ENCRYPTDB_APPROVED_BY:+--approved-by "$ENCRYPTDB_APPROVED_BY"}
case $job in
    check | advance)
        set -- "$@" ${ENCRYPTDB_SECRETS_PROVIDER:+--secrets-provider "$ENCRYPTDB_SECRETS_PROVIDER"}
        # Python alone is told that the time is over: it interrupts what it runs, once.
        limit="timeout --foreground -k 90 $ENCRYPTDB_JOB_SECONDS"
        if [ "$job" = check ]; then set -- "$@" --dry-run; elif [ "$ENCRYPTDB_ALLOW_REBOOT" = 1 ]; then set -- "$@" --allow-reboot; fi
        controller advance "$@" ;;
    status) controller status || { sleep "$ENCRYPTDB_AGAIN_SECONDS"; controller status; } ;;
    cutover) controller status; controller cutover --max-pause "$ENCRYPTDB_MAX_PAUSE" --dry-run
        controller cutover --max-pause "$ENCRYPTDB_MAX_PAUSE" "$@" ;;
    rollback) controller rollback --max-pause "$ENCRYPTDB_MAX_PAUSE" "$@" ;;
    retire) controller retire "$@" ;;
esac
