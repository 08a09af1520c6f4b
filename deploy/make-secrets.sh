#!/bin/sh
# Make every password and key that compose.yaml needs, once; what is there already is kept.
# Passwords go to .env, which Compose reads, files to secrets/. Run it as root: keys belong to
# user 10001, as whom our containers run.
set -eu
umask 077
cd "$(dirname "$0")"
owner=10001:10001
if [ "$(id -u)" -ne 0 ]; then
    echo "make-secrets.sh: run it as root, so that keys can be given to user ${owner%:*}." >&2
    exit 1
fi
touch .env
for name in POSTGRES_PASSWORD FRAUD_API_PASSWORD FRAUD_JWT_SECRET MONGODB_PASSWORD GRAFANA_PASSWORD; do
    grep -q "^$name=" .env || echo "$name=$(openssl rand -hex 32)" >>.env
done
mkdir -p secrets/alertmanager secrets/data-keys
if [ -z "$(ls secrets/data-keys)" ]; then
    openssl rand -base64 32 | tr '+/' '-_' >"secrets/data-keys/$(date -u +%Y%m%dT%H%M%S)"
fi
[ -e secrets/look-up-key ] || openssl rand -hex 32 >secrets/look-up-key
if [ ! -e secrets/signing-key.pem ]; then
    openssl genpkey -algorithm ed25519 -out secrets/signing-key.pem
    openssl pkey -in secrets/signing-key.pem -pubout -out secrets/verify-key.pem
fi
# Prometheus runs as nobody; `fraud token --scope metrics` fills this one, see docs/deployment.md.
[ -e secrets/metrics-token ] || : >secrets/metrics-token
chown -R "$owner" secrets/signing-key.pem secrets/verify-key.pem secrets/look-up-key secrets/data-keys
chown 65534:65534 secrets/metrics-token secrets/alertmanager
chmod 0400 secrets/signing-key.pem secrets/verify-key.pem secrets/look-up-key secrets/data-keys/*
chmod 0711 secrets
echo "Passwords are in deploy/.env, keys in deploy/secrets/. Keep a copy of both in a safe place."
