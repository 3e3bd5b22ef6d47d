//! What the binaries link and the crates name: held against Cargo's own account of them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Crates that can open an HTTP connection, or TLS for one.
const HTTP_CLIENTS: [&str; 20] = [
    "actix-http",
    "attohttpc",
    "awc",
    "chttp",
    "curl",
    "curl-sys",
    "gloo-net",
    "http-req",
    "hyper-rustls",
    "hyper-tls",
    "isahc",
    "minreq",
    "native-tls",
    "openssl",
    "reqwest",
    "rustify",
    "surf",
    "tonic",
    "ureq",
    "wreq",
];

/// Features by which a crate that can be a server or a client is a client.
const CLIENT_FEATURES: [&str; 6] = [
    "hyper feature \"client\"",
    "hyper-util feature \"client\"",
    "hyper-util feature \"client-legacy\"",
    "hyper-util feature \"client-pool\"",
    "h2 feature \"client\"",
    "tokio-tungstenite feature \"connect\"",
];

/// A binary for those who work on the fleet; no image and no host has it.
const DEVELOPMENT_TOOL: &str = "trilane-drill";

/// What makes a crate do I/O instead of deciding.
const IMPURE: [&str; 6] = ["tokio", "async-nats", "async-std", "smol", "mio", "socket2"];

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).arg("--locked");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Names of the crates that `package` links, its own included.
fn linked(package: &str, edges: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "-p", package, "-e", edges, "--prefix", "none"]);
    let names: BTreeSet<_> =
        tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(names.contains(package), "the tree reads as expected: {tree}");
    names
}

/// All that makes an HTTP client out of `package`.
fn http_clients(package: &str) -> Vec<&'static str> {
    let crates = linked(package, "normal,build");
    let mut found: Vec<_> = HTTP_CLIENTS.into_iter().filter(|client| crates.contains(*client)).collect();
    let features = cargo(&["tree", "-p", package, "-e", "normal,features", "--prefix", "none"]);
    let is_on =
        |feature: &&str| features.lines().any(|line| line.strip_suffix(" (*)").unwrap_or(line) == *feature);
    found.extend(CLIENT_FEATURES.into_iter().filter(is_on));
    found
}

/// Packages of the workspace that name `dependency`, with the kind of each (`normal`, `dev`, `build`).
fn naming(dependency: &str) -> BTreeMap<String, BTreeSet<String>> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).unwrap();
    let mut naming: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let dependencies = package["dependencies"].as_array().unwrap();
        for named in dependencies.iter().filter(|named| named["name"] == dependency) {
            let kind = named["kind"].as_str().unwrap_or("normal").to_owned();
            naming.entry(package["name"].as_str().unwrap().to_owned()).or_default().insert(kind);
        }
    }
    naming
}

#[test]
fn what_reads_private_text_links_no_http_client() {
    for package in ["trilane-local-worker", "trilane-classifier", "trilane-monitor", "trilane-learner"] {
        assert_eq!(http_clients(package), [""; 0], "{package}");
    }
}

#[test]
fn a_client_is_seen_where_there_is_one() {
    let found = http_clients("trilane-cloud-worker");
    assert!(found.contains(&"reqwest") && found.contains(&"hyper feature \"client\""), "{found:?}");
}

#[test]
fn the_contract_and_the_routing_are_pure() {
    for package in ["trilane-protocol", "trilane-routing"] {
        let crates = linked(package, "normal,build");
        let impure: Vec<_> = IMPURE.into_iter().filter(|name| crates.contains(*name)).collect();
        assert_eq!(impure, [""; 0], "{package}");
    }
    let crates = linked("trilane-worker", "normal,build");
    assert!(crates.contains("tokio") && crates.contains("async-nats"), "they are seen where they are");
}

#[test]
fn only_the_broker_names_nats() {
    let mut naming = naming("async-nats");
    assert!(naming.remove("trilane-testkit").is_some(), "the testkit has a client of its own");
    assert!(naming.remove("trilane-drill").is_some(), "so has the drill, which audits the broker");
    assert_eq!(naming.remove("trilane-tests"), Some(["dev".to_owned()].into()));
    assert_eq!(naming, [("trilane-broker".to_owned(), ["normal".to_owned()].into())].into());
}

#[test]
fn no_binary_links_the_testkit() {
    let all_dev = |kinds: &BTreeSet<String>| kinds.iter().all(|kind| kind == "dev");
    let mut testkit = naming("trilane-testkit");
    assert!(testkit.remove(DEVELOPMENT_TOOL).is_some());
    let linking: Vec<_> = testkit.into_iter().filter(|(_, kinds)| !all_dev(kinds)).collect();
    assert_eq!(linking, []);
    assert_eq!(naming(DEVELOPMENT_TOOL), BTreeMap::new(), "nobody links the drill");
}
