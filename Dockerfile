# clusterd (with what it needs for OpenTelemetry) and clusterctl, from the lock. README.md and docs/operations.md ("The image") say how to build it, also where
# neither a registry nor a package index can be reached.

# Anything with Python 3.11 to 3.14, its pip and a shell; the same for building and for running.
ARG BASE_IMAGE=python:3.13-slim-bookworm

FROM ${BASE_IMAGE} AS build
# For instance `--no-index --find-links /lock` with wheels in ./wheels. Hashes are checked either way.
ARG PIP_OPTIONS=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements.lock requirements-build.lock wheels* /lock/
RUN python3 -m venv --without-pip /opt/clusterd \
    && python3 -m venv --without-pip /opt/build \
    && python3 -m pip --python /opt/clusterd/bin/python install --require-hashes ${PIP_OPTIONS} -r /lock/requirements.lock \
    && python3 -m pip --python /opt/build/bin/python install --require-hashes ${PIP_OPTIONS} -r /lock/requirements-build.lock
COPY pyproject.toml README.md LICENSE pytest_clusterd.py /src/
COPY clusterd /src/clusterd
COPY cli /src/cli
# Bytecode that is never compared with its source: the same bytes at every build, and nothing to write at run time.
RUN python3 -m pip --python /opt/build/bin/python wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel /src \
    && python3 -m pip --python /opt/clusterd/bin/python install --no-deps --no-index /tmp/wheel/clusterd-*.whl \
    && /opt/clusterd/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/clusterd/lib

FROM ${BASE_IMAGE}
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="clusterd" \
      org.opencontainers.image.description="An etcd-coordinated cluster node manager for real-time gateways" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/clusterd /opt/clusterd
# One thread for linear algebra: the routing table needs none of it.
ENV PATH=/opt/clusterd/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OPENBLAS_NUM_THREADS=1
USER 65532:65532
WORKDIR /
EXPOSE 8471
STOPSIGNAL SIGTERM
ENTRYPOINT ["clusterd"]
CMD ["run"]
