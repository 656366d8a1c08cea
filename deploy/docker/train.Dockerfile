# The cloud with TensorFlow, Spark and Java: where serve starts retrainings, and for analyze.
# For a cluster's executors see deploy/spark.
#   docker build -f deploy/docker/train.Dockerfile -t sightline-train .
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY deploy/requirements/cloud.txt deploy/requirements/train.txt ./
RUN python -m venv /opt/sightline \
 && /opt/sightline/bin/pip install --no-cache-dir --require-hashes -r cloud.txt \
 && /opt/sightline/bin/pip install --no-cache-dir --require-hashes -r train.txt
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY cloud cloud
COPY edge_agent edge_agent
COPY simulators simulators
RUN /opt/sightline/bin/pip install --no-cache-dir setuptools \
 && /opt/sightline/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jre-headless postgresql-client \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/sightline --create-home sightline
COPY --from=build /opt/sightline /opt/sightline
ENV PATH=/opt/sightline/bin:$PATH PYTHONUNBUFFERED=1 \
    SIGHTLINE_CLOUD_CONFIG=/etc/sightline/cloud.toml \
    SIGHTLINE_CLOUD_SECRETS_DIR=/run/secrets
USER 10001
WORKDIR /var/lib/sightline
VOLUME /var/lib/sightline
EXPOSE 8080
ENTRYPOINT ["sightline-cloud"]
CMD ["serve"]
