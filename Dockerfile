# Two images: `queue`, the NATS server for a user other than root, and `fleet`, every binary of Trilane.
#
# It builds with and without BuildKit: no `# syntax=` line, no cache mounts, and `queue` stands first because the
# classic builder builds every stage above its target.

# The minor version that the fleet is tested with (2.12 is the oldest that it accepts); patches come by themselves.
ARG NATS_TAG=2.15-alpine
# Bookworm on both sides: a binary needs the C library it was built with, or a later one.
ARG RUST_TAG=1.95-bookworm
ARG DEBIAN_TAG=bookworm-slim

FROM nats:${NATS_TAG} AS queue
# A new volume takes the owner of the folder that it is mounted on.
RUN install -d -o 10001 -g 10001 /var/lib/nats
USER 10001:10001
ENTRYPOINT ["nats-server"]

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
RUN apt-get update \
    && apt-get install --yes --no-install-recommends clang cmake libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# One list for both builds. On x86-64 llama.cpp is built for AVX2, whatever the building machine has; setting
# SOURCE_DATE_EPOCH would take AVX2 away.
ENV PACKAGES="-p trilane-cli -p trilane-classifier -p trilane-monitor -p trilane-notifier -p trilane-local-worker -p trilane-endpoint-worker -p trilane-cloud-worker"
COPY --from=manifests /build .
RUN cargo build --release --locked $PACKAGES
COPY config config
COPY crates crates
# The sources may be older than the empty ones that were just built; cargo goes by their times.
RUN find crates -name '*.rs' -exec touch {} + \
    && cargo build --release --locked $PACKAGES \
    && find target/release -maxdepth 1 -type f -name 'trilane*' -executable -exec install -Dt /build/bin {} +

FROM debian:${DEBIAN_TAG} AS fleet
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libgomp1 libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 trilane \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/trilane trilane \
    && install -d -o trilane -g trilane /var/lib/trilane/models /var/lib/trilane/keys \
    && for role in server classifier local cloud monitor observer producer admin agents; do \
        install -d -o trilane -g trilane -m 700 "/var/lib/trilane/keys/$role"; done
COPY --from=build /build/bin/ /usr/local/bin/
ENV TRILANE__PATHS__MODELS=/var/lib/trilane/models
USER 10001:10001
CMD ["trilane", "--help"]
