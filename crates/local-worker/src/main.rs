//! The process `trilane-local-worker`: arguments, configuration, exit status.

use std::process::ExitCode;

use clap::Parser;
use trilane_local_worker::confine::{self, Confinement};
use trilane_local_worker::{EXIT_BAD_CONFIG, Options, RunFailure, run, wait_policy};
use trilane_service::metrics::labels::Process;
use trilane_service::{Config, config, start};

fn main() -> ExitCode {
    let options = Options::parse();
    let config = match config::load(options.config.as_deref()) {
        Ok(config) => config,
        Err(error) => return fail(&error, EXIT_BAD_CONFIG),
    };
    if let Err(error) = wait_policy::put_in_force(config.local_worker.wait_policy) {
        eprintln!("trilane-local-worker: `local_worker.wait_policy` is not in force: {error}");
    }
    // Before the runtime starts its threads, which would be free of it.
    let confinement = match confine::put_in_force(config.security.isolate_local, &config.nats.url) {
        Ok(confinement) => confinement,
        Err(error) => return fail(&error, 1),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    match runtime.block_on(work(&config, &options, &confinement)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, error.exit_code()),
    }
}

async fn work(config: &Config, options: &Options, confinement: &Confinement) -> Result<(), RunFailure> {
    let started = start::start(config, Process::LocalWorker).await?;
    confinement.tell();
    run(config, options, &started).await
}

fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("trilane-local-worker: {error}");
    ExitCode::from(code)
}
