#!/bin/sh
# Installs the Debian packages the tests use (Chromium for the browser test, curl, git and nginx),
# PostgreSQL for the tests of the durable queue, and Node.js with npm for those of the SDK for
# JavaScript, where they are missing and we may.
missing=""
for name in chromium curl git; do
    command -v "$name" >/dev/null 2>&1 || missing="$missing $name"
done
command -v nginx >/dev/null 2>&1 || [ -x /usr/sbin/nginx ] || missing="$missing nginx-light"
command -v npm >/dev/null 2>&1 || missing="$missing nodejs npm"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || missing="$missing postgresql"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing:$missing"
    apt-get update -qq >/dev/null 2>&1 || true
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 ||
        echo "could not install:$missing (the tests that need it are skipped)"
else
    echo "missing:$missing (the tests that need it are skipped)"
fi
