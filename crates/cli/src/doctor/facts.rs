//! What is seen of the machine. Everything here looks; nothing judges.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::Command;
use trilane_artifacts::verify::FileState;
use trilane_artifacts::{disk, nats_server};
use trilane_protocol::{ModelName, Zone};
use trilane_routing::registry::{Backend, GgufModel, KeySource, Provider, Registry};
use trilane_service::Config;

use crate::models;

/// Longest wait for a program that is asked for its version.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a connection to the server, and for its greeting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest greeting that is read; a nats-server sends about 500 bytes.
const MAX_GREETING_BYTES: usize = 16 << 10;

/// Everything that was seen.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) programs: Programs,
    /// `cmd` of the machine's package manager that installs, such as `apt-get install`.
    pub(super) installer: Option<&'static str>,
    pub(super) has_avx2: Option<bool>,
    pub(super) gpus: Vec<String>,
    pub(super) models_dir: PathBuf,
    pub(super) free_disk_bytes: Option<u64>,
    pub(super) available_memory_bytes: Option<u64>,
    pub(super) server: ServerBinary,
    pub(super) address: Option<Address>,
    pub(super) port: Port,
    pub(super) lane_files: Vec<LaneFile>,
    pub(super) keys: Vec<ProviderKeys>,
}

/// First line of what each program says of its version; absent where it does not run.
#[derive(Debug, Default)]
pub(super) struct Programs {
    pub(super) cmake: Option<String>,
    pub(super) clang: Option<String>,
    pub(super) has_libclang: bool,
    pub(super) compiler: Option<String>,
    pub(super) python3: Option<String>,
}

/// The nats-server that `trilane up` would start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ServerBinary {
    /// Named in `nats.server`, with what it says of its version.
    Named { path: String, version: Option<String> },
    /// Fetched and verified, with what it says of its version.
    Fetched { path: PathBuf, version: Option<String> },
    /// Not fetched yet.
    NotFetched { path: PathBuf },
}

/// Host and port of `nats.url`, without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Who answers at the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Port {
    /// Nobody.
    Free,
    /// A nats-server.
    Nats { version: String, has_jetstream: bool },
    /// Another program.
    Foreign,
}

/// The file of a model that a lane uses.
#[derive(Debug)]
pub(super) struct LaneFile {
    pub(super) model: ModelName,
    pub(super) gguf: GgufModel,
    pub(super) file: PathBuf,
    pub(super) state: FileState,
}

/// A provider that a cloud lane uses, with where its keys are looked for. The keys themselves are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProviderKeys {
    pub(super) provider: String,
    pub(super) sources: Vec<String>,
    pub(super) present: usize,
}

/// Looks at everything.
pub(super) async fn probe(config: &Config) -> anyhow::Result<Facts> {
    let models_dir = config.paths.models_dir();
    let address = address_of(&config.nats.url);
    let lane_files = models::lane_files(config).await?.into_iter().map(|(model, gguf, state)| {
        let file = config.paths.model_file(&gguf.path);
        LaneFile { model, gguf, file, state }
    });
    Ok(Facts {
        programs: programs().await,
        installer: installer(),
        has_avx2: has_avx2(),
        gpus: gpus().await,
        free_disk_bytes: disk::free_bytes(&models_dir),
        available_memory_bytes: available_memory().await,
        server: server_binary(config).await?,
        port: match &address {
            Some(address) => who_answers(address).await,
            None => Port::Free,
        },
        address,
        lane_files: lane_files.collect(),
        keys: provider_keys(&config.registry, has_key),
        models_dir,
    })
}

async fn programs() -> Programs {
    let compiler = match first_line("c++", &["--version"]).await {
        Some(version) => Some(version),
        None => first_line("g++", &["--version"]).await,
    };
    Programs {
        cmake: first_line("cmake", &["--version"]).await,
        clang: first_line("clang", &["--version"]).await,
        has_libclang: has_libclang(),
        compiler,
        python3: first_line("python3", &["--version"]).await,
    }
}

/// All that a program prints to stdout; `None` where it is not there, fails or does not end.
async fn output(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Option<String> {
    let run =
        Command::new(program).args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PROGRAM_TIMEOUT, run).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn first_line(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Option<String> {
    output(program, arguments).await?.lines().next().map(str::to_owned)
}

/// Whether the library that generates llama.cpp's bindings is where the generator looks for it.
fn has_libclang() -> bool {
    let named = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    let places = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ]
    .into_iter()
    .chain(["/Library/Developer/CommandLineTools/usr/lib", "/opt/homebrew/opt/llvm/lib"])
    .map(PathBuf::from);
    let versions =
        entries(Path::new("/usr/lib")).into_iter().filter(|path| name_of(path).starts_with("llvm"));
    named.into_iter().chain(places).chain(versions.map(|path| path.join("lib"))).any(|folder| {
        name_of(&folder).starts_with("libclang")
            || entries(&folder).iter().any(|path| is_libclang(&name_of(path)))
    })
}

fn is_libclang(name: &str) -> bool {
    name == "libclang.dylib"
        || name.starts_with("libclang.so")
        || (name.starts_with("libclang-") && name.contains(".so"))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn installer() -> Option<&'static str> {
    const INSTALLERS: [(&str, &str); 6] = [
        ("apt-get", "sudo apt-get install"),
        ("dnf", "sudo dnf install"),
        ("pacman", "sudo pacman -S"),
        ("zypper", "sudo zypper install"),
        ("apk", "sudo apk add"),
        ("brew", "brew install"),
    ];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    INSTALLERS.iter().find(|(program, _)| is_there(program)).map(|(_, command)| *command)
}

/// `None` where the processor is of another kind and the question does not arise.
fn has_avx2() -> Option<bool> {
    #[cfg(target_arch = "x86_64")]
    return Some(std::arch::is_x86_feature_detected!("avx2"));
    #[cfg(not(target_arch = "x86_64"))]
    None
}

async fn gpus() -> Vec<String> {
    let listed = output("nvidia-smi", &["-L"]).await.unwrap_or_default();
    listed.lines().filter_map(gpu_name).collect()
}

/// `GPU 0: NVIDIA H100 80GB HBM3 (UUID: …)`, without its identity.
fn gpu_name(line: &str) -> Option<String> {
    let (_, name) = line.strip_prefix("GPU ")?.split_once(": ")?;
    Some(name.split(" (UUID").next().unwrap_or(name).to_owned())
}

async fn available_memory() -> Option<u64> {
    match std::fs::read_to_string("/proc/meminfo") {
        Ok(text) => meminfo_available(&text),
        // macOS says what it has; what is free there is mostly cache, which it gives back.
        Err(_) => first_line("sysctl", &["-n", "hw.memsize"]).await?.trim().parse().ok(),
    }
}

fn meminfo_available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}

async fn server_binary(config: &Config) -> anyhow::Result<ServerBinary> {
    let named = config.nats.server.clone();
    if !named.is_empty() {
        let version = first_line(&named, &["-v"]).await;
        return Ok(ServerBinary::Named { path: named, version });
    }
    let folder = config.paths.models_dir();
    let looked_in = folder.clone();
    let present = tokio::task::spawn_blocking(move || nats_server::present(&looked_in)).await?;
    Ok(match present {
        Some(path) => ServerBinary::Fetched { version: first_line(&path, &["-v"]).await, path },
        None => ServerBinary::NotFetched { path: nats_server::path(&folder) },
    })
}

/// Host and port of the first server in `nats.url`.
pub(crate) fn address_of(url: &str) -> Option<Address> {
    let first = url.split(',').next()?.trim();
    let rest = first.split_once("://").map_or(first, |(_, rest)| rest);
    let authority = rest.split('/').next()?;
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match host_and_port.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (host_and_port, 4222),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| Address { host: host.to_owned(), port })
}

/// Who answers there, if anybody.
pub(crate) async fn who_answers(address: &Address) -> Port {
    let connect = TcpStream::connect((address.host.as_str(), address.port));
    let Ok(Ok(mut stream)) = tokio::time::timeout(CONNECT_TIMEOUT, connect).await else { return Port::Free };
    let greeting = tokio::time::timeout(CONNECT_TIMEOUT, greeting(&mut stream)).await;
    greeting.ok().flatten().as_deref().and_then(parse_greeting).unwrap_or(Port::Foreign)
}

/// What the server says by itself, up to the end of the first line.
async fn greeting(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    let mut buffer = [0; 1_024];
    while text.len() < MAX_GREETING_BYTES && !text.contains(&b'\n') {
        match stream.read(&mut buffer).await.ok()? {
            0 => break,
            read => text.extend_from_slice(&buffer[..read]),
        }
    }
    String::from_utf8(text).ok()
}

/// A nats-server opens with `INFO {…}`.
fn parse_greeting(text: &str) -> Option<Port> {
    let info: serde_json::Value = serde_json::from_str(text.strip_prefix("INFO ")?.trim()).ok()?;
    let version = info.get("version")?.as_str()?.to_owned();
    let has_jetstream = info.get("jetstream").and_then(serde_json::Value::as_bool).unwrap_or(false);
    Some(Port::Nats { version, has_jetstream })
}

/// The providers that cloud lanes use, each once.
fn provider_keys(registry: &Registry, has_key: impl Fn(&KeySource) -> bool) -> Vec<ProviderKeys> {
    let lanes = registry.lanes.values().filter(|lane| lane.zone == Zone::Cloud);
    let models = lanes.flat_map(|lane| &lane.models).filter_map(|name| registry.models.get(name));
    let mut names: Vec<&str> = models.filter_map(|model| cloud_provider(&model.backend)).collect();
    names.sort_unstable();
    names.dedup();
    let keys = |name: &str| registry.providers.get(name).map(|provider| keys_of(name, provider, &has_key));
    names.into_iter().filter_map(keys).collect()
}

fn cloud_provider(backend: &Backend) -> Option<&str> {
    match backend {
        Backend::CloudApi(cloud) => Some(&cloud.provider),
        Backend::LlamaCpp(_) | Backend::LocalServer(_) => None,
    }
}

fn keys_of(name: &str, provider: &Provider, has_key: &impl Fn(&KeySource) -> bool) -> ProviderKeys {
    ProviderKeys {
        provider: name.to_owned(),
        sources: provider.keys.iter().map(source_name).collect(),
        present: provider.keys.iter().filter(|source| has_key(source)).count(),
    }
}

fn source_name(source: &KeySource) -> String {
    match source {
        KeySource::Env(variable) => variable.clone(),
        KeySource::File(path) => path.display().to_string(),
    }
}

/// Whether a key is there; it is not read.
pub(crate) fn has_key(source: &KeySource) -> bool {
    match source {
        KeySource::Env(variable) => std::env::var_os(variable).is_some_and(|key| !key.is_empty()),
        KeySource::File(path) => path.metadata().is_ok_and(|data| data.is_file() && data.len() > 0),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_lose_scheme_credentials_and_further_servers() {
        let address = |host: &str, port| Some(Address { host: host.to_owned(), port });
        assert_eq!(address_of("nats://127.0.0.1:4222"), address("127.0.0.1", 4222));
        assert_eq!(address_of("nats://user:secret@queue.lan:4333,nats://b:1"), address("queue.lan", 4333));
        assert_eq!(address_of("tls://queue.lan"), address("queue.lan", 4222));
        assert_eq!(address_of("nats://[::1]:4222"), address("::1", 4222));
        assert_eq!(address_of("[::1]"), address("::1", 4222));
        assert_eq!(address_of("nats://host:port"), None);
    }

    #[test]
    fn memory_gpus_and_libraries_are_read_as_the_system_prints_them() {
        let meminfo = "MemTotal:       16315412 kB\nMemFree: 1 kB\nMemAvailable:   12000000 kB\n";
        assert_eq!(meminfo_available(meminfo), Some(12_288_000_000));
        assert_eq!(gpu_name("GPU 0: NVIDIA H100 (UUID: GPU-1)").as_deref(), Some("NVIDIA H100"));
        assert_eq!(gpu_name("No devices were found"), None);
        assert!(
            is_libclang("libclang.so.1")
                && is_libclang("libclang-14.so.14")
                && !is_libclang("libclang-cpp.a")
        );
    }

    #[tokio::test]
    async fn a_server_is_known_by_its_greeting_and_anything_else_is_foreign() {
        let nats = r#"INFO {"version":"2.15.1","jetstream":true,"port":4222} "#;
        let expected = Port::Nats { version: "2.15.1".into(), has_jetstream: true };
        assert_eq!(greeted_with(format!("{nats}\r\n")).await, expected);
        assert_eq!(greeted_with("SSH-2.0-OpenSSH_9.2\r\n").await, Port::Foreign);
        assert_eq!(greeted_with("").await, Port::Foreign);
    }

    #[tokio::test]
    async fn nobody_at_the_port_means_free() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert_eq!(who_answers(&Address { host: "127.0.0.1".into(), port }).await, Port::Free);
    }

    async fn greeted_with(greeting: impl Into<String>) -> Port {
        let greeting = greeting.into();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let greet = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(greeting.as_bytes()).await.unwrap();
        };
        let address = Address { host: "127.0.0.1".into(), port };
        tokio::join!(who_answers(&address), greet).0
    }

    #[test]
    fn only_providers_of_cloud_lanes_are_asked_for_keys_and_only_names_are_kept() {
        let config = trilane_service::config::load_from(None, []).unwrap();
        let found =
            provider_keys(&config.registry, |source| *source == KeySource::Env("OPENAI_API_KEY".into()));
        let keys = |provider: &str, source: &str, present| ProviderKeys {
            provider: provider.into(),
            sources: vec![source.into()],
            present,
        };
        assert_eq!(found, [keys("anthropic", "ANTHROPIC_API_KEY", 0), keys("openai", "OPENAI_API_KEY", 1)]);
    }
}
