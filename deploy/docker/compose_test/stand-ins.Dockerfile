# For machines without a registry: the programs of docker-compose.gpu.yml from Debian's packages, one stage each, in place of
# their own images. Grafana is in no distribution.
ARG PYTHON=docker.io/library/python:3.11-slim-bookworm
FROM ${PYTHON} AS base
RUN apt-get update -q

FROM base AS haproxy
RUN apt-get install -y -q --no-install-recommends haproxy
USER 65534
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]

FROM base AS pgbouncer
RUN apt-get install -y -q --no-install-recommends pgbouncer
USER 65534

FROM base AS prometheus
RUN apt-get install -y -q --no-install-recommends prometheus && install -d -o 65534 /prometheus
USER 65534
ENTRYPOINT ["prometheus"]

FROM base AS alertmanager
RUN apt-get install -y -q --no-install-recommends prometheus-alertmanager
USER 65534
ENTRYPOINT ["prometheus-alertmanager"]

FROM base AS redis_exporter
RUN apt-get install -y -q --no-install-recommends prometheus-redis-exporter
USER 65534
ENTRYPOINT ["prometheus-redis-exporter"]
