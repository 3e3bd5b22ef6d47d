# Two images: `queue`, the NATS server for a user other than root, and `fleet`, every binary of Trilane.
#
# It builds with and without BuildKit: no `# syntax=` line, no cache mounts, and `queue` stands first because the
# classic builder builds every stage above its target.
#
# Where no image registry can be reached, `scripts/images --air-gapped` builds `queue` and `air-gapped` instead, on
# bases and with binaries that it has made on the host.

# The minor version that the fleet is tested with (2.12 is the oldest that it accepts); patches come by themselves.
ARG QUEUE_BASE=nats:2.15-alpine
# Bookworm on both sides: a binary needs the C library it was built with, or a later one.
ARG RUST_TAG=1.95-bookworm
ARG FLEET_BASE=debian:bookworm-slim
# The image that holds host-built binaries in /opt/trilane; by default a stage in which that folder is empty.
ARG HOST_BUILT=runtime

FROM ${QUEUE_BASE} AS queue
# A new volume takes the owner of the folder that it is mounted on.
RUN mkdir -p /var/lib/nats && chown 10001:10001 /var/lib/nats
USER 10001:10001
ENTRYPOINT ["nats-server"]

# All of the image but the binaries.
FROM ${FLEET_BASE} AS runtime
ARG RUNTIME_PACKAGES="ca-certificates libgomp1 libstdc++6"
# A base that has them already needs no network.
RUN if ! dpkg --status $RUNTIME_PACKAGES >/dev/null 2>&1; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends $RUNTIME_PACKAGES \
        && rm -rf /var/lib/apt/lists/*; \
    fi \
    && groupadd --gid 10001 trilane \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/trilane trilane \
    && install -d /opt/trilane \
    && install -d -o trilane -g trilane /var/lib/trilane/models /var/lib/trilane/keys \
    && for role in server classifier local cloud monitor notifier learner observer producer admin agents; do \
        install -d -o trilane -g trilane -m 700 "/var/lib/trilane/keys/$role"; done
ENV TRILANE__PATHS__MODELS=/var/lib/trilane/models
USER 10001:10001
CMD ["trilane", "--help"]

FROM ${HOST_BUILT} AS host-built

FROM runtime AS air-gapped
COPY --from=host-built /opt/trilane/ /usr/local/bin/

# The workspace with empty sources. Its content changes only when a manifest does or a file comes or goes, so
# that editing code leaves the dependencies' layer below as it is; llama.cpp alone takes minutes.
FROM rust:${RUST_TAG} AS manifests
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY crates crates
COPY tests tests
RUN find crates tests -type f ! -name '*.rs' ! -name Cargo.toml -delete \
    && find crates -path '*/src/*.rs' ! -path '*/src/lib.rs' ! -path '*/src/main.rs' -delete \
    && find crates tests -name '*.rs' -exec truncate --size 0 {} + \
    && for main in crates/*/src/main.rs; do echo 'fn main() {}' > "$main"; done

FROM rust:${RUST_TAG} AS build
# Those of a GPU come on top: see compose.gpu.yaml.
ARG BUILD_PACKAGES="clang cmake libclang-dev"
RUN apt-get update \
    && apt-get install --yes --no-install-recommends $BUILD_PACKAGES \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# One list for both builds. On x86-64 llama.cpp is built for AVX2, whatever the building machine has; setting
# SOURCE_DATE_EPOCH would take AVX2 away.
ENV PACKAGES="-p trilane-cli -p trilane-classifier -p trilane-monitor -p trilane-notifier -p trilane-learner -p trilane-local-worker -p trilane-endpoint-worker -p trilane-cloud-worker"
# Such as `trilane-local-worker/vulkan`.
ARG FEATURES=""
COPY --from=manifests /build .
RUN cargo build --release --locked $PACKAGES --features "$FEATURES"
COPY config config
COPY crates crates
# The sources may be older than the empty ones that were just built; cargo goes by their times.
RUN find crates -name '*.rs' -exec touch {} + \
    && cargo build --release --locked $PACKAGES --features "$FEATURES" \
    && find target/release -maxdepth 1 -type f -name 'trilane*' -executable -exec install -Dt /build/bin {} +

FROM runtime AS fleet
COPY --from=build /build/bin/ /usr/local/bin/
