//! Carries out the schedule: each fault in its turn, a few at once, and each undoes itself.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use trilane_protocol::LaneName;

use crate::fleet::Fleet;
use crate::member::Member;
use crate::process::Signal;
use crate::schedule::{Fault, Process, Scheduled};

/// Faults under way at once. With more, hardly anything would ever be up.
const MOST_AT_ONCE: usize = 3;

/// Tasks that producers may be ahead of the next fault, so that a quick fleet does not outrun the schedule.
const TASKS_AHEAD: usize = 100;

/// Carries out `schedule` as tasks are acknowledged, until it is over or `stop` fires, and waits until every
/// fault is undone. Tells the producers by `released` how many tasks they may publish until then.
pub async fn run(
    fleet: Arc<Fleet>,
    schedule: Vec<Scheduled>,
    mut acknowledged: watch::Receiver<usize>,
    released: watch::Sender<usize>,
    stop: CancellationToken,
) {
    let turns = Arc::new(Semaphore::new(MOST_AT_ONCE));
    let mut under_way = JoinSet::new();
    for Scheduled { after, fault } in schedule {
        released.send_replace(after + TASKS_AHEAD);
        let begin = async {
            let _ = acknowledged.wait_for(|count| *count >= after).await;
            Arc::clone(&turns).acquire_owned().await.ok()
        };
        let Some(Some(turn)) = stop.run_until_cancelled(begin).await else { break };
        let fleet = Arc::clone(&fleet);
        under_way.spawn(async move {
            let _one_at_a_time =
                if fault.is_on_server() { Some(fleet.queue.turn.lock().await) } else { None };
            if carry_out(&fleet, fault).await {
                fleet.notes.fault(fault.name());
            }
            drop(turn);
        });
    }
    released.send_replace(usize::MAX);
    while under_way.join_next().await.is_some() {}
}

/// One fault from its beginning to its end. Says whether it took place.
async fn carry_out(fleet: &Fleet, fault: Fault) -> bool {
    match fault {
        Fault::Kill(process, length) => {
            let member = member(fleet, process);
            let mut process = member.lock().await;
            process.kill();
            sleep(length).await;
            member.restart(&mut process);
        }
        Fault::Stop(process, length) => {
            let process = member(fleet, process).lock().await;
            process.signal(Signal::STOP);
            sleep(length).await;
            process.signal(Signal::CONT);
        }
        Fault::Terminate(process) => {
            let member = member(fleet, process);
            let mut process = member.lock().await;
            member.terminate(&mut process).await;
            member.restart(&mut process);
        }
        Fault::Cut(link) => {
            for proxy in fleet.proxies(link) {
                proxy.lock().await.cut();
            }
        }
        Fault::Delay(link, by, length) => {
            let mut held = Vec::new();
            for proxy in fleet.proxies(link) {
                held.push(proxy.lock().await);
            }
            held.iter().for_each(|proxy| proxy.delay(by));
            sleep(length).await;
            held.iter().for_each(|proxy| proxy.heal());
        }
        Fault::HalfOpen(link, length) => {
            let mut held = Vec::new();
            for proxy in fleet.proxies(link) {
                held.push(proxy.lock().await);
            }
            held.iter().for_each(|proxy| proxy.swallow());
            sleep(length).await;
            held.iter().for_each(|proxy| proxy.heal());
        }
        Fault::Pause(lane, length) => {
            let Ok(lane) = LaneName::new(lane) else { return false };
            let zone = fleet.config.registry.lanes[&lane].zone;
            // Paused for longer, so that resuming is tried too.
            if fleet.admin.pause(&lane, zone, length * 3).await.is_err() {
                return false;
            }
            sleep(length).await;
            return fleet.admin.resume(&lane, zone).await.is_ok();
        }
        Fault::Down(lane, length) => {
            fleet.provider.set_down(lane, true);
            sleep(length).await;
            fleet.provider.set_down(lane, false);
        }
    }
    true
}

fn member(fleet: &Fleet, process: Process) -> &Member {
    match process {
        Process::Fleet(index) => &fleet.members[index],
        Process::Server(index) => &fleet.queue.nodes[index],
    }
}
