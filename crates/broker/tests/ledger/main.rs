//! The spend ledger on a real server: many writers, lost acknowledgements, calls that break off.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failure of the test")]

mod proxy;

use std::time::Duration;

use futures_util::future::join_all;
use proxy::Proxy;
use trilane_broker::ledger::{ReserveError, Terms, Ticket};
use trilane_broker::topology::{LEDGER, Topology};
use trilane_broker::{Broker, Ledger, Role};
use trilane_protocol::Usd;
use trilane_protocol::ledger::{Amounts, LedgerEvent};
use trilane_routing::budget::{Budgets, Limits, OnAmbiguous};
use trilane_routing::ledger::{Ask, Call, Ending, Refusal};
use trilane_service::config::{self, Config};
use trilane_testkit::{NatsServer, eventually};

const CENT: u64 = 10_000_000;

fn cents(count: u64) -> Usd {
    Usd::from_nanos(count * CENT)
}

fn config(url: &str) -> Config {
    let variables = [("TRILANE__NATS__URL", url), ("TRILANE__NATS__PUBLISH_TIMEOUT_S", "1")];
    config::load_from(None, variables.map(|(key, value)| (key.to_owned(), value.to_owned()))).unwrap()
}

async fn connect(url: &str) -> Broker {
    Broker::connect(&config(url), Role::Admin, "test").await.unwrap()
}

/// A server with everything provisioned, and a connection of its own.
async fn server() -> (NatsServer, Broker) {
    let server = NatsServer::start().await;
    let broker = connect(&server.url()).await;
    broker.provision(&Topology::new(&config(&server.url()))).await.unwrap();
    (server, broker)
}

/// Without a bound by day, so that a test may run over midnight.
fn terms(week: Option<Usd>, on_ambiguous: OnAmbiguous) -> Terms {
    let agents = [("default".parse().unwrap(), Limits::default())];
    let budgets = Budgets { total: Limits { day: None, week }, agents: agents.into() };
    Terms { budgets, on_ambiguous }
}

fn ask(task: u64, attempt: u32, bound: Usd) -> Ask {
    let call = Call {
        agent: "a".parse().unwrap(),
        task_id: format!("t{task}").parse().unwrap(),
        task_seq: task,
        hop: 0,
        attempt,
        worker: "w".into(),
        model: "m".parse().unwrap(),
    };
    Ask { call, bound, ceiling: None, spent_before: Usd::ZERO }
}

fn settled(amount: Usd) -> Ending {
    Ending::Settled { amount, answered: true }
}

/// What the book says of everybody, all days together.
async fn total(broker: &Broker) -> Amounts {
    let book = broker.book().await.unwrap();
    book.days.values().fold(Amounts::default(), |sum, day| sum.plus(day.total))
}

async fn events(server: &NatsServer) -> u64 {
    let client = async_nats::connect(server.url()).await.unwrap();
    let stream = async_nats::jetstream::new(client).get_stream(LEDGER).await.unwrap();
    stream.cached_info().state.messages
}

#[tokio::test(flavor = "multi_thread")]
async fn many_workers_spend_one_budget_to_the_cent_and_never_more() {
    let (server, broker) = server().await;
    let mut ledgers = Vec::new();
    for _ in 0..3 {
        ledgers.push(connect(&server.url()).await.ledger(terms(Some(cents(200)), OnAmbiguous::Repeat)));
    }
    let reserve = |task: u64| {
        let ledger = ledgers[task as usize % ledgers.len()].clone();
        tokio::spawn(async move { ledger.reserve(ask(task, 1, cents(1))).await })
    };
    let answers = join_all((0..300).map(reserve)).await;
    let (granted, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().map(Result::unwrap).partition(Result::is_ok);
    assert_eq!((granted.len(), refused.len()), (200, 100));
    for error in refused {
        let error = error.unwrap_err();
        assert!(matches!(error, ReserveError::Refused { refusal: Refusal::Budget(_), .. }), "{error}");
    }
    assert_eq!(total(&broker).await, Amounts { settled: Usd::ZERO, reserved: cents(200) });
    let end = |ticket: Ticket| ticket.end(settled(Usd::from_nanos(CENT - 1)));
    join_all(granted.into_iter().map(|ticket| end(ticket.unwrap()))).await;
    let expected = Amounts { settled: Usd::from_nanos(200 * (CENT - 1)), reserved: Usd::ZERO };
    assert_eq!(total(&broker).await, expected);
    assert_eq!(events(&server).await, 400, "one entry an event");
    // Another worker has settled what this one saw reserved: what it remembers does not stand in the way.
    let left = Usd::from_nanos(200);
    ledgers[0].reserve(ask(900, 1, left)).await.unwrap().end(Ending::Released).await;
    ledgers[1].reserve(ask(901, 1, left)).await.unwrap().end(Ending::Released).await;
    ledgers[0].reserve(ask(902, 1, left)).await.unwrap().end(settled(left)).await;
    assert!(ledgers[1].reserve(ask(903, 1, Usd::from_nanos(1))).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_acknowledgement_is_lost_is_booked_once() {
    let (server, broker) = server().await;
    let proxy = Proxy::start(&server.url(), 3).await;
    let ledger = connect(&proxy.url).await.ledger(terms(None, OnAmbiguous::Repeat));
    // Another writer comes in between, so that the lost entry is not the last one of the stream.
    let other = broker.ledger(terms(None, OnAmbiguous::Repeat));
    for task in 0..4 {
        let (ticket, between) =
            tokio::join!(ledger.reserve(ask(task, 1, cents(5))), other.reserve(ask(100 + task, 1, cents(1))));
        let (ended, _) =
            tokio::join!(ticket.unwrap().end(settled(cents(3))), between.unwrap().end(Ending::Released));
        assert_eq!(ended, cents(3));
    }
    assert!(proxy.lost() >= 2, "{} acknowledgements were lost", proxy.lost());
    assert_eq!(total(&broker).await, Amounts { settled: cents(12), reserved: Usd::ZERO });
    assert_eq!(events(&server).await, 16, "each event is stored once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivery_writes_off_the_call_before_it_and_adds_up_what_the_task_cost() {
    let (_server, broker) = server().await;
    let ledger = broker.ledger(terms(None, OnAmbiguous::Repeat));
    let dead = ledger.reserve(ask(1, 1, cents(5))).await.unwrap();
    let open = broker.open_reservations(jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].event, LedgerEvent::Reserved { amount: cents(5) });
    // Another worker gets the task; the first one is still out there.
    let elsewhere = broker.ledger(terms(None, OnAmbiguous::Repeat));
    let second = elsewhere.reserve(ask(1, 2, cents(5))).await.unwrap();
    assert_eq!(total(&broker).await, Amounts { settled: cents(5), reserved: cents(5) });
    assert_eq!(second.end(settled(cents(2))).await, cents(7));
    assert_eq!(dead.end(settled(cents(4))).await, cents(7), "it was written off in full before");
    assert_eq!(total(&broker).await, Amounts { settled: cents(7), reserved: Usd::ZERO });
    assert!(broker.open_reservations(jiff::Timestamp::UNIX_EPOCH).await.unwrap().is_empty());
    let ceiling = Ask { ceiling: Some(cents(11)), ..ask(1, 3, cents(5)) };
    let error = ledger.reserve(ceiling).await.unwrap_err();
    let refusal = Refusal::Ceiling { ceiling: cents(11), spent: cents(7), bound: cents(5) };
    assert_eq!(error, ReserveError::Refused { refusal, spent: cents(7) });
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_configuration_says_so_a_call_that_broke_off_is_not_repeated() {
    let (_server, broker) = server().await;
    let ledger = broker.ledger(terms(None, OnAmbiguous::Fail));
    let left_open = ledger.reserve(ask(1, 1, cents(5))).await.unwrap();
    let again = ledger.reserve(ask(1, 2, cents(5))).await.unwrap_err();
    assert_eq!(again, ReserveError::AmbiguousCall { spent: cents(5) });
    drop(left_open);
    ledger.reserve(ask(2, 1, cents(5))).await.unwrap().end(Ending::Ambiguous).await;
    let again = ledger.reserve(ask(2, 2, cents(5))).await.unwrap_err();
    assert_eq!(again, ReserveError::AmbiguousCall { spent: cents(5) });
    ledger.reserve(ask(3, 1, cents(5))).await.unwrap().end(settled(Usd::ZERO)).await;
    drop(ledger.reserve(ask(3, 2, cents(5))).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_without_an_end_counts_as_spent_and_one_that_nobody_waits_for_as_nothing() {
    let (_server, broker) = server().await;
    let ledger = broker.ledger(terms(None, OnAmbiguous::Repeat));
    drop(ledger.reserve(ask(1, 1, cents(5))).await.unwrap());
    ledger.flush().await;
    assert_eq!(total(&broker).await, Amounts { settled: cents(5), reserved: Usd::ZERO });
    // Given up before the answer came, wherever that is.
    for task in 2..30 {
        let reserving = ledger.reserve(ask(task, 1, cents(1)));
        let _ = tokio::time::timeout(Duration::from_micros(50 * task), reserving).await.map(|ticket| {
            let ticket = ticket.unwrap();
            tokio::spawn(ticket.end(Ending::Released))
        });
    }
    eventually("nothing stays set aside", || async {
        ledger.flush().await;
        (total(&broker).await.reserved == Usd::ZERO).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_not_run_any_more_leaves_nothing_open() {
    let (_server, broker) = server().await;
    let ledger = broker.ledger(terms(None, OnAmbiguous::Repeat));
    let _dead = ledger.reserve(ask(1, 1, cents(5))).await.unwrap();
    assert_eq!(ledger.abandon(ask(1, 2, cents(5)).call).await.unwrap(), cents(5));
    assert_eq!(total(&broker).await, Amounts { settled: cents(5), reserved: Usd::ZERO });
    assert_eq!(ledger.abandon(ask(1, 3, cents(5)).call).await.unwrap(), cents(5), "once");
    assert_eq!(ledger.abandon(ask(2, 1, cents(5)).call).await.unwrap(), Usd::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_whose_entries_have_all_aged_away_begins_anew() {
    let (server, broker) = server().await;
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let ledger = broker.ledger(terms(None, OnAmbiguous::Repeat));
    ledger.reserve(ask(1, 1, cents(5))).await.unwrap().end(settled(cents(5))).await;
    let mut short = context.get_stream(LEDGER).await.unwrap().cached_info().config.clone();
    short.max_age = Duration::from_millis(100);
    short.duplicate_window = short.max_age;
    context.update_stream(short.clone()).await.unwrap();
    eventually("all is aged away", || async { (events(&server).await == 0).then_some(()) }).await;
    short.max_age = Duration::from_secs(3_600);
    context.update_stream(short).await.unwrap();
    let fresh: Ledger = connect(&server.url()).await.ledger(terms(None, OnAmbiguous::Repeat));
    assert_eq!(total(&broker).await, Amounts::default());
    fresh.reserve(ask(2, 1, cents(5))).await.unwrap().end(settled(cents(4))).await;
    assert_eq!(total(&broker).await, Amounts { settled: cents(4), reserved: Usd::ZERO });
}
