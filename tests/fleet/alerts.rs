//! Alerts: said when something goes wrong and when it is over, once however many monitors watch, and posted by a notifier.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::pin::pin;
use std::sync::mpsc;

use futures_util::{Stream, StreamExt};
use serde_json::json;
use trilane_broker::observe::Said;
use trilane_broker::{Broker, Role};
use trilane_protocol::alert::{Alert, AlertState};
use trilane_protocol::heartbeat::Heartbeat;
use trilane_protocol::{Encoding, Zone};
use trilane_testkit::{Fleet, FleetBuilder, eventually};

use crate::processes::Process;

/// Looks each second and hesitates as little as it can.
const QUICK: &str = "[monitor]\nlook_s = 1\nrate_window_s = 2\n[dashboard]\nenabled = false\n\
                     [worker]\nheartbeat_s = 1\n\
                     [alerts]\nsettle_s = 0\nfire_after_s = 1\nresolve_after_s = 1\nunreachable_s = 5\n";

fn monitor(fleet: &Fleet) -> Process {
    Process::binary("trilane-monitor", fleet, QUICK, |_| {})
}

/// What monitors say goes to those who look, and not into the core, where the test's own connection is.
async fn observer(fleet: &Fleet) -> Broker {
    Broker::connect(&fleet.config, Role::Observer, "observer").await.unwrap()
}

async fn next(heard: &mut (impl Stream<Item = Alert> + Unpin), kind: &str, state: AlertState) -> Alert {
    loop {
        let alert = tokio::time::timeout(trilane_testkit::PATIENCE, heard.next());
        let alert = alert.await.expect("the alert is said in time").expect("the subscription lasts");
        if alert.kind == kind && alert.state == state {
            return alert;
        }
    }
}

async fn history(fleet: &Fleet, kind: &str) -> Vec<AlertState> {
    let history = fleet.broker.alert_history().await.unwrap();
    let of_kind = history.into_iter().filter(|said| said.alert.kind == kind);
    of_kind.map(|Said { alert, .. }| alert.state).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_wait_for_nobody_are_told_of_once_by_two_monitors_and_so_is_the_end() {
    let mut fleet = FleetBuilder::new().config(QUICK).without_worker("local-fast").start().await;
    let mut heard = pin!(observer(&fleet).await.heard_alerts().await.unwrap());
    let monitors = [monitor(&fleet), monitor(&fleet)];
    fleet.submit("sample", json!({"prompt": "secret words", "complexity": 0.1})).await;
    let firing = next(&mut heard, "lane_unserved", AlertState::Firing).await;
    assert_eq!(firing.lane, "local-fast");
    assert!(firing.message.contains("1 tasks wait on `local-fast`"), "{}", firing.message);
    assert!(firing.action.contains("--scale local-fast=1") && !firing.meaning.is_empty(), "{firing:?}");

    fleet.start_worker("local-fast", 4).await;
    let resolved = next(&mut heard, "lane_unserved", AlertState::Resolved).await;
    assert_eq!(resolved.since, firing.since);
    assert_eq!(history(&fleet, "lane_unserved").await, [AlertState::Firing, AlertState::Resolved]);
    for monitor in monitors {
        assert!(!monitor.log().contains("secret words"));
        assert!(monitor.terminate().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_fall_silent_or_hang_are_named_and_those_that_leave_are_not() {
    let fleet = FleetBuilder::new().config(QUICK).start().await;
    let living = fleet.broker.workers().await.unwrap().alive().await.unwrap();
    let on_fast = living.into_iter().find(|worker| worker.lane.as_str() == "local-fast").unwrap();
    let named = |worker: &str| Heartbeat { worker: worker.into(), ..on_fast.clone() };
    let mut heard = pin!(observer(&fleet).await.heard_alerts().await.unwrap());
    let monitor = monitor(&fleet);
    let (dying, leaving) = (named("dying"), named("leaving"));
    eventually("the monitor sees all three workers", || async {
        fleet.broker.beat(&dying).await;
        fleet.broker.beat(&leaving).await;
        let page = crate::processes::get(&monitor.address().await, "/metrics").await.ok()?;
        page.contains("trilane_lane_slots{lane=\"local-fast\"} 12").then_some(())
    })
    .await;
    fleet.broker.leave(&leaving).await;
    let firing = next(&mut heard, "worker_silent", AlertState::Firing).await;
    assert_eq!(firing.lane, "local-fast");
    assert!(firing.message.contains("dying") && !firing.message.contains("leaving"), "{}", firing.message);

    let hanging = Heartbeat { stalled_s: 3_600, busy: 2, ..named("hanging") };
    let mut beat = tokio::time::interval(std::time::Duration::from_secs(1));
    let firing = loop {
        tokio::select! {
            _ = beat.tick() => fleet.broker.beat(&hanging).await,
            firing = next(&mut heard, "worker_hung", AlertState::Firing) => break firing,
        }
    };
    assert!(firing.message.contains("hanging") && firing.action.contains("SIGKILL"), "{firing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_raises_lasts_and_reaches_a_webhook_signed() {
    let fleet = FleetBuilder::new().config(QUICK).start().await;
    let (url, posts) = receiver();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "shared").unwrap();
    let hooks =
        format!("[alerts]\nwebhooks = [{{ url = \"{url}\", secret_file = \"{}\" }}]\n", secret.display());
    let notifier = Process::binary("trilane-notifier", &fleet, &hooks, |_| {});
    eventually("the notifier tells", || async { notifier.log().contains("telling").then_some(()) }).await;
    let mut heard = pin!(observer(&fleet).await.heard_alerts().await.unwrap());
    let monitor = monitor(&fleet);
    let raised = Alert::new("seal_broken", "cloud", "a message was altered", jiff::Timestamp::now());
    eventually("the monitor has heard it", || async {
        fleet.broker.alert(&raised).await;
        (!history(&fleet, "seal_broken").await.is_empty()).then_some(())
    })
    .await;
    let firing = next(&mut heard, "seal_broken", AlertState::Firing).await;
    assert!(firing.action.contains("trilane keys"), "{firing:?}");

    let post = tokio::task::spawn_blocking(move || posts.recv_timeout(trilane_testkit::PATIENCE));
    let post = post.await.unwrap().expect("the notifier posts it");
    let (head, body) = post.split_once("\r\n\r\n").unwrap();
    assert_eq!(Encoding::Json.decode::<Alert>(body.as_bytes()).unwrap(), firing);
    assert!(head.to_lowercase().contains("trilane-signature: t="), "{head}");
    assert!(notifier.terminate().await.success());
    assert!(monitor.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_server_is_told_of_and_nothing_else_is_made_of_it() {
    let mut fleet = FleetBuilder::new().config(QUICK).start().await;
    let (url, posts) = receiver();
    let hooks = format!("[alerts]\nunreachable_s = 1\nwebhooks = [{{ url = \"{url}\" }}]\n");
    let notifier = Process::binary("trilane-notifier", &fleet, &hooks, |_| {});
    let monitor = monitor(&fleet);
    eventually("the notifier tells", || async { notifier.log().contains("telling").then_some(()) }).await;
    eventually("the monitor sees the workers", || async {
        let page = crate::processes::get(&monitor.address().await, "/metrics").await.ok()?;
        page.contains("trilane_lane_slots{lane=\"local-fast\"} 4").then_some(())
    })
    .await;
    let pid = rustix::process::Pid::from_raw(fleet.server.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let (firing, posts) = post(posts).await;
    assert_eq!((firing.kind.as_str(), firing.state), ("server_unreachable", AlertState::Firing));

    fleet.server.crash_and_restart().await;
    let (resolved, posts) = post(posts).await;
    assert_eq!((resolved.kind.as_str(), resolved.state), ("server_unreachable", AlertState::Resolved));
    // Whatever the monitor would make of the outage, it has made by the time at which it sees something new.
    fleet
        .broker
        .pause(&"local-deep".parse().unwrap(), Zone::Local, std::time::Duration::from_secs(60))
        .await
        .unwrap();
    eventually("the monitor sees again", || async {
        let page = crate::processes::get(&monitor.address().await, "/metrics").await.ok()?;
        page.contains("trilane_lane_paused{lane=\"local-deep\"} 1").then_some(())
    })
    .await;
    let said = fleet.broker.alert_history().await.unwrap();
    assert_eq!(said, [], "nobody was silent, nothing was unserved");
    assert!(posts.try_recv().is_err());
}

async fn post(posts: mpsc::Receiver<String>) -> (Alert, mpsc::Receiver<String>) {
    tokio::task::spawn_blocking(move || {
        let post = posts.recv_timeout(trilane_testkit::PATIENCE).expect("the notifier posts in time");
        let (_, body) = post.split_once("\r\n\r\n").unwrap();
        (Encoding::Json.decode(body.as_bytes()).unwrap(), posts)
    })
    .await
    .unwrap()
}

/// A webhook that takes what it gets.
fn receiver() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, posts) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut text, mut buffer) = (stream.unwrap(), Vec::new(), [0; 4_096]);
            // The body ends with the object that it is.
            while !text.ends_with(b"}") {
                let read = stream.read(&mut buffer).unwrap();
                text.extend_from_slice(&buffer[..read]);
            }
            stream.write_all(b"HTTP/1.1 204 x\r\nConnection: close\r\n\r\n").unwrap();
            if sender.send(String::from_utf8(text).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, posts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_without_anybody_to_tell_says_so() {
    let fleet = FleetBuilder::new().start().await;
    let notifier = Process::binary("trilane-notifier", &fleet, "", |_| {});
    eventually("it has ended", || async { notifier.log().contains("set alerts.webhooks").then_some(()) })
        .await;
}
