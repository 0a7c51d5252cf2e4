#!/usr/bin/env bash
# Runs a command, such as an application's tests, against a Bondhu of its own on the CPU, and stops it afterwards.
#
#     .ci/example/with-bondhu.sh pytest tests/
#
# The command sees OPENAI_BASE_URL and OPENAI_API_KEY. Needs an installed service (`make install`; in CI, cached). From the
# environment: BONDHU (the `bondhu` program; .venv/bin/bondhu), BONDHU_READY_S (longest wait, 180),
# BONDHU__MODELS__ACTIVE (bondhu-demo, the fast model of the tests), BONDHU__EMBEDDER__ENABLED (false), BONDHU__GATEWAY__PORT.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
bondhu=${BONDHU:-$here/.venv/bin/bondhu}
export BONDHU_ROOT=${BONDHU_ROOT:-$here}
export BONDHU_VAR_DIR=${BONDHU_VAR_DIR:-$(mktemp -d)}
export BONDHU__MODELS__ACTIVE=${BONDHU__MODELS__ACTIVE:-bondhu-demo}
export BONDHU__EMBEDDER__ENABLED=${BONDHU__EMBEDDER__ENABLED:-false}
export BONDHU__WORKER__ENABLED=${BONDHU__WORKER__ENABLED:-false}

began=$SECONDS
"$bondhu" up >"$BONDHU_VAR_DIR/up.log" 2>&1 &
up=$!
stop() {
  status=$?
  "$bondhu" down >/dev/null 2>&1 || true
  wait "$up" 2>/dev/null || true
  exit "$status"
}
trap stop EXIT
ready=http://127.0.0.1:${BONDHU__GATEWAY__PORT:-8000}/ready
until curl --silent --fail --max-time 5 --output /dev/null "$ready"; do   # `bondhu status` takes a second of CPU each time
  kill -0 "$up" 2>/dev/null || { echo "bondhu up ended:" >&2; tail -30 "$BONDHU_VAR_DIR/up.log" >&2; exit 1; }
  if ((SECONDS - began > ${BONDHU_READY_S:-180})); then
    echo "not ready after $((SECONDS - began)) s:" >&2
    "$bondhu" status >&2 || true
    exit 1
  fi
  sleep 1
done
echo "bondhu is ready after $((SECONDS - began)) s" >&2
set -a
# shellcheck disable=SC1091
. "$BONDHU_VAR_DIR/dev.env"
set +a
"$@"
