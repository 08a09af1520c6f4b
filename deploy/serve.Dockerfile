# The image that decides: the service, the stream worker, the relay and migrations. It cannot train.
#   docker build --file deploy/serve.Dockerfile --tag fraud-platform/serve:0.1.0 .
# Pin the base to the digest that you have checked:
#   --build-arg BASE=python:3.11.13-slim-bookworm@sha256:...
ARG BASE=python:3.11.13-slim-bookworm

FROM ${BASE} AS build
ENV UV_NO_CACHE=1
WORKDIR /app
COPY requirements/build.lock requirements/serve.lock requirements/
RUN python -m venv tools \
    && tools/bin/pip install --no-cache-dir --require-hashes --no-deps --requirement requirements/build.lock
RUN python -m venv venv \
    && tools/bin/uv pip sync --python venv/bin/python --require-hashes requirements/serve.lock requirements/build.lock
COPY LICENSE README.md pyproject.toml ./
COPY fraud fraud
COPY feature_store feature_store
COPY bentos bentos
# Editable, as everywhere: `fraud bento build` packs the sources it is imported from.
RUN tools/bin/uv pip install --python venv/bin/python --no-deps --no-build-isolation --editable . \
    && tools/bin/uv pip uninstall --python venv/bin/python hatchling uv \
    && rm -rf tools
# The Bento with its compiled loops, so that no container compiles when it starts.
RUN FRAUD_RUN_DIR=/tmp/run FRAUD_BENTO_DIR=/app/bento venv/bin/fraud bento build \
    && rm -rf /tmp/run

FROM ${BASE}
# The root file system may be read-only: only /var/lib/fraud and /tmp are written to.
ENV PATH=/app/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/var/lib/fraud \
    FRAUD_RUN_DIR=/var/lib/fraud \
    FRAUD_BENTO_DIR=/app/bento \
    FRAUD_HOST=0.0.0.0 \
    NUMBA_CACHE_DIR=/var/lib/fraud/numba
RUN groupadd --gid 10001 fraud \
    && useradd --uid 10001 --gid fraud --no-create-home --home-dir /var/lib/fraud --shell /usr/sbin/nologin fraud \
    && install --directory --owner=fraud --group=fraud --mode=0700 /var/lib/fraud
COPY --from=build /app /app
WORKDIR /var/lib/fraud
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
CMD ["fraud", "serve"]
