#!/bin/sh
# deploy/test_wheel.sh PYTHON [pytest's arguments]: runs tests against the wheel of the last commit instead of its sources: `make test-wheel`.
# Their root has what an image has beside the wheel (configurations, the demonstration model), and no package of the project.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
python=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source" "$work/root" "$work/site"
git -C "$here" archive HEAD LICENSE README.md pyproject.toml agents jobs memory models serving storage | tar -x -C "$work/source"
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work" "$work/source"
"$python" -m zipfile -e "$work"/bondhu-*.whl "$work/site"
git -C "$here" archive HEAD pyproject.toml README.md configs deploy docs tests models/demo/quantised | tar -x -C "$work/root"
find "$work/root/models" -name '*.py' -delete
cd "$work/root"
export PYTHONPATH="$work/site"
"$python" -c 'import sys, serving; print("testing", serving.__file__); sys.exit("source" in serving.__file__)'
"$python" -m pytest "$@"
