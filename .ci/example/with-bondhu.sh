#!/usr/bin/env bash
# Runs a command, such as an application's tests, against a Bondhu of its own on the CPU, and stops it afterwards.
#
#     .ci/example/with-bondhu.sh pytest tests/
#
# The command sees OPENAI_BASE_URL and OPENAI_API_KEY. Needs an installed service (`make install`; in CI, cached) and its model
# (`bondhu models fetch`; cached too, else it is downloaded at the first start). From the environment: BONDHU (the `bondhu`
# program; .venv/bin/bondhu), BONDHU_READY_S (longest wait, 180), BONDHU__GATEWAY__PORT, BONDHU__EMBEDDER__ENABLED (false) and
# BONDHU__MODELS__ACTIVE: a real model under llama.cpp, which starts much faster than vLLM.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
bondhu=${BONDHU:-$here/.venv/bin/bondhu}
export BONDHU_ROOT=${BONDHU_ROOT:-$here}
if [[ -z ${BONDHU_VAR_DIR:-} ]]; then
  BONDHU_VAR_DIR=$(mktemp -d)
  mkdir -p "$here/var/models"
  ln -s "$here/var/models" "$BONDHU_VAR_DIR/models"   # weights are downloaded once
fi
export BONDHU_VAR_DIR
export BONDHU__MODELS__ACTIVE=${BONDHU__MODELS__ACTIVE:-smollm2-135m-instruct-gguf-2x2k}
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
  sleep 0.5
done
echo "bondhu is ready after $((SECONDS - began)) s" >&2
set -a
# shellcheck disable=SC1091
. "$BONDHU_VAR_DIR/dev.env"
set +a
"$@"
