# The image that learns: Dagster's code server, web server and daemon, and MLflow.
#   docker build --file deploy/train.Dockerfile --tag fraud-platform/train:0.1.0 .
# Pin the base to the digest that you have checked:
#   --build-arg BASE=python:3.11.13-slim-bookworm@sha256:...
ARG BASE=python:3.11.13-slim-bookworm

FROM ${BASE} AS build
ENV UV_NO_CACHE=1
WORKDIR /app
COPY requirements/build.lock requirements/train.lock requirements/
RUN python -m venv tools \
    && tools/bin/pip install --no-cache-dir --require-hashes --no-deps --requirement requirements/build.lock
RUN python -m venv venv \
    && tools/bin/uv pip sync --python venv/bin/python --require-hashes requirements/train.lock requirements/build.lock
COPY LICENSE README.md pyproject.toml ./
COPY fraud fraud
COPY feature_store feature_store
COPY bentos bentos
COPY orchestration orchestration
COPY dashboards dashboards
COPY mlflow mlflow
COPY requirements/serve.lock requirements/serve.lock
RUN tools/bin/uv pip install --python venv/bin/python --no-deps --no-build-isolation --editable . \
    && tools/bin/uv pip uninstall --python venv/bin/python hatchling uv \
    && rm -rf tools
COPY deploy/dagster dagster

FROM ${BASE}
# OpenMP, which LightGBM and XGBoost share.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
# The root file system may be read-only: only /var/lib/fraud and /tmp are written to.
ENV PATH=/app/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/var/lib/fraud \
    FRAUD_RUN_DIR=/var/lib/fraud \
    FRAUD_HOST=0.0.0.0 \
    NUMBA_CACHE_DIR=/var/lib/fraud/numba \
    DAGSTER_HOME=/app/dagster \
    DAGSTER_DISABLE_TELEMETRY=yes \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=true
RUN groupadd --gid 10001 fraud \
    && useradd --uid 10001 --gid fraud --no-create-home --home-dir /var/lib/fraud --shell /usr/sbin/nologin fraud \
    && install --directory --owner=fraud --group=fraud --mode=0700 /var/lib/fraud
COPY --from=build /app /app
WORKDIR /var/lib/fraud
USER 10001:10001
EXPOSE 3000 4000 5000
# Each of its programs has its own check, in compose.yaml; this one is the code server's.
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=3 \
    CMD ["dagster", "api", "grpc-health-check", "--port", "4000"]
CMD ["dagster", "code-server", "start", "--host", "0.0.0.0", "--port", "4000", "--module-name", "orchestration.definitions", "--location-name", "fraud"]
