//! `trilane alerts`: what is wrong with the fleet now, and what was.

use clap::Args;
use jiff::tz::TimeZone;
use trilane_broker::Role;
use trilane_broker::observe::Said;
use trilane_protocol::alert::{Alert, AlertState};
use trilane_service::Config;

use crate::output::{self, print};

/// Shows the alerts that fire. The monitor raises them, and publishes them on `alert.<kind>.<lane>`.
#[derive(Debug, Clone, Args)]
pub struct AlertsArgs {
    /// Also those that are over, of the last 30 days: every beginning and every end.
    #[arg(long)]
    all: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs `trilane alerts`.
///
/// # Errors
/// No connection, or a stream of alerts that cannot be read.
pub async fn run(args: AlertsArgs, config: &Config) -> anyhow::Result<()> {
    let broker = crate::connect(config, Role::Observer).await?;
    let said = if args.all { broker.alert_history().await? } else { broker.last_alerts().await? };
    let alerts = shown(said, args.all);
    print(&alerts, args.json, || table(&alerts))
}

fn shown(said: Vec<Said>, all: bool) -> Vec<Alert> {
    let alerts = said.into_iter().map(|said| said.alert);
    let mut alerts: Vec<Alert> = alerts.filter(|alert| all || alert.state == AlertState::Firing).collect();
    alerts.sort_by_key(|alert| alert.at);
    alerts
}

fn table(alerts: &[Alert]) -> String {
    if alerts.is_empty() {
        return "no alert fires".to_owned();
    }
    let mut table = output::table(&["at", "state", "kind", "lane", "what", "what to do"]);
    for alert in alerts {
        table.add_row([
            alert.at.to_zoned(TimeZone::system()).strftime("%F %T").to_string(),
            alert.state.as_str().to_owned(),
            alert.kind.clone(),
            alert.lane.clone(),
            alert.message.clone(),
            alert.action.clone(),
        ]);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn said(kind: &str, state: AlertState, at: i64) -> Said {
        let at = Timestamp::from_second(at).unwrap();
        Said { alert: Alert { state, ..Alert::new(kind, "cloud", "wrong", at) }, sequence: 1 }
    }

    #[test]
    fn those_that_fire_are_shown_and_on_demand_all_in_their_order() {
        let history = || vec![said("b", AlertState::Resolved, 2), said("a", AlertState::Firing, 1)];
        let kinds = |all| shown(history(), all).into_iter().map(|alert| alert.kind).collect::<Vec<_>>();
        assert_eq!(kinds(false), ["a"]);
        assert_eq!(kinds(true), ["a", "b"]);
        assert!(table(&shown(history(), true)).contains("resolved"));
        assert_eq!(table(&[]), "no alert fires");
    }
}
