//! The cloud runner against a scripted provider: what it sends, what it refuses to send, and what it costs.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failure of the test")]

#[expect(dead_code, reason = "the script has words that only other tests use")]
#[path = "../../../providers/tests/chat/server.rs"]
mod server;

use jiff::Timestamp;
use serde_json::{Value, json};
use server::{Reply, Server};
use tokio_util::sync::CancellationToken;
use trilane_cloud_worker::{Catalogue, CloudRunner};
use trilane_protocol::decision::{Reason, Score, ScoreSource, ScreenReport};
use trilane_protocol::work::Spent;
use trilane_protocol::{
    Decision, Encoding, Generation, Message, Priority, Role, Sensitivity, Usage, Work, Zone,
};
use trilane_service::config::load_from;
use trilane_worker::partials::PartialSender;
use trilane_worker::{Assignment, RunErrorKind, Runner};

/// A runner for `gpt-4o` (2.50 and 10.00 dollars per million tokens) with the keys K1 and K2.
fn runner(url: &str) -> CloudRunner {
    let file = format!(
        "[providers.openai]\nbase_url = \"{url}/v1\"\nkeys = [{{ env = \"K1\" }}, {{ env = \"K2\" }}]"
    );
    let config = load_from(Some(&file), []).unwrap();
    let variable = |name: &str| name.starts_with('K').then(|| format!("value-{name}"));
    CloudRunner::new(Catalogue::build(&config, &"cloud".parse().unwrap(), variable).unwrap())
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

#[tokio::test]
async fn an_answer_carries_what_it_cost() {
    let mut server = Server::start(vec![answer()]).await;
    let completion = runner(&server.url).run(assignment()).await.unwrap();
    assert_eq!(completion.text, "Hello.");
    assert_eq!(completion.usage, Usage { prompt_tokens: 1000, completion_tokens: 100, cached_tokens: 0 });
    assert!((completion.cost_usd - 0.0035).abs() < 1e-12, "{}", completion.cost_usd);
    let (_, body): (String, Value) = server.request().await;
    assert_eq!(
        (&body["model"], &body["max_tokens"], &body["stream"]),
        (&json!("gpt-4o"), &json!(100), &json!(false))
    );
}

#[tokio::test]
async fn nothing_private_is_ever_sent() {
    let mut server = Server::start(vec![answer(), answer(), answer()]).await;
    let runner = runner(&server.url);
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

#[tokio::test]
async fn a_task_is_not_sent_where_it_could_cost_more_than_it_may() {
    let mut server = Server::start(vec![answer()]).await;
    let runner = runner(&server.url);
    // 276 bytes are at most 100 tokens: 0.00025 dollars, and 100 generated ones are 0.001 dollars.
    let with = |ceiling: f64, spent: f64| {
        let mut assignment = assignment();
        assignment.work.max_cost_usd = Some(ceiling);
        assignment.work.spent.cost_usd = spent;
        assignment
    };
    for over in [with(0.00124, 0.0), with(0.01, 0.0088), with(0.01, f64::NAN)] {
        let error = runner.run(over).await.unwrap_err();
        assert_eq!((error.kind, error.code), (RunErrorKind::Permanent, "over_max_cost"));
    }
    assert!(server.is_untouched());
    runner.run(with(0.00126, 0.0)).await.unwrap();
}

#[tokio::test]
async fn a_refused_key_is_replaced_by_the_next_and_both_refused_end_the_lane() {
    let mut server = Server::start(vec![refused(401), answer(), refused(403)]).await;
    let runner = runner(&server.url);
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

#[tokio::test]
async fn a_limited_key_makes_way_for_the_other_one() {
    let mut server = Server::start(vec![refused(429).header("retry-after", "60"), answer()]).await;
    runner(&server.url).run(assignment()).await.unwrap();
    assert_ne!(key_of(&mut server).await, key_of(&mut server).await);
}

#[tokio::test]
async fn when_all_keys_are_limited_the_task_comes_back_later() {
    let limited = || refused(429).header("retry-after", "60");
    let server = Server::start(vec![limited(), limited()]).await;
    let error = runner(&server.url).run(assignment()).await.unwrap_err();
    assert_eq!((error.kind, error.code), (RunErrorKind::Transient, "rate_limited"));
    assert_eq!(error.retry_after.map(|delay| delay.as_secs()), Some(60));
}

#[tokio::test]
async fn a_failure_after_tokens_were_used_carries_their_cost() {
    let cut = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n";
    let server = Server::start(vec![Reply::stream([cut.as_bytes()])]).await;
    let (partials, mut pieces) = PartialSender::channel();
    let error = runner(&server.url).run(Assignment { partials, ..assignment() }).await.unwrap_err();
    assert_eq!((error.kind, error.code), (RunErrorKind::Transient, "stream_cut"));
    assert!(error.usage.completion_tokens > 0 && error.cost_usd > 0.0, "{error:?}");
    assert_eq!(pieces.recv().await.as_deref(), Some("Hello"));
}

#[tokio::test]
async fn what_the_model_cannot_do_is_refused() {
    let server = Server::start(Vec::new()).await;
    let runner = runner(&server.url);
    let mut long = assignment();
    long.work.generation.max_tokens = Some(16_385);
    let error = runner.run(long).await.unwrap_err();
    assert_eq!((error.kind, error.code), (RunErrorKind::Permanent, "unsupported_setting"));
    let mut other = assignment();
    other.decision.model = "claude-sonnet".parse().unwrap();
    let error = runner.run(other).await.unwrap_err();
    assert_eq!((error.kind, error.code), (RunErrorKind::LaneUnable, "no_api_key"));
}
