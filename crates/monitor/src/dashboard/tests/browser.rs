//! What a person gets: Chromium on the page, driven by `tests/tools/dashboard.py`.

use std::time::Duration;

use super::Served;
use super::synthetic::Synthetic;

/// Serves a made-up fleet until it is ended, for looking at the page: the address is in TRILANE_SHOW, the state
/// (`flooded` or `calm`) in TRILANE_STATE.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "for looking at the page"]
async fn show() {
    let Ok(listen) = std::env::var("TRILANE_SHOW") else { return };
    let served = Served::on(&format!("[dashboard]\nlisten = \"{listen}\"\n")).await;
    let mut synthetic = match std::env::var("TRILANE_STATE").as_deref() {
        Ok("calm") => Synthetic::calm(),
        _ => Synthetic::flooded(),
    };
    for _ in 0..140 {
        served.states.send_replace(Some(synthetic.shown()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    eprintln!("http://{}/", served.address);
    loop {
        served.states.send_replace(Some(synthetic.shown()));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}
