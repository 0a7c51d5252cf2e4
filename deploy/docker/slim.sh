#!/bin/sh
# slim ENVIRONMENT: takes out of an installed environment what no process of the service reads, and compiles what starts it.
# Sizes before and after are printed. Libraries in *.libs were rewritten by auditwheel; strip would break them.
set -eu
venv=$1
site=$(echo "$venv"/lib/python3*/site-packages)
size() { du -sm "$venv" | cut -f1; }
before=$(size)

# Tests, headers and sources of extensions, source maps; Ray's Java and RLlib; triton compiles kernels for GPUs.
find "$site" -type d -name tests -prune -exec rm -rf {} +
find "$site" -type f \( -name '*.js.map' -o -name '*.css.map' -o -name '*.a' -o -name '*.pyx' -o -name '*.hpp' -o -name '*.h' \) -delete
rm -rf "$site/ray/jars" "$site/ray/rllib" "$site/torch/test" "$site/torch/include"
# torch looks for one of its programs when it is imported.
[ ! -d "$site/torch/bin" ] || find "$site/torch/bin" -type f ! -name torch_shm_manager -delete
[ -z "${WITHOUT_TRITON:-}" ] || rm -rf "$site/triton"

# onnx's cases for back ends; onnxruntime's converters, and its library for C beside the one that Python loads; OpenCV, which vLLM
# imports for videos and images, if it is there: no model here takes any.
rm -rf "$site/onnx/backend/test" "$site/onnxruntime/transformers" "$site/onnxruntime/tools" "$site/onnxruntime/quantization" \
  "$site"/onnxruntime/capi/libonnxruntime.so* "$site/cv2" "$site"/opencv_python_headless*

# Symbols and debugging information.
find "$site" "$venv/bin" -type f -size +500k -not -path '*.libs/*' \
  \( -name '*.so' -o -name '*.so.*' -o -name raylet -o -name gcs_server -o -name py-spy \) | while read -r file; do
  if readelf -SW "$file" 2>/dev/null | grep -qE '\.(symtab|debug_info)'; then strip --strip-unneeded "$file"; fi
done

# Bytecode of what every process imports: the root filesystem is read-only, so each start would compile it again.
for package in ray/_private ray/_common ray/_raylet ray/core ray/serve ray/dashboard ray/util ray/experimental ray/autoscaler \
  ray/job_submission ray/runtime_env ray/cloudpickle ray/dag ray/includes ray/thirdparty_files ray/scripts \
  sqlalchemy/engine sqlalchemy/ext sqlalchemy/orm sqlalchemy/sql sqlalchemy/util sqlalchemy/event sqlalchemy/pool sqlalchemy/dialects/sqlite \
  pydantic fastapi starlette uvicorn aiohttp yarl multidict grpc google/protobuf opentelemetry opencensus redis/asyncio redis/_parsers \
  redis/commands celery kombu billiard amqp numpy/_core numpy/lib numpy/linalg numpy/random numpy/ma numpy/fft numpy/polynomial numpy/_typing \
  faiss typer click rich httpx httpcore anyio jsonschema referencing attr yaml alembic prometheus_client psutil jinja2 orjson \
  agents jobs memory models serving storage; do
  [ ! -d "$site/$package" ] || "$venv/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$site/$package" || true
done
"$venv/bin/python" -m compileall -q -l --invalidation-mode unchecked-hash "$site" "$site"/ray "$site"/numpy "$site"/sqlalchemy \
  "$site"/redis 2>/dev/null || true
echo "$venv: $before MB, now $(size) MB"
