# One image per role, each with its own dependencies: a serving pod carries no torch, the operator no engine.
#   docker build --target operator -t trimtab/operator:0.1.0 .
#   docker build --target compress -t trimtab/compress:0.1.0 .
#   docker build --target serve    -t trimtab/serve:0.1.0 .
#   docker build --target serve-torch -t trimtab/serve-torch:0.1.0 .   (for models compiled by AotInductor)
#   docker build --target gateway  -t trimtab/gateway:0.1.0 .
# Every Python package is pinned by constraints.txt, and the base image by the digest of its index, for all platforms.
# Another one, as step 5 of docs/releasing.md finds it: --build-arg PYTHON=3.11.x-slim-bookworm@sha256:...
# With --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) two builds of one commit differ in no date.
ARG PYTHON=3.11.13-slim-bookworm@sha256:86adf8dbadc3d6e82ee5dd2c74bec2e1c2467cdad47886280501df722372d2e1

FROM python:${PYTHON} AS build
# Passed to pip: for compress, an index with CPU builds of torch makes the image several gigabytes smaller.
ARG PIP_ARGS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Bytecode that names its source by hash, not by the time at which it was unpacked, is the same in every build.
ENV COMPILE="python -m compileall -q --invalidation-mode unchecked-hash /opt/trimtab"
WORKDIR /source
RUN python -m venv /opt/trimtab
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY operator operator
COPY crds crds
COPY manifests manifests

FROM build AS build-operator
RUN /opt/trimtab/bin/pip install ${PIP_ARGS} -c constraints.txt '.[operator,aws,prometheus]' && ${COMPILE}
FROM build AS build-compress
RUN /opt/trimtab/bin/pip install ${PIP_ARGS} -c constraints.txt '.[compress,s3]' && ${COMPILE}
FROM build AS build-serve
RUN /opt/trimtab/bin/pip install ${PIP_ARGS} -c constraints.txt '.[serve,s3]' && ${COMPILE}
FROM build AS build-serve-torch
RUN /opt/trimtab/bin/pip install ${PIP_ARGS} -c constraints.txt '.[serve,torch,s3]' && ${COMPILE}
FROM build AS build-gateway
RUN /opt/trimtab/bin/pip install ${PIP_ARGS} -c constraints.txt '.[gateway]' && ${COMPILE}

FROM python:${PYTHON} AS base
# Bytecode is in the image already, and the root file system is read-only in the pod.
ENV PATH=/opt/trimtab/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["trimtab"]

FROM base AS operator
COPY --from=build-operator /opt/trimtab /opt/trimtab
CMD ["operator"]
FROM base AS compress
# AotInductor compiles C++; OpenVINO and ONNX Runtime need no compiler.
USER root
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
USER 65532:65532
COPY --from=build-compress /opt/trimtab /opt/trimtab
CMD ["compress", "run"]
FROM base AS serve
COPY --from=build-serve /opt/trimtab /opt/trimtab
CMD ["serve"]
FROM base AS serve-torch
COPY --from=build-serve-torch /opt/trimtab /opt/trimtab
CMD ["serve"]
FROM base AS gateway
COPY --from=build-gateway /opt/trimtab /opt/trimtab
CMD ["gateway"]
