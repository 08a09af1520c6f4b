#!/bin/sh
# Alerting rules, their cases and the routes of alerts, by Prometheus' own tools.
# Without those tools it says so and goes on; in CI that is a failure.
set -eu
cd "$(dirname "$0")"
for tool in promtool amtool; do
    if ! command -v "$tool" >/dev/null; then
        echo "$tool is not installed: alerting rules and routes are not checked" \
            "(Debian: prometheus, prometheus-alertmanager)." >&2
        case "${CI:-}" in "" | 0 | false) exit 0 ;; *) exit 1 ;; esac
    fi
done
promtool check rules prometheus/rules.yml
promtool test rules prometheus/rules_test.yml
promtool check config --syntax-only prometheus/prometheus.yml
amtool check-config alertmanager/alertmanager.yml
