//! `trilane dashboard`: where the monitor's page is, and what it asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context;
use clap::Args;
use trilane_service::Config;

use crate::output::print_line;

/// Prints where the monitor's page is: queues, workers, decisions, spend, alerts, and a task's life.
#[derive(Debug, Clone, Args)]
pub struct DashboardArgs {
    /// Print the token instead, which the page asks for where it can be reached from other machines.
    #[arg(long)]
    token: bool,
}

/// Runs `trilane dashboard`.
///
/// # Errors
/// A page that is switched off, or a token that does not read.
pub fn run(args: &DashboardArgs, config: &Config) -> anyhow::Result<()> {
    let file = config.dashboard_token_file();
    if args.token {
        let token = std::fs::read_to_string(&file);
        let token = token.with_context(|| {
            format!("cannot read {}; `trilane keys init` makes it where it is missing", file.display())
        })?;
        return print_line(token.trim());
    }
    anyhow::ensure!(config.dashboard.enabled, "the monitor serves no page: dashboard.enabled is false");
    let listen = config.dashboard.listen;
    anyhow::ensure!(
        listen.port() != 0,
        "dashboard.listen has port 0: the monitor's log says which one it has"
    );
    if !listen.ip().to_canonical().is_loopback() {
        eprintln!("it asks for the token in {}; `trilane dashboard --token` prints it", file.display());
    }
    print_line(&address(listen))
}

/// What a browser on the monitor's host opens: it cannot go to all addresses at once.
fn address(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    format!("http://{}/", SocketAddr::new(ip, listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_one_that_a_browser_can_open() {
        for (listen, opened) in [
            ("127.0.0.1:4280", "http://127.0.0.1:4280/"),
            ("0.0.0.0:4280", "http://127.0.0.1:4280/"),
            ("[::]:80", "http://[::1]:80/"),
            ("10.0.0.7:4280", "http://10.0.0.7:4280/"),
        ] {
            assert_eq!(address(listen.parse().unwrap()), opened);
        }
    }
}
