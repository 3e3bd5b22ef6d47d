//! The binary `trilane-drill`; `scripts/fire-drill` builds and starts it.

use std::process::ExitCode;

use clap::Parser;
use trilane_drill::drill::{Arguments, run};
use trilane_drill::interrupt;

#[tokio::main]
async fn main() -> ExitCode {
    interrupt::run(run(Arguments::parse())).await
}
