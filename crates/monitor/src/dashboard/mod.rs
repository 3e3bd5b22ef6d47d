//! The page that the monitor serves: the fleet as it is, and the switch of each lane.
//!
//! * [`access`], `token`, `tries`: who is let in, pure functions of a request
//! * [`listen`]: bounded connections
//! * [`view`], [`reading`]: what is sent, and what each lane's numbers mean
//! * [`events`]: the stream of states
//! * [`lanes`], [`life`]: the switch of a lane; what became of a task
//! * [`page`], [`login`]: what the browser gets
//! * [`routes`]: which request goes where

mod access;
mod answer;
mod events;
mod lanes;
mod life;
mod listen;
mod login;
mod page;
mod reading;
mod routes;
mod token;
mod tries;
mod view;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use trilane_broker::Broker;
use trilane_protocol::alert::Alert;
use trilane_service::{Config, Shutdown};

use crate::watch::fleet::Fleet;

use access::Access;
use listen::Bounded;
use routes::Dashboard;
use token::{Token, TokenError};

/// Between two tries to serve the page.
const RETRY: Duration = Duration::from_secs(10);

/// How long requests that are under way may go on once shutdown has begun.
const DRAIN: Duration = Duration::from_secs(2);

/// What the page shows.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// The fleet at the last look.
    pub(crate) fleet: Arc<Fleet>,
    /// Firing alerts first, then those that were resolved lately.
    pub(crate) alerts: Arc<[Alert]>,
}

/// Why the page is not served.
#[derive(Debug, thiserror::Error)]
enum NotServed {
    #[error(
        "cannot serve the dashboard on {listen} (dashboard.listen): {source}; stop what uses the port, or set \
         `dashboard.listen` to a free one (port 0 lets the system choose)"
    )]
    Listen { listen: SocketAddr, source: std::io::Error },
    #[error(
        "the dashboard is not served: dashboard.listen = {listen} can be reached from other machines, and then a token \
         is asked for; {source}"
    )]
    Token { listen: SocketAddr, source: TokenError },
}

/// Serves the page until shutdown has begun. Where it cannot, the log says why, and it tries again and again: the
/// monitor's other work goes on.
pub(crate) async fn serve(
    config: &Config,
    broker: Broker,
    shown: watch::Receiver<Option<Shown>>,
    shutdown: &Shutdown,
) {
    if !config.dashboard.enabled {
        return;
    }
    let mut said = String::new();
    loop {
        match open(config).await {
            Ok((listener, access)) => {
                return run(config, broker, shown, shutdown, listener, access).await;
            }
            Err(error) => {
                let error = error.to_string();
                if error != said {
                    tracing::error!("{error}; trying again every {} s", RETRY.as_secs());
                    said = error;
                }
            }
        }
        tokio::select! {
            () = shutdown.begun() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

async fn open(config: &Config) -> Result<(TcpListener, Access), NotServed> {
    let listen = config.dashboard.listen;
    let access = match listen.ip().to_canonical().is_loopback() {
        true => Access::Loopback,
        false => {
            let token = Token::read(&config.dashboard_token_file());
            Access::Token(token.map_err(|source| NotServed::Token { listen, source })?)
        }
    };
    let listener = TcpListener::bind(listen).await.map_err(|source| NotServed::Listen { listen, source })?;
    Ok((listener, access))
}

async fn run(
    config: &Config,
    broker: Broker,
    shown: watch::Receiver<Option<Shown>>,
    shutdown: &Shutdown,
    listener: TcpListener,
    access: Access,
) {
    if let Ok(address) = listener.local_addr() {
        let asks_for_token = matches!(access, Access::Token(_));
        tracing::info!(asks_for_token, "the dashboard is at http://{address}/");
    }
    let (views, seen) = watch::channel(None);
    let routes = routes::of(Dashboard::new(config, broker, access, shown.clone(), seen, shutdown.clone()));
    let service = routes.into_make_service_with_connect_info::<listen::Peer>();
    let served = axum::serve(Bounded::new(listener), service).with_graceful_shutdown(shutdown.begun());
    let bounded = async {
        shutdown.begun().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        () = view::keep_making(shown, views, config.monitor.look_s) => {}
        served = served.into_future() => {
            if let Err(error) = served {
                tracing::error!(%error, "the dashboard is no longer served");
            }
        }
        () = bounded => {}
    }
}
