#!/bin/sh
# Run once by the image of PostgreSQL, on an empty volume: the databases beside the ledger's, and
# the login of what serves. Its rights come with the role fraud_service, which migrations set up.
set -eu
psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set=password="$(cat "$API_PASSWORD_FILE")" <<'SQL'
CREATE ROLE fraud_service NOLOGIN;
CREATE ROLE fraud_api LOGIN PASSWORD :'password' IN ROLE fraud_service;
CREATE DATABASE fraud_mlflow;
CREATE DATABASE fraud_dagster;
REVOKE CONNECT, TEMPORARY ON DATABASE fraud_mlflow, fraud_dagster FROM PUBLIC;
SQL
