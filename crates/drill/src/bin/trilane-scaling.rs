//! The binary `trilane-scaling`; `scripts/bench-scaling` builds and starts it.

use std::process::ExitCode;

use clap::Parser;
use trilane_drill::interrupt;
use trilane_drill::scaling::{Arguments, run};

#[tokio::main]
async fn main() -> ExitCode {
    interrupt::run(run(Arguments::parse())).await
}
