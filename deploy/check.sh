#!/bin/sh
# Dockerfiles by hadolint, compose.yaml by Compose's own loader, Kubernetes' files by its schemas.
# Without Go, or with one that fetches no newer toolchain, it says so and goes on; in CI that is a
# failure.
set -eu
cd "$(dirname "$0")"
bin=../.venv/bin
"$bin/hadolint" serve.Dockerfile train.Dockerfile
manifests=$(ls kubernetes/base/*.yaml | grep -v /kustomization.yaml)
# shellcheck disable=SC2086 # one word per file
"$bin/kubernetes-validate" --quiet --strict --kubernetes-version 1.33 $manifests
case "$(go env GOVERSION 2>/dev/null)" in
"") found="go is not installed" ;;
go1.[0-9] | go1.[0-9].* | go1.1[0-9]* | go1.20*) found="$(go env GOVERSION) is too old" ;;
*) found="" ;;
esac
if [ -z "$found" ]; then
    for name in POSTGRES_PASSWORD FRAUD_API_PASSWORD FRAUD_JWT_SECRET MONGODB_PASSWORD GRAFANA_PASSWORD; do
        export "$name=for-the-check-alone"
    done
    go run -C composecheck . "$PWD/compose.yaml" >/dev/null
else
    echo "$found: compose.yaml is not checked (it takes Go 1.21 or newer)." >&2
    case "${CI:-}" in "" | 0 | false) ;; *) exit 1 ;; esac
fi
