//! `trilane up`: starts the whole fleet on this machine and keeps it running until it is told to stop.
//!
//! Modules in reading order:
//!
//! * [`plan`]: which processes a configuration needs, as data
//! * [`store`]: the folder that one `trilane up` works in
//! * [`child`]: one process, which ends with us whatever happens, and its `log`
//! * [`supervisor`]: keeps processes running, after the rules of `restart`
//! * [`nats`]: the server
//! * [`ready`]: waits until every worker takes tasks
//! * [`sample`]: tasks to try it with
//! * [`stop`]: Ctrl-C and SIGTERM

mod child;
mod log;
pub(crate) mod nats;
mod plan;
mod ready;
mod restart;
mod sample;
mod stop;
mod store;
mod supervisor;

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use tokio::sync::mpsc;
use trilane_broker::Broker;
use trilane_protocol::heartbeat::Heartbeat;
use trilane_protocol::{ModelName, Zone};
use trilane_routing::registry::Registry;
use trilane_service::Config;

use crate::output;
use crate::settings::Settings;
use crate::submit::publish::Submission;
use crate::{models, provision};

pub use child::{RunChildArgs, run_child};

use plan::Plan;
use stop::Stop;
use store::Store;
use supervisor::{Event, Supervisor};

/// Events of children that may wait to be told; a child that has one more waits with it.
const MAX_WAITING_EVENTS: usize = 64;

/// Starts the whole fleet on this machine: nats-server, classifier, a worker for each lane, monitor.
///
/// Missing models and the server are fetched first. Ctrl-C drains: tasks that run are finished, the rest waits in
/// the queue for the next start. A second Ctrl-C ends everything at once, and loses nothing either.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// A nats-server with JetStream that runs already; none is started then.
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Run the local models on this GPU, from 0. Left out: the processor.
    #[arg(long, value_name = "NUMBER")]
    gpu: Option<usize>,
    /// The model of the local lane with the greatest skill.
    #[arg(long, value_name = "NAME")]
    deep_model: Option<ModelName>,
    /// The model of the local lane with the least skill.
    #[arg(long, value_name = "NAME")]
    fast_model: Option<ModelName>,
    /// Once everything is ready, submit the tasks of this file (a JSON object a line) and show the results.
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,
    /// Drain and end after the sample; the exit status is 0 if every task was answered.
    #[arg(long, requires = "sample")]
    once: bool,
    /// Print the sample's results as one JSON object.
    #[arg(long, requires = "sample")]
    json: bool,
    /// Also show the logs of all processes on stderr.
    #[arg(long, short)]
    verbose: bool,
}

/// A process refused its configuration: starting it again would change nothing.
#[derive(Debug, thiserror::Error)]
#[error("`{child}` refuses its configuration:\n{message}")]
pub struct BadConfiguration {
    child: String,
    message: String,
}

/// Puts what the command line says on top of the configuration.
///
/// # Errors
/// A configuration that does not hold, or no local lane for a model.
pub fn apply(args: &UpArgs, settings: &mut Settings) -> anyhow::Result<()> {
    if let Some(url) = &args.nats {
        settings.set("NATS__URL", url);
    }
    if args.deep_model.is_none() && args.fast_model.is_none() {
        return Ok(());
    }
    let registry = settings.load()?.registry;
    for (model, key) in
        [(&args.fast_model, local_lane(&registry, false)), (&args.deep_model, local_lane(&registry, true))]
    {
        let Some(model) = model else { continue };
        let key = key.ok_or_else(|| anyhow::anyhow!("no lane lies in the local zone; see [lanes]"))?;
        settings.set(&key, format!("[\"{model}\"]"));
    }
    Ok(())
}

/// The key of the models of the local lane with the greatest or least skill.
fn local_lane(registry: &Registry, is_deep: bool) -> Option<String> {
    let lanes = registry.lanes.iter().filter(|(_, lane)| lane.zone == Zone::Local);
    let by_skill = |a: &(_, &trilane_routing::registry::Lane), b: &(_, &trilane_routing::registry::Lane)| {
        a.1.skill.total_cmp(&b.1.skill)
    };
    let (name, _) = if is_deep { lanes.max_by(by_skill) } else { lanes.min_by(by_skill) }?;
    Some(format!("LANES__{}__MODELS", name.as_str().to_ascii_uppercase().replace('-', "_")))
}

/// Runs `trilane up`.
///
/// # Errors
/// What kept the fleet from coming up, with the end of the log of the process at fault; with `--once` also a
/// sample that was not answered.
pub async fn run(args: UpArgs, settings: &Settings, config: &Config) -> anyhow::Result<()> {
    let samples =
        args.sample.as_deref().map(|file| sample::read(file, config)).transpose()?.unwrap_or_default();
    let stop = Stop::on_signals(config.worker.drain_grace())?;
    let store = Store::open(&config.paths.data)?;
    let plan = Plan::new(config, settings, args.gpu, &plan::programs()?)?;
    let (events, told) = mpsc::channel(MAX_WAITING_EVENTS);
    let is_up = Cell::new(false);
    let mut fleet = Fleet {
        args: &args,
        config,
        server: Supervisor::new(&store, args.verbose, events.clone(), &stop),
        workers: Supervisor::new(&store, args.verbose, events, &stop),
        store: &store,
        is_up: &is_up,
    };
    let outcome = tokio::select! {
        outcome = fleet.work(&plan, samples) => outcome,
        error = listen(told, &is_up) => Err(error),
        () = stop.begun() => interrupted(&args),
    };
    fleet.end().await;
    outcome
}

fn interrupted(args: &UpArgs) -> anyhow::Result<()> {
    anyhow::ensure!(!args.once, "stopped before every task of the sample was answered");
    Ok(())
}

/// Tells what happens to children, and returns what ends `up`.
async fn listen(mut told: mpsc::Receiver<Event>, is_up: &Cell<bool>) -> anyhow::Error {
    while let Some(event) = told.recv().await {
        match event {
            Event::Refused { child, message } => return BadConfiguration { child, message }.into(),
            Event::Looping { .. } if !is_up.get() => return anyhow::anyhow!("{event}"),
            Event::NotStarted { .. } => return anyhow::anyhow!("{event}"),
            Event::Restarting { .. } | Event::Looping { .. } => eprintln!("{event}"),
        }
    }
    anyhow::anyhow!("every process has ended")
}

struct Fleet<'a> {
    args: &'a UpArgs,
    config: &'a Config,
    store: &'a Store,
    server: Supervisor,
    workers: Supervisor,
    is_up: &'a Cell<bool>,
}

impl Fleet<'_> {
    /// Brings everything up, runs the sample, and then goes on for ever unless it is told `--once`.
    async fn work(&mut self, plan: &Plan, samples: Vec<Submission>) -> anyhow::Result<()> {
        let started = Instant::now();
        let (broker, ready) = self.bring_up(plan).await?;
        self.is_up.set(true);
        plan.left_out.iter().for_each(|left_out| eprintln!("{left_out}"));
        eprintln!(
            "Trilane is up after {} at {}; logs are in {}",
            output::length(started.elapsed()),
            crate::configuration::without_credentials(&self.config.nats.url),
            self.store.logs().display()
        );
        let dashboard = &self.config.dashboard;
        if dashboard.enabled && dashboard.listen.port() != 0 {
            eprintln!("The dashboard is at http://{}/", dashboard.listen);
        }
        eprint!("{}", ready::summary(&ready));
        if !samples.is_empty() {
            sample::run(&broker, samples, self.args.json, self.args.once).await?;
        }
        drop(broker);
        match self.args.once {
            true => Ok(()),
            false => {
                let url = crate::configuration::without_credentials(&self.config.nats.url);
                eprint!("{}", ready::usage(&url.to_string()));
                std::future::pending().await
            }
        }
    }

    /// Workers first: a classifier that starts before them would think that nobody serves the cloud lane, and
    /// keep its tasks at home.
    async fn bring_up(&mut self, plan: &Plan) -> anyhow::Result<(Broker, Vec<Heartbeat>)> {
        let keys = nats::make_keys(self.config)?;
        if self.args.nats.is_none() {
            nats::check_address(self.config).await?;
            let program = nats::program(self.config).await?;
            models::fetch_missing(self.config).await?;
            let server = nats::child(self.config, self.store, &keys, program)?;
            self.server.keep(server);
        } else {
            models::fetch_missing(self.config).await?;
        }
        let broker = nats::connect(self.config, self.args.nats.is_some()).await?;
        provision::apply(&broker, self.config).await?;
        let workers = plan.workers.iter().map(|worker| (worker, self.workers.keep(worker.child.clone())));
        let ready = ready::wait(&broker, workers.collect()).await?;
        self.workers.keep(plan.classifier.clone());
        self.workers.keep(plan.monitor.clone());
        if let Some(notifier) = &plan.notifier {
            self.workers.keep(notifier.clone());
        }
        if let Some(learner) = &plan.learner {
            self.workers.keep(learner.clone());
        }
        Ok((broker, ready))
    }

    /// Workers, classifier and monitor drain while the server still runs; it ends last.
    async fn end(&mut self) {
        if self.workers.is_keeping() {
            eprintln!("draining; Ctrl-C again ends everything at once");
        }
        self.workers.end().await;
        self.server.end().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deep_and_the_fast_model_go_to_the_lanes_by_skill() {
        let registry = trilane_service::config::load_from(None, []).unwrap().registry;
        assert_eq!(local_lane(&registry, true).unwrap(), "LANES__LOCAL_DEEP__MODELS");
        assert_eq!(local_lane(&registry, false).unwrap(), "LANES__LOCAL_FAST__MODELS");
    }

    #[tokio::test]
    async fn a_crash_loop_ends_what_is_not_up_yet_and_is_only_told_afterwards() {
        let looping =
            || Event::Looping { child: "w".into(), status: "exit status: 1".into(), message: "m".into() };
        let refused = || Event::Refused { child: "c".into(), message: "`x` is wrong".into() };
        for (is_up, ends_with) in [(false, "`w`"), (true, "`x` is wrong")] {
            let (sender, told) = mpsc::channel(2);
            sender.try_send(looping()).unwrap();
            sender.try_send(refused()).unwrap();
            let error = listen(told, &Cell::new(is_up)).await;
            assert!(error.to_string().contains(ends_with), "{error}");
            assert_eq!(crate::exit_status(&error) == 64, is_up);
        }
    }
}
