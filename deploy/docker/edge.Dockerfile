# The agent of a cell: no TensorFlow, no Spark, no database.
#   docker build -f deploy/docker/edge.Dockerfile -t sightline-edge .
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY deploy/requirements/edge.txt .
RUN python -m venv /opt/sightline \
 && /opt/sightline/bin/pip install --no-cache-dir --require-hashes -r edge.txt
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY cloud cloud
COPY edge_agent edge_agent
COPY simulators simulators
RUN /opt/sightline/bin/pip install --no-cache-dir setuptools \
 && /opt/sightline/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/sightline --create-home sightline \
 && usermod --append --groups video sightline
COPY --from=build /opt/sightline /opt/sightline
ENV PATH=/opt/sightline/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /var/lib/sightline
VOLUME /var/lib/sightline
EXPOSE 8090
ENTRYPOINT ["sightline-edge"]
CMD ["run", "--config", "/etc/sightline/edge.toml"]
