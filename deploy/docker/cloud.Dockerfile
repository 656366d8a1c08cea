# serve, ingest and the chores of the cloud.
#   docker build -f deploy/docker/cloud.Dockerfile -t sightline-cloud .
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY deploy/requirements/cloud.txt .
RUN python -m venv /opt/sightline \
 && /opt/sightline/bin/pip install --no-cache-dir --require-hashes -r cloud.txt
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY cloud cloud
COPY edge_agent edge_agent
COPY simulators simulators
RUN /opt/sightline/bin/pip install --no-cache-dir setuptools \
 && /opt/sightline/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
# pg_dump and pg_restore, for backup and restore.
RUN apt-get update \
 && apt-get install -y --no-install-recommends postgresql-client \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/sightline --create-home sightline
COPY --from=build /opt/sightline /opt/sightline
ENV PATH=/opt/sightline/bin:$PATH PYTHONUNBUFFERED=1 \
    SIGHTLINE_CLOUD_CONFIG=/etc/sightline/cloud.toml \
    SIGHTLINE_CLOUD_SECRETS_DIR=/run/secrets
USER 10001
WORKDIR /var/lib/sightline
VOLUME /var/lib/sightline
EXPOSE 8080 9101
ENTRYPOINT ["sightline-cloud"]
CMD ["serve"]
