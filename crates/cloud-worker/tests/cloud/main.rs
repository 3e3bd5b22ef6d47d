//! The cloud runner against a scripted provider: what it sends, what it refuses to send, and what it costs.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failure of the test")]

#[path = "../../../providers/tests/chat/server.rs"]
mod server;

use jiff::Timestamp;
use serde_json::{Value, json};
use server::{Reply, Server};
use tokio_util::sync::CancellationToken;
use trilane_broker::ledger::Terms;
use trilane_broker::topology::Topology;
use trilane_broker::{Broker, Ledger};
use trilane_cloud_worker::{Catalogue, CloudRunner, Purse};
use trilane_protocol::decision::{Reason, Score, ScoreSource, ScreenReport};
use trilane_protocol::ledger::Amounts;
use trilane_protocol::work::Spent;
use trilane_protocol::{
    Decision, Encoding, Generation, Message, Priority, Role, Sensitivity, Usage, Work, Zone,
};
use trilane_service::config::load_from;
use trilane_testkit::NatsServer;
use trilane_worker::partials::PartialSender;
use trilane_worker::{Assignment, Completion, RunError, RunErrorKind, Runner};

/// The most that a call of [`assignment`] may cost, nano-dollars: 100 tokens of the prompt, 100 of the answer.
const BOUND: u64 = 1_250_000;

/// A runner for `gpt-4o` (2.50 and 10.00 dollars per million tokens) with the keys K1 and K2, and its ledger.
struct Cloud {
    runner: CloudRunner,
    ledger: Ledger,
    broker: Broker,
    _nats: NatsServer,
}

impl Cloud {
    async fn start(url: &str) -> Self {
        Self::with(url, "").await
    }

    /// The same with more configuration.
    async fn with(url: &str, more: &str) -> Self {
        let nats = NatsServer::start().await;
        let file = format!(
            "[providers.openai]\nbase_url = \"{url}/v1\"\nkeys = [{{ env = \"K1\" }}, {{ env = \"K2\" }}]\n{more}"
        );
        let variables = [("TRILANE__NATS__URL".to_owned(), nats.url())];
        let config = load_from(Some(&file), variables).unwrap();
        let broker = Broker::connect(&config, trilane_broker::Role::Admin, "test").await.unwrap();
        broker.provision(&Topology::new(&config)).await.unwrap();
        let variable = |name: &str| name.starts_with('K').then(|| format!("value-{name}"));
        let catalogue = Catalogue::build(&config, &"cloud".parse().unwrap(), variable).unwrap();
        let terms = Terms { budgets: config.budgets(), on_ambiguous: config.budget.on_ambiguous };
        let ledger = broker.ledger(terms);
        let runner = CloudRunner::new(catalogue, Purse::new(ledger.clone(), "w".into()));
        Self { runner, ledger, broker, _nats: nats }
    }

    async fn run(&self, assignment: Assignment) -> Result<Completion, RunError> {
        self.runner.run(assignment).await
    }

    /// What the book says of all days together, nano-dollars: spent, and set aside.
    async fn book(&self) -> (u64, u64) {
        self.ledger.flush().await;
        let book = self.broker.book().await.unwrap();
        let total = book.days.values().fold(Amounts::default(), |sum, day| sum.plus(day.total));
        (total.settled.nanos(), total.reserved.nanos())
    }
}

fn attempt(attempt: u32) -> Assignment {
    Assignment { attempt, ..assignment() }
}

fn assignment() -> Assignment {
    let work = Work {
        task_id: "t".parse().unwrap(),
        agent: "a".parse().unwrap(),
        task_seq: 1,
        hop: 0,
        step: None,
        encoding: Encoding::Json,
        published_at: Timestamp::UNIX_EPOCH,
        deadline: None,
        messages: vec![Message { role: Role::User, content: "x".repeat(276) }],
        generation: Generation { max_tokens: Some(100), ..Generation::default() },
        sensitivity: Some(Sensitivity::Public),
        tags: Vec::new(),
        complexity: None,
        model: None,
        priority: Priority::Normal,
        max_cost_usd: None,
        stream: false,
        metadata: serde_json::Map::new(),
        validate: Vec::new(),
        earlier: None,
        shadow: false,
        spent: Spent::default(),
    };
    let decision = Decision {
        lane: "cloud".parse().unwrap(),
        zone: Zone::Cloud,
        model: "gpt-4o".parse().unwrap(),
        reason: Reason::GoodEnough,
        explanation: String::new(),
        screen: ScreenReport { sensitivity: Sensitivity::Public, findings: Vec::new() },
        score: Score {
            complexity: 0.9,
            source: ScoreSource::Producer,
            contributions: Vec::new(),
            prompt_tokens: 1,
        },
        threshold: 0.5,
        bar: None,
        candidates: Vec::new(),
        adjustments: Vec::new(),
        propensity: 1.0,
        policy_version: "v".into(),
        decided_at: Timestamp::UNIX_EPOCH,
    };
    let (partials, cancel) = (PartialSender::disabled(), CancellationToken::new());
    Assignment { work, decision, attempt: 1, partials, cancel }
}

fn answer() -> Reply {
    let choice = json!({"message": {"content": "Hello."}, "finish_reason": "stop"});
    Reply::json(
        200,
        &json!({"choices": [choice], "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}),
    )
}

fn refused(status: u16) -> Reply {
    Reply::json(status, &json!({"error": {"message": "no"}}))
}

async fn key_of(server: &mut Server) -> String {
    let (head, _) = server.request().await;
    head.lines().find_map(|line| line.strip_prefix("authorization: bearer ")).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_carries_what_it_cost() {
    let mut server = Server::start(vec![answer()]).await;
    let completion = Cloud::start(&server.url).await.run(assignment()).await.unwrap();
    assert_eq!(completion.text, "Hello.");
    assert_eq!(completion.usage, Usage { prompt_tokens: 1000, completion_tokens: 100, cached_tokens: 0 });
    assert!((completion.cost_usd - 0.0035).abs() < 1e-12, "{}", completion.cost_usd);
    let (_, body): (String, Value) = server.request().await;
    assert_eq!(
        (&body["model"], &body["max_tokens"], &body["stream"]),
        (&json!("gpt-4o"), &json!(100), &json!(false))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_private_is_ever_sent() {
    let mut server = Server::start(vec![answer(), answer(), answer()]).await;
    let runner = Cloud::start(&server.url).await;
    let mut screened = assignment();
    screened.decision.screen.sensitivity = Sensitivity::Private;
    let mut tagged = assignment();
    tagged.work.sensitivity = Some(Sensitivity::Private);
    let mut local = assignment();
    local.decision.zone = Zone::Local;
    let mut unnoticed = assignment();
    unnoticed.work.messages[0].content = "mail the contract to anna.schmidt@example.com".into();
    let mut hidden = assignment();
    hidden.work.metadata.insert("card".into(), "4111 1111 1111 1111".into());
    let mut labelled = assignment();
    labelled.work.tags.push("client-document".into());
    for private in [screened, tagged, local, unnoticed, hidden, labelled] {
        let error = runner.run(private).await.unwrap_err();
        assert_eq!((error.kind, error.code), (RunErrorKind::Permanent, "private_in_cloud"));
    }
    assert!(server.is_untouched());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_answer_is_never_sent() {
    let mut server = Server::start(vec![answer()]).await;
    let runner = Cloud::start(&server.url).await;
    let with = |text: &str| {
        let earlier = json!({
            "lane": "local-deep", "model": "m", "cost_usd": 0.0, "reason": "r", "propensity": 1.0,
            "policy_version": "v", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cached_tokens": 0},
            "signs": {"truncated": false, "refused": false, "repetition": 0.0, "passed": 0}, "text": text,
        });
        let mut assignment = assignment();
        assignment.work.earlier = Some(Box::new(serde_json::from_value(earlier).unwrap()));
        assignment
    };
    let error = runner.run(with("mail anna.schmidt@example.com")).await.unwrap_err();
    assert_eq!(error.code, "private_in_cloud", "a text that no classifier lets along");
    assert!(server.is_untouched());
    runner.run(with("the first answer")).await.unwrap();
    let (head, body) = server.request().await;
    assert!(!format!("{head}{body:?}").contains("first answer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_not_sent_where_it_could_cost_more_than_it_may() {
    let mut server = Server::start(vec![answer()]).await;
    let runner = Cloud::start(&server.url).await;
    // 276 bytes are at most 100 tokens: 0.00025 dollars, and 100 generated ones are 0.001 dollars.
    let with = |ceiling: f64, spent: f64| {
        let mut assignment = assignment();
        assignment.work.max_cost_usd = Some(ceiling);
        assignment.work.spent.cost_usd = spent;
        assignment
    };
    for over in [with(0.001_249_999, 0.0), with(0.01, 0.0088), with(0.01, f64::NAN)] {
        let error = runner.run(over).await.unwrap_err();
        assert_eq!((error.kind, error.code), (RunErrorKind::Permanent, "over_max_cost"));
    }
    assert!(server.is_untouched());
    runner.run(with(0.00125, 0.0)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_replaced_by_the_next_and_both_refused_end_the_lane() {
    let mut server = Server::start(vec![refused(401), answer(), refused(403)]).await;
    let runner = Cloud::start(&server.url).await;
    runner.run(assignment()).await.unwrap();
    let keys = [key_of(&mut server).await, key_of(&mut server).await];
    assert_ne!(keys[0], keys[1]);
    let error = runner.run(assignment()).await.unwrap_err();
    assert_eq!((error.kind, error.code), (RunErrorKind::LaneUnable, "bad_api_key"));
    assert_eq!(key_of(&mut server).await, keys[1], "the first key stays set aside");
    let error = runner.run(assignment()).await.unwrap_err();
    assert_eq!((error.kind, error.code), (RunErrorKind::LaneUnable, "bad_api_key"));
    assert!(error.message.contains("env K1, env K2") && server.is_untouched(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_key_makes_way_for_the_other_one() {
    let mut server = Server::start(vec![refused(429).header("retry-after", "60"), answer()]).await;
    Cloud::start(&server.url).await.run(assignment()).await.unwrap();
    assert_ne!(key_of(&mut server).await, key_of(&mut server).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_keys_are_limited_the_task_comes_back_later() {
    let limited = || refused(429).header("retry-after", "60");
    let server = Server::start(vec![limited(), limited()]).await;
    let error = Cloud::start(&server.url).await.run(assignment()).await.unwrap_err();
    assert_eq!((error.kind, error.code), (RunErrorKind::Transient, "rate_limited"));
    assert_eq!(error.retry_after.map(|delay| delay.as_secs()), Some(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_tokens_were_used_carries_their_cost() {
    let cut = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n";
    let server = Server::start(vec![Reply::stream([cut.as_bytes()])]).await;
    let (partials, mut pieces) = PartialSender::channel();
    let error =
        Cloud::start(&server.url).await.run(Assignment { partials, ..assignment() }).await.unwrap_err();
    assert_eq!((error.kind, error.code), (RunErrorKind::Transient, "stream_cut"));
    assert!(error.usage.completion_tokens > 0, "{error:?}");
    assert_costs(error.cost_usd, BOUND);
    assert_eq!(pieces.recv().await.as_deref(), Some("Hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_model_cannot_do_is_refused() {
    let server = Server::start(Vec::new()).await;
    let runner = Cloud::start(&server.url).await;
    let mut long = assignment();
    long.work.generation.max_tokens = Some(16_385);
    let error = runner.run(long).await.unwrap_err();
    assert_eq!((error.kind, error.code), (RunErrorKind::Permanent, "unsupported_setting"));
    let mut other = assignment();
    other.decision.model = "claude-sonnet".parse().unwrap();
    let error = runner.run(other).await.unwrap_err();
    assert_eq!((error.kind, error.code), (RunErrorKind::LaneUnable, "no_api_key"));
}

fn assert_costs(found: f64, nanos: u64) {
    assert!((found - nanos as f64 / 1e9).abs() < 1e-12, "{found}");
}

/// What the scripted answer costs, nano-dollars.
const ANSWER: u64 = 3_500_000;

#[tokio::test(flavor = "multi_thread")]
async fn each_ending_is_booked_as_what_it_is() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unreachable = Cloud::start(&format!("http://{free}")).await;
    assert_eq!(unreachable.run(assignment()).await.unwrap_err().code, "connect_failed");
    assert_eq!(unreachable.book().await, (0, 0), "nothing was sent");
    let cases = [
        (answer(), "", ANSWER),
        (refused(500), "provider_error", 0),
        (refused(400), "request_refused", 0),
        (answer().broken(), "stream_cut", BOUND),
        (Reply::json(200, &json!({"hello": 1})), "malformed_answer", BOUND),
        (Reply::json(200, &refusal()), "refused", 2_600_000),
    ];
    for (reply, code, cost) in cases {
        let server = Server::start(vec![reply]).await;
        let cloud = Cloud::start(&server.url).await;
        let outcome = cloud.run(assignment()).await;
        let (found, cost_usd) =
            outcome.map_or_else(|error| (error.code, error.cost_usd), |answer| ("", answer.cost_usd));
        assert_eq!(found, code);
        assert_eq!(cloud.book().await, (cost, 0), "{code}");
        assert_costs(cost_usd, cost);
    }
}

/// The model refuses, and the server has counted it: 1,000 tokens and 10.
fn refusal() -> Value {
    let choice = json!({"message": {"refusal": "No."}, "finish_reason": "stop"});
    json!({"choices": [choice], "usage": {"prompt_tokens": 1000, "completion_tokens": 10}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_in_the_middle_counts_in_full() {
    let mut server = Server::start(vec![Reply::stream([]).hanging(), Reply::stream([]).hanging()]).await;
    let cloud = Cloud::start(&server.url).await;
    let cancelled = assignment();
    let cancel = cancelled.cancel.clone();
    let (outcome, ()) = tokio::join!(cloud.run(cancelled), async {
        server.request().await;
        cancel.cancel();
    });
    let error = outcome.unwrap_err();
    assert_eq!(error.kind, RunErrorKind::Cancelled);
    assert_costs(error.cost_usd, BOUND);
    assert_eq!(cloud.book().await, (BOUND, 0));
    // A runner that is thrown away says nothing; its ticket does.
    server.hang_up().await;
    tokio::select! {
        _ = cloud.run(attempt(2)) => panic!("nobody answers"),
        _ = server.request() => {}
    }
    assert_eq!(cloud.book().await, (2 * BOUND, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_attempt_carries_what_the_earlier_ones_cost() {
    let server = Server::start(vec![answer().broken(), refused(500), answer()]).await;
    let cloud = Cloud::start(&server.url).await;
    assert_costs(cloud.run(attempt(1)).await.unwrap_err().cost_usd, BOUND);
    assert_costs(cloud.run(attempt(2)).await.unwrap_err().cost_usd, BOUND);
    assert_costs(cloud.run(attempt(3)).await.unwrap().cost_usd, BOUND + ANSWER);
    // The next hop brings the cost so far in its message; the result adds both.
    let mut next = assignment();
    next.work.hop = 1;
    next.work.spent.cost_usd = (BOUND + ANSWER) as f64 / 1e9;
    next.work.max_cost_usd = Some((2 * BOUND + ANSWER - 1) as f64 / 1e9);
    let error = cloud.run(next).await.unwrap_err();
    assert_eq!(error.code, "over_max_cost");
    assert_costs(error.cost_usd, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn max_cost_usd_holds_over_redeliveries() {
    let server = Server::start(vec![answer().broken(), answer()]).await;
    let cloud = Cloud::start(&server.url).await;
    let bounded = |attempt| {
        let mut bounded = self::attempt(attempt);
        bounded.work.max_cost_usd = Some((2 * BOUND - 1) as f64 / 1e9);
        bounded
    };
    assert_eq!(cloud.run(bounded(1)).await.unwrap_err().code, "stream_cut");
    let error = cloud.run(bounded(2)).await.unwrap_err();
    assert_eq!((error.kind, error.code), (RunErrorKind::Permanent, "over_max_cost"));
    assert_costs(error.cost_usd, BOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_broke_off_is_not_repeated_where_the_configuration_says_so() {
    let mut server = Server::start(vec![answer().broken(), answer()]).await;
    let cloud = Cloud::with(&server.url, "[budget]\non_ambiguous = \"fail\"").await;
    assert_eq!(cloud.run(attempt(1)).await.unwrap_err().code, "stream_cut");
    server.request().await;
    let error = cloud.run(attempt(2)).await.unwrap_err();
    assert_eq!((error.kind, error.code), (RunErrorKind::Permanent, "ambiguous_call"));
    assert_costs(error.cost_usd, BOUND);
    assert!(server.is_untouched());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_sends_nothing_and_gives_the_key_back() {
    let mut server = Server::start(vec![answer(), answer()]).await;
    let day = "[budget]\nweek_usd = 0.004\n[agents.other]\nbudget_week_usd = 0.0";
    let cloud = Cloud::with(&server.url, day).await;
    let mut poor = assignment();
    poor.work.agent = "other".parse().unwrap();
    let error = cloud.run(poor).await.unwrap_err();
    assert_eq!((error.kind, error.code), (RunErrorKind::LaneUnable, "budget_spent"));
    assert!(error.message.contains("agents.other.budget_week_usd"), "{error}");
    assert!(server.is_untouched());
    cloud.run(assignment()).await.unwrap();
    server.request().await;
    let error = cloud.run(assignment()).await.unwrap_err();
    assert!(error.message.contains("budget.week_usd") && server.is_untouched(), "{error}");
    assert_eq!(cloud.book().await, (ANSWER, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_run_any_more_is_closed() {
    let mut server = Server::start(vec![Reply::stream([]).hanging()]).await;
    let cloud = Cloud::start(&server.url).await;
    // Another process died in the middle of this call: nobody will ever close it there.
    let open = Assignment { attempt: 1, ..assignment() };
    let (work, decision) = (open.work.clone(), open.decision.clone());
    let running = cloud.run(open);
    tokio::pin!(running);
    tokio::select! {
        _ = &mut running => panic!("nobody answers"),
        _ = server.request() => {}
    }
    assert_eq!(cloud.book().await, (0, BOUND));
    assert_costs(cloud.runner.abandon(&work, &decision, 1).await, 0);
    assert_costs(cloud.runner.abandon(&work, &decision, 2).await, BOUND);
    assert_eq!(cloud.book().await, (BOUND, 0));
    // The same for an attempt that ends before it calls.
    let mut other = attempt(3);
    other.decision.model = "claude-sonnet".parse().unwrap();
    let error = cloud.run(other).await.unwrap_err();
    assert_eq!(error.code, "no_api_key");
    assert_costs(error.cost_usd, BOUND);
}
