//! Which processes a configuration needs: a pure function of it.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use trilane_protocol::{LaneName, ModelName};
use trilane_routing::policy::Fallback;
use trilane_routing::registry::{Backend, KeySource, Lane, Registry};
use trilane_service::Config;

use super::child::ChildSpec;
use crate::doctor::facts::has_key;
use crate::settings::Settings;

/// The processes beside the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// One for each lane that can be served.
    pub(super) workers: Vec<PlannedWorker>,
    /// The classifier.
    pub(super) classifier: ChildSpec,
    /// The monitor.
    pub(super) monitor: ChildSpec,
    /// The notifier, where there is somebody to tell.
    pub(super) notifier: Option<ChildSpec>,
    /// The learner, where it is wanted.
    pub(super) learner: Option<ChildSpec>,
    /// Lanes that nobody here serves.
    pub(super) left_out: Vec<LeftOut>,
}

/// A lane's worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedWorker {
    /// The lane.
    pub(super) lane: LaneName,
    /// What it serves.
    pub(super) models: Vec<ModelName>,
    /// How it is started.
    pub(super) child: ChildSpec,
}

/// A lane without a worker, and what that means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftOut {
    lane: LaneName,
    keys: Vec<String>,
    consequence: &'static str,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lane, keys, consequence } = self;
        write!(
            f,
            "`{lane}` has no worker: no provider of it has a key ({}). {consequence}",
            keys.join(" or ")
        )
    }
}

/// The folder that our own program lies in, and so do the others.
pub(super) fn programs() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program lies")?;
    let own = own.canonicalize().unwrap_or(own);
    own.parent().map(Path::to_path_buf).context("this program lies in no folder")
}

impl Plan {
    /// The plan for a configuration, with programs out of `folder`.
    ///
    /// # Errors
    /// A program that is not there, with the command that builds it.
    pub(super) fn new(
        config: &Config,
        settings: &Settings,
        gpu: Option<usize>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let plan = Self::of(config, settings, gpu, folder, has_key);
        let others = [&plan.classifier, &plan.monitor].into_iter().chain(&plan.notifier).chain(&plan.learner);
        for child in plan.workers.iter().map(|worker| &worker.child).chain(others) {
            ensure!(
                child.program.is_file(),
                "{} is not there; build it with `cargo build --release`, all programs lie in one folder",
                child.program.display()
            );
        }
        Ok(plan)
    }

    fn of(
        config: &Config,
        settings: &Settings,
        gpu: Option<usize>,
        folder: &Path,
        has_key: impl Fn(&KeySource) -> bool,
    ) -> Self {
        let mut workers = Vec::new();
        let mut left_out = Vec::new();
        let mut make = Maker { config, settings, folder, made: 0 };
        let classifier = make.child("classifier".into(), "trilane-classifier", Vec::new());
        for (name, lane) in &config.registry.lanes {
            let keys = keys(&config.registry, lane);
            if !keys.is_empty() && !keys.iter().any(|source| has_key(source)) {
                left_out.push(without_key(config, name, &keys));
                continue;
            }
            let Some(program) = program(&config.registry, lane) else { continue };
            let mut arguments = vec!["--lane".into(), name.as_str().into()];
            if let (LOCAL_WORKER, Some(gpu)) = (program, gpu) {
                arguments.extend(["--gpu".into(), gpu.to_string().into()]);
            }
            let child = make.child(name.to_string(), program, arguments);
            workers.push(PlannedWorker { lane: name.clone(), models: lane.models.clone(), child });
        }
        let monitor = make.child("monitor".into(), "trilane-monitor", Vec::new());
        let has_webhooks = !config.alerts.webhooks.is_empty();
        let notifier = has_webhooks.then(|| make.child("notifier".into(), "trilane-notifier", Vec::new()));
        let is_learning = config.learning.enabled;
        let learner = is_learning.then(|| make.child("learner".into(), "trilane-learner", Vec::new()));
        Self { workers, classifier, monitor, notifier, learner, left_out }
    }
}

const LOCAL_WORKER: &str = "trilane-local-worker";

/// The program for the backend of a lane's models.
fn program(registry: &Registry, lane: &Lane) -> Option<&'static str> {
    let first = registry.models.get(lane.models.first()?)?;
    Some(match first.backend {
        Backend::LlamaCpp(_) => LOCAL_WORKER,
        Backend::LocalServer(_) => "trilane-endpoint-worker",
        Backend::CloudApi(_) => "trilane-cloud-worker",
    })
}

/// Where the keys of a lane's providers may be; empty where it needs none.
fn keys<'a>(registry: &'a Registry, lane: &Lane) -> Vec<&'a KeySource> {
    let mut keys = Vec::new();
    for model in lane.models.iter().filter_map(|name| registry.models.get(name)) {
        let Backend::CloudApi(cloud) = &model.backend else { continue };
        let Some(provider) = registry.providers.get(&cloud.provider) else { continue };
        keys.extend(provider.keys.iter().filter(|source| !keys.contains(source)).collect::<Vec<_>>());
    }
    keys
}

fn without_key(config: &Config, lane: &LaneName, keys: &[&KeySource]) -> LeftOut {
    let name = |source: &&KeySource| match source {
        KeySource::Env(variable) => variable.clone(),
        KeySource::File(path) => path.display().to_string(),
    };
    let consequence = match config.policy.adjust.cloud_without_worker {
        Fallback::Park => {
            "Tasks for it wait until it has one (policy.adjust.cloud_without_worker = \"park\")."
        }
        Fallback::Degrade => {
            "Its tasks go to the deepest local lane (policy.adjust.cloud_without_worker = \"degrade\")."
        }
        Fallback::Reject => "Tasks for it are rejected (policy.adjust.cloud_without_worker = \"reject\").",
    };
    LeftOut { lane: lane.clone(), keys: keys.iter().map(name).collect(), consequence }
}

struct Maker<'a> {
    config: &'a Config,
    settings: &'a Settings,
    folder: &'a Path,
    made: u16,
}

impl Maker<'_> {
    /// A process with our own configuration. Where `telemetry.listen` names a port, each process takes the next
    /// one: they are all on this machine.
    fn child(&mut self, name: String, program: &str, mut arguments: Vec<OsString>) -> ChildSpec {
        if let Some(file) = &self.settings.file {
            arguments.extend(["--config".into(), file.into()]);
        }
        let mut variables = self.settings.variables().to_vec();
        let mut listen = self.config.telemetry.listen;
        if listen.port() != 0 {
            listen.set_port(listen.port().saturating_add(self.made));
            variables.push(("TRILANE__TELEMETRY__LISTEN".into(), format!("\"{listen}\"")));
        }
        self.made += 1;
        ChildSpec { name, program: self.folder.join(program), arguments, variables }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(toml: &str, gpu: Option<usize>, has_keys: bool) -> Plan {
        let config = trilane_service::config::load_from(Some(toml), []).unwrap();
        let mut settings = Settings::new(Some("my.toml".into()));
        settings.set("NATS__URL", "nats://x:1");
        Plan::of(&config, &settings, gpu, Path::new("/bin"), |_| has_keys)
    }

    fn line(child: &ChildSpec) -> String {
        let arguments: Vec<_> = child.arguments.iter().map(|argument| argument.to_string_lossy()).collect();
        format!("{} {}", child.program.display(), arguments.join(" "))
    }

    #[test]
    fn each_lane_gets_the_worker_of_its_backend() {
        let toml = "[lanes.local-deep]\nmodels = [\"ollama-hermes-3-8b\"]";
        let plan = plan(toml, Some(1), true);
        let lines: Vec<String> = plan.workers.iter().map(|worker| line(&worker.child)).collect();
        assert_eq!(
            lines,
            [
                "/bin/trilane-cloud-worker --lane cloud --config my.toml",
                "/bin/trilane-endpoint-worker --lane local-deep --config my.toml",
                "/bin/trilane-local-worker --lane local-fast --gpu 1 --config my.toml",
            ]
        );
        assert_eq!(line(&plan.classifier), "/bin/trilane-classifier --config my.toml");
        assert_eq!(line(&plan.monitor), "/bin/trilane-monitor --config my.toml");
        assert_eq!(plan.classifier.variables, [("TRILANE__NATS__URL".to_owned(), "nats://x:1".to_owned())]);
    }

    #[test]
    fn a_cloud_lane_without_a_key_is_left_out_and_the_consequence_said() {
        let plan = plan("", None, false);
        let lanes: Vec<&str> = plan.workers.iter().map(|worker| worker.lane.as_str()).collect();
        assert_eq!(lanes, ["local-deep", "local-fast"]);
        let said = plan.left_out[0].to_string();
        assert!(
            said.contains("ANTHROPIC_API_KEY or OPENAI_API_KEY") && said.contains("deepest local lane"),
            "{said}"
        );
    }

    #[test]
    fn processes_on_one_machine_listen_on_ports_in_a_row() {
        let plan = plan("[telemetry]\nlisten = \"127.0.0.1:9100\"", None, false);
        let listen = |child: &ChildSpec| child.variables.last().unwrap().1.clone();
        let ports: Vec<String> = [&plan.classifier]
            .into_iter()
            .chain(plan.workers.iter().map(|worker| &worker.child))
            .chain([&plan.monitor])
            .map(listen)
            .collect();
        assert_eq!(ports, ["9100", "9101", "9102", "9103"].map(|port| format!("\"127.0.0.1:{port}\"")));
    }

    #[test]
    fn a_notifier_runs_where_there_is_somebody_to_tell() {
        assert_eq!(plan("", None, false).notifier.map(|child| child.name), None);
        let told = plan("[alerts]\nwebhooks = [{ url = \"https://example.org/\" }]", None, false);
        assert_eq!(told.notifier.map(|child| child.program), Some("/bin/trilane-notifier".into()));
    }

    #[test]
    fn a_learner_runs_unless_it_is_not_wanted() {
        assert_eq!(
            plan("", None, false).learner.map(|child| child.program),
            Some("/bin/trilane-learner".into())
        );
        assert_eq!(plan("[learning]\nenabled = false", None, false).learner, None);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let config = trilane_service::config::load_from(None, []).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let error = Plan::new(&config, &Settings::default(), None, folder.path()).unwrap_err().to_string();
        assert!(error.contains("trilane-") && error.contains("cargo build --release"), "{error}");
    }
}
