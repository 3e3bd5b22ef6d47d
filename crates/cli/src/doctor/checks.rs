//! What the facts mean: pure functions from what was seen to a verdict, a finding and a remedy.

use std::net::IpAddr;

use trilane_artifacts::disk;
use trilane_artifacts::verify::FileState;

use super::Check;
use super::facts::{Address, Facts, LaneFile, Port, Programs, ProviderKeys, ServerBinary};
use crate::models::megabytes;

/// Oldest server with what the streams need (message schedules, atomic batches).
const OLDEST_SERVER: (u32, u32) = (2, 12);
/// Memory that a loaded model takes beside its file: context, scratch space, the process itself.
const MEMORY_BESIDE_FILE_BYTES: u64 = 400 << 20;
/// Bytes that the queue may take before `streams.*_max_bytes` are worth a thought.
const QUEUE_DISK_BYTES: u64 = 2 << 30;

/// Judges everything, what keeps the fleet from running first.
pub(super) fn all(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![
        server_binary(&facts.server),
        port(facts.address.as_ref(), &facts.port),
        disk_room(facts),
        memory(facts),
        avx2(facts.has_avx2),
        gpus(&facts.gpus),
    ];
    checks.extend(facts.lane_files.iter().map(lane_file));
    checks.extend(facts.keys.iter().map(|keys| provider_keys(keys, any_key(&facts.keys))));
    checks.extend(build_tools(&facts.programs, facts.installer));
    checks
}

fn server_binary(server: &ServerBinary) -> Check {
    const NAME: &str = "nats-server";
    match server {
        ServerBinary::NotFetched { path } => {
            let finding = format!("not fetched yet; belongs at {}", path.display());
            Check::warn(NAME, finding, "trilane up (fetches it), or set nats.server to a binary of your own")
        }
        ServerBinary::Fetched { path, version } => {
            server_version(&path.display().to_string(), version.as_deref())
        }
        ServerBinary::Named { path, version } => server_version(path, version.as_deref()),
    }
}

fn server_version(path: &str, printed: Option<&str>) -> Check {
    const NAME: &str = "nats-server";
    let Some(printed) = printed else {
        return Check::fail(
            NAME,
            format!("{path} does not run"),
            "clear nats.server; `trilane up` fetches one",
        );
    };
    match version_in(printed) {
        Some(version) if version >= OLDEST_SERVER => Check::ok(NAME, format!("{path}: {printed}")),
        _ => {
            let (major, minor) = OLDEST_SERVER;
            let finding = format!("{path}: {printed}; {major}.{minor} or later is needed");
            Check::fail(NAME, finding, "clear nats.server; `trilane up` fetches one")
        }
    }
}

/// Major and minor number in `nats-server: v2.15.1` or `2.12.0-RC.1`.
fn version_in(text: &str) -> Option<(u32, u32)> {
    let start = text.find(|letter: char| letter.is_ascii_digit())?;
    let mut numbers = text[start..].split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn port(address: Option<&Address>, port: &Port) -> Check {
    let Some(address) = address else {
        let remedy = "set nats.url to an address such as nats://127.0.0.1:4222";
        return Check::fail("nats.url", "is no address", remedy);
    };
    let shown = format!("{}:{}", address.host, address.port);
    let name = "nats.url";
    match port {
        Port::Free if is_this_machine(&address.host) => {
            Check::ok(name, format!("{shown} is free; `trilane up` starts a server there"))
        }
        Port::Free => {
            let remedy = "start that server, or set nats.url to one that runs";
            Check::fail(name, format!("nobody answers at {shown}"), remedy)
        }
        Port::Foreign => {
            let remedy =
                format!("stop that program (lsof -i :{}), or set nats.url to a free port", address.port);
            Check::fail(name, format!("{shown} is in use by something that is not nats"), remedy)
        }
        Port::Nats { has_jetstream: false, version } => {
            let finding = format!("nats-server {version} answers at {shown}, without JetStream");
            Check::fail(name, finding, "start it with -js")
        }
        Port::Nats { version, .. } if version_in(version).is_some_and(|version| version >= OLDEST_SERVER) => {
            Check::ok(name, format!("nats-server {version} with JetStream answers at {shown}"))
        }
        Port::Nats { version, .. } => {
            let (major, minor) = OLDEST_SERVER;
            let finding =
                format!("nats-server {version} answers at {shown}; {major}.{minor} or later is needed");
            Check::fail(
                name,
                finding,
                "upgrade that server, or set nats.url to another port for `trilane up`",
            )
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

/// Room for what is still to be fetched, and for the queue.
fn disk_room(facts: &Facts) -> Check {
    let name = "disk";
    let missing =
        facts.lane_files.iter().filter(|file| file.state == FileState::Missing && file.gguf.source.is_some());
    let to_fetch: u64 = missing.filter_map(|file| file.gguf.bytes).sum();
    let folder = facts.models_dir.display();
    let Some(free) = facts.free_disk_bytes else {
        return Check::warn(name, format!("free space of {folder} is not known"), format!("df -h {folder}"));
    };
    let finding =
        format!("{} free at {folder}, {} still to be fetched", megabytes(free), megabytes(to_fetch));
    let remedy = "free some space, or set paths.models to a folder on a larger disk";
    if free < to_fetch + disk::RESERVE_BYTES {
        Check::fail(name, finding, remedy)
    } else if free < to_fetch + QUEUE_DISK_BYTES {
        Check::warn(name, finding, remedy)
    } else {
        Check::ok(name, finding)
    }
}

/// Room for all local models at once: `trilane up` runs a worker for each lane.
fn memory(facts: &Facts) -> Check {
    let name = "memory";
    let size = |file: &LaneFile| match file.state {
        FileState::Verified { bytes } => bytes,
        _ => file.gguf.bytes.unwrap_or(0),
    };
    let needed: u64 = facts.lane_files.iter().map(|file| size(file) + MEMORY_BESIDE_FILE_BYTES).sum();
    let Some(available) = facts.available_memory_bytes else {
        return Check::warn(name, "free memory is not known", "free -h");
    };
    let finding =
        format!("{} available, about {} for the lanes' models", megabytes(available), megabytes(needed));
    if available >= needed {
        return Check::ok(name, finding);
    }
    Check::warn(name, finding, "put smaller models on the lanes (lanes.*.models), or end other programs")
}

fn avx2(has_avx2: Option<bool>) -> Check {
    let name = "processor";
    match has_avx2 {
        Some(true) => Check::ok(name, "has AVX2"),
        Some(false) => Check::warn(
            name,
            "has no AVX2: local models run several times slower",
            "use a newer machine for local lanes",
        ),
        None => Check::ok(name, "is not x86-64; its own vector instructions are used"),
    }
}

fn gpus(gpus: &[String]) -> Check {
    match gpus {
        [] => Check::ok("GPU", "no NVIDIA GPU seen; local models run on the processor"),
        some => {
            let hint = "cargo build --release -p trilane-local-worker --features cuda (if the worker is not built so)";
            Check { remedy: Some(hint.into()), ..Check::ok("GPU", some.join(", ")) }
        }
    }
}

fn lane_file(file: &LaneFile) -> Check {
    let name = format!("model {}", file.model);
    let path = file.file.display();
    let fetch = format!("trilane models fetch {}", file.model);
    let by_hand = format!("put the file of its publisher at {path}");
    let is_fetchable = file.gguf.source.is_some();
    match &file.state {
        FileState::Verified { bytes } if file.gguf.sha256.is_some() => {
            Check::ok(name, format!("verified, {}", megabytes(*bytes)))
        }
        FileState::Verified { bytes } => {
            Check::ok(name, format!("present, {}, no hash is pinned", megabytes(*bytes)))
        }
        FileState::Missing if is_fetchable => Check::fail(name, format!("missing at {path}"), fetch),
        FileState::Missing => Check::fail(name, format!("missing at {path}, and has no source"), by_hand),
        FileState::Mismatch { found_sha256, .. } => {
            let pinned = file.gguf.sha256.as_deref().unwrap_or_default();
            let finding = format!("{path} has SHA-256 {found_sha256}, pinned is {pinned}");
            Check::fail(name, finding, if is_fetchable { fetch } else { by_hand })
        }
    }
}

fn any_key(keys: &[ProviderKeys]) -> bool {
    keys.iter().any(|keys| keys.present > 0)
}

/// A provider without a key is left out; without any, public tasks degrade to local lanes. Neither is a failure.
fn provider_keys(keys: &ProviderKeys, has_other: bool) -> Check {
    let name = format!("key {}", keys.provider);
    let sources = keys.sources.join(", ");
    if keys.present > 0 {
        return Check::ok(name, format!("{} of {} present ({sources})", keys.present, keys.sources.len()));
    }
    let consequence = if has_other { "the provider is left out" } else { "the cloud lane has no worker" };
    let remedy = match keys.sources.first() {
        Some(source) if source.contains('/') => format!("put the key into {source}"),
        Some(variable) => format!("export {variable}=…"),
        None => format!("name a variable in providers.{}.keys", keys.provider),
    };
    Check::warn(name, format!("none ({sources}): {consequence}"), remedy)
}

/// Only building needs these; a built binary runs without them.
fn build_tools(programs: &Programs, installer: Option<&'static str>) -> Vec<Check> {
    let libclang = programs.has_libclang.then_some("found");
    let tools = [
        ("C++ compiler", programs.compiler.as_deref(), Tool::Compiler),
        ("cmake", programs.cmake.as_deref(), Tool::Cmake),
        ("clang", programs.clang.as_deref(), Tool::Clang),
        ("libclang", libclang, Tool::Libclang),
    ];
    let mut checks: Vec<Check> = tools
        .into_iter()
        .map(|(name, found, tool)| match found {
            Some(version) => Check::ok(name, version),
            None => Check::warn(name, "missing; only needed to build", install(installer, tool)),
        })
        .collect();
    checks.push(match &programs.python3 {
        Some(version) => Check::ok("python3", version),
        None => Check::ok("python3", "missing; optional, only some scripts use it"),
    });
    checks
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Compiler,
    Cmake,
    Clang,
    Libclang,
}

/// The command that installs a tool, with the package's name in that system.
fn install(installer: Option<&'static str>, tool: Tool) -> String {
    let Some(command) = installer else { return "install it with the system's package manager".into() };
    let package =
        match (tool, command.split(' ').rev().find(|word| !word.starts_with('-') && *word != "install")) {
            (Tool::Cmake, _) => "cmake",
            (_, Some("brew")) => "llvm",
            (Tool::Clang, _) | (Tool::Libclang, Some("pacman")) => "clang",
            (Tool::Compiler, Some("apt-get")) | (Tool::Compiler, Some("add")) => "g++",
            (Tool::Compiler, Some("pacman")) => "gcc",
            (Tool::Compiler, _) => "gcc-c++",
            (Tool::Libclang, Some("apt-get")) => "libclang-dev",
            (Tool::Libclang, Some("add")) => "clang-dev",
            (Tool::Libclang, _) => "clang-devel",
        };
    format!("{command} {package}")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use trilane_protocol::ModelName;
    use trilane_routing::registry::{GgufModel, GgufSource};

    use super::super::Verdict;
    use super::*;

    fn gguf(has_source: bool) -> GgufModel {
        GgufModel {
            path: "x.gguf".into(),
            sha256: Some("aa".repeat(32)),
            bytes: Some(500_000_000),
            source: has_source.then(|| GgufSource::Url("https://models.example/x.gguf".into())),
            gpu_layers: 0,
        }
    }

    fn file(state: FileState, has_source: bool) -> LaneFile {
        let file = PathBuf::from("/models/x.gguf");
        LaneFile { model: ModelName::new("x").unwrap(), gguf: gguf(has_source), file, state }
    }

    fn facts(lane_files: Vec<LaneFile>) -> Facts {
        Facts {
            programs: Programs::default(),
            installer: Some("sudo apt-get install"),
            has_avx2: Some(true),
            gpus: Vec::new(),
            models_dir: "/models".into(),
            free_disk_bytes: Some(100 << 30),
            available_memory_bytes: Some(8 << 30),
            server: ServerBinary::NotFetched { path: "/models/bin/nats-server".into() },
            address: Some(Address { host: "127.0.0.1".into(), port: 4222 }),
            port: Port::Free,
            lane_files,
            keys: Vec::new(),
        }
    }

    fn verdict_and_remedy(check: Check) -> (Verdict, String) {
        (check.verdict, check.remedy.unwrap_or_default())
    }

    #[test]
    fn versions_are_read_from_what_servers_print() {
        assert_eq!(version_in("nats-server: v2.15.1"), Some((2, 15)));
        assert_eq!(version_in("2.12.0-RC.1"), Some((2, 12)));
        assert_eq!(version_in("no number"), None);
    }

    #[test]
    fn an_old_server_fails_and_a_missing_one_only_warns() {
        let named = |version: Option<&str>| {
            server_binary(&ServerBinary::Named { path: "/x".into(), version: version.map(str::to_owned) })
                .verdict
        };
        assert_eq!(named(Some("nats-server: v2.11.9")), Verdict::Fail);
        assert_eq!(named(Some("nats-server: v2.12.0")), Verdict::Ok);
        assert_eq!(named(Some("nats-server: v3.0.0")), Verdict::Ok);
        assert_eq!(named(None), Verdict::Fail);
        assert_eq!(server_binary(&facts(Vec::new()).server).verdict, Verdict::Warn);
    }

    #[test]
    fn a_port_is_fine_when_free_here_or_served_by_a_new_enough_server_with_jetstream() {
        let here = Address { host: "localhost".into(), port: 4222 };
        let there = Address { host: "queue.lan".into(), port: 4222 };
        let nats = |version: &str, has_jetstream| Port::Nats { version: version.into(), has_jetstream };
        assert_eq!(port(Some(&here), &Port::Free).verdict, Verdict::Ok);
        assert_eq!(port(Some(&there), &Port::Free).verdict, Verdict::Fail);
        assert_eq!(port(Some(&there), &nats("2.15.1", true)).verdict, Verdict::Ok);
        assert_eq!(port(Some(&there), &nats("2.15.1", false)).verdict, Verdict::Fail);
        assert_eq!(port(Some(&here), &nats("2.10.25", true)).verdict, Verdict::Fail);
        assert!(port(Some(&here), &Port::Foreign).remedy.unwrap().contains("lsof -i :4222"));
        assert_eq!(port(None, &Port::Free).verdict, Verdict::Fail);
    }

    #[test]
    fn each_state_of_a_models_file_has_its_remedy() {
        let check = |state, has_source| verdict_and_remedy(lane_file(&file(state, has_source)));
        let fetch = (Verdict::Fail, "trilane models fetch x".to_owned());
        let by_hand = (Verdict::Fail, "put the file of its publisher at /models/x.gguf".to_owned());
        let mismatch = FileState::Mismatch { bytes: 1, found_sha256: "bb".repeat(32) };
        assert_eq!(check(FileState::Verified { bytes: 1 }, true), (Verdict::Ok, String::new()));
        assert_eq!(check(FileState::Missing, true), fetch);
        assert_eq!(check(FileState::Missing, false), by_hand);
        assert_eq!(check(mismatch.clone(), true), fetch);
        let finding = lane_file(&file(mismatch, true)).finding;
        assert!(finding.contains(&"aa".repeat(32)) && finding.contains(&"bb".repeat(32)), "{finding}");
    }

    #[test]
    fn a_small_disk_fails_before_the_fetch_and_a_tight_one_warns() {
        let with_free = |free| {
            disk_room(&Facts { free_disk_bytes: Some(free), ..facts(vec![file(FileState::Missing, true)]) })
                .verdict
        };
        assert_eq!(with_free(600_000_000), Verdict::Fail);
        assert_eq!(with_free(1_000_000_000), Verdict::Warn);
        assert_eq!(with_free(10_000_000_000), Verdict::Ok);
    }

    #[test]
    fn memory_is_weighed_against_all_models_together() {
        let two =
            || vec![file(FileState::Missing, true), file(FileState::Verified { bytes: 500_000_000 }, true)];
        let with = |bytes| memory(&Facts { available_memory_bytes: Some(bytes), ..facts(two()) }).verdict;
        assert_eq!(with(1_000_000_000), Verdict::Warn);
        assert_eq!(with(2_000_000_000), Verdict::Ok);
    }

    #[test]
    fn a_missing_key_is_named_by_its_variable() {
        let keys =
            ProviderKeys { provider: "openai".into(), sources: vec!["OPENAI_API_KEY".into()], present: 0 };
        let (verdict, remedy) = verdict_and_remedy(provider_keys(&keys, false));
        assert_eq!((verdict, remedy.as_str()), (Verdict::Warn, "export OPENAI_API_KEY=…"));
        assert_eq!(provider_keys(&ProviderKeys { present: 1, ..keys }, true).verdict, Verdict::Ok);
    }

    #[test]
    fn missing_build_tools_warn_with_the_machines_own_command() {
        let checks = build_tools(&Programs::default(), Some("sudo apt-get install"));
        assert!(checks.iter().all(|check| check.verdict != Verdict::Fail));
        let remedies: Vec<&str> = checks.iter().filter_map(|check| check.remedy.as_deref()).collect();
        let packages =
            ["g++", "cmake", "clang", "libclang-dev"].map(|name| format!("sudo apt-get install {name}"));
        assert_eq!(remedies, packages);
        assert_eq!(install(Some("sudo pacman -S"), Tool::Libclang), "sudo pacman -S clang");
        assert_eq!(install(Some("sudo apk add"), Tool::Compiler), "sudo apk add g++");
        assert_eq!(install(Some("brew install"), Tool::Clang), "brew install llvm");
        assert_eq!(install(Some("sudo dnf install"), Tool::Compiler), "sudo dnf install gcc-c++");
    }

    #[test]
    fn a_complete_machine_passes_every_check() {
        let version = || Some("1.0".to_owned());
        let programs = Programs {
            cmake: version(),
            clang: version(),
            has_libclang: true,
            compiler: version(),
            python3: version(),
        };
        let server =
            ServerBinary::Fetched { path: "/x".into(), version: Some("nats-server: v2.15.1".into()) };
        let facts = Facts { programs, server, ..facts(vec![file(FileState::Verified { bytes: 1 }, true)]) };
        let all = all(&facts);
        assert!(all.iter().all(|check| check.verdict == Verdict::Ok), "{all:?}");
    }
}
