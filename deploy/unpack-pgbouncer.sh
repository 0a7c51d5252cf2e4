#!/bin/sh
# Unpacks Debian's PgBouncer, and the libraries that it names, into a directory: for the tests, without root and without
# touching the system. There is no Python package of it. Where apt is not, or has no network, the directory stays empty,
# and the tests that want PgBouncer are skipped.
#
#     deploy/unpack-pgbouncer.sh .venv/pgbouncer
set -eu
mkdir -p "$1/apt/lists/partial" "$1/apt/cache/archives/partial"
cd "$1"
apt="-qq -o Dir::State=$PWD/apt -o Dir::Cache=$PWD/apt/cache -o Dir::State::status=/var/lib/dpkg/status"
apt="$apt -o APT::Sandbox::User=$(id -un)"
if timeout 120 apt-get $apt update && libraries=$(apt-cache $apt depends pgbouncer) &&
    libraries=$(echo "$libraries" | sed -n 's/^ *Depends: \(lib.*\)$/\1/p' | grep -v '^libc6') &&
    timeout 120 apt-get $apt download pgbouncer $libraries; then
    for package in *.deb; do dpkg -x "$package" .; done
else
    echo "no PgBouncer (apt-get install pgbouncer): its tests are skipped" >&2
fi
rm -rf apt ./*.deb
