#!/bin/sh
# Unpacks Debian's Prometheus (with promtool) and Alertmanager into a directory: for the tests, without root and without
# touching the system. They are static programs. Where apt is not, or has no network, the directory stays empty, and the
# tests that want them are skipped.
#
#     deploy/unpack-prometheus.sh .venv/prometheus
set -eu
mkdir -p "$1/apt/lists/partial" "$1/apt/cache/archives/partial"
cd "$1"
apt="-qq -o Dir::State=$PWD/apt -o Dir::Cache=$PWD/apt/cache -o Dir::State::status=/var/lib/dpkg/status"
apt="$apt -o APT::Sandbox::User=$(id -un)"
if timeout 120 apt-get $apt update && timeout 120 apt-get $apt download prometheus prometheus-alertmanager; then
    for package in *.deb; do dpkg -x "$package" .; done
else
    echo "no Prometheus (apt-get install prometheus prometheus-alertmanager): tests of alerts are skipped" >&2
fi
rm -rf apt ./*.deb
