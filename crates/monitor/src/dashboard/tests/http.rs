//! What programs get: states, the switch, a task's life, and what is refused.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trilane_protocol::outcome::{TaskError, Timing};
use trilane_protocol::{AgentName, Encoding, LaneName, Status, TaskId, TaskResult, Zone};
use trilane_testkit::eventually;

use super::Served;
use super::synthetic::Synthetic;
use crate::dashboard::NotServed;
use crate::dashboard::events::MAX_STREAMS;

/// Only ever used up by a test that fails: an answer that never ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// One answer.
struct Answer {
    head: String,
    body: String,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn ask(address: SocketAddr, request: &str, headers: &[&str], body: &str) -> Answer {
    let host =
        if headers.iter().any(|header| header.starts_with("host:")) { "" } else { "host: localhost\r\n" };
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let head =
        format!("{request} HTTP/1.1\r\n{host}connection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut text = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await;
    read.expect("the answer ends").unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer { head: head.to_owned(), body: body.to_owned() }
}

async fn is_paused(served: &Served, lane: &str) -> bool {
    served.fleet.broker.depth(&LaneName::new(lane).unwrap(), Zone::Local).await.unwrap().is_paused
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_is_paused_and_resumed_and_only_by_the_page_itself() {
    let served = Served::new().await;
    let mark = "x-trilane-dashboard: 1";
    let pause = "POST /api/lanes/local-fast/pause";
    for (headers, status) in [
        (vec![], 403),
        (vec![mark, "sec-fetch-site: cross-site"], 403),
        (vec![mark, "origin: http://evil.example"], 403),
        (vec![mark, "host: evil.example"], 421),
    ] {
        assert_eq!(ask(served.address, pause, &headers, "").await.status(), status, "{headers:?}");
    }
    assert!(!is_paused(&served, "local-fast").await);
    let paused = ask(served.address, pause, &[mark], "{\"seconds\": 600}").await;
    assert_eq!((paused.status(), paused.json()), (200, json!({"is_paused": true})));
    assert!(is_paused(&served, "local-fast").await && !is_paused(&served, "local-deep").await);
    let resumed = ask(served.address, "POST /api/lanes/local-fast/resume", &[mark], "").await;
    assert_eq!(resumed.json(), json!({"is_paused": false}));
    assert!(!is_paused(&served, "local-fast").await);
    let unknown = ask(served.address, "POST /api/lanes/fast/pause", &[mark], "").await;
    assert_eq!(unknown.status(), 404);
    assert!(unknown.body.contains("cloud, local-deep, local-fast"), "{}", unknown.body);
    let long = ask(served.address, pause, &[mark], "{\"seconds\": 999999}").await;
    assert_eq!(long.status(), 400);
    let large = ask(served.address, pause, &[mark], &" ".repeat(2_000)).await;
    assert_eq!(large.status(), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_shown_and_every_answer_is_protected() {
    let served = Served::new().await;
    assert_eq!(ask(served.address, "GET /api/fleet", &[], "").await.status(), 503, "no look yet");
    served.states.send_replace(Some(Synthetic::flooded().shown()));
    let state = eventually("the state is there", || async {
        let answer = ask(served.address, "GET /api/fleet", &[], "").await;
        (answer.status() == 200).then(|| answer.json())
    })
    .await;
    assert_eq!(state["fleet"]["lanes"].as_array().unwrap().len(), 3);
    assert_eq!(state["alerts"][0]["kind"], "lane_filling");
    for path in ["/", "/page.js", "/page.css", "/icon.svg", "/api/fleet", "/nothing", "/api/tasks/a/t.b"] {
        let head = ask(served.address, &format!("GET {path}"), &[], "").await.head;
        for header in [
            "content-security-policy: default-src 'none'",
            "frame-ancestors 'none'",
            "x-frame-options: DENY",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ] {
            assert!(head.contains(header), "{path}: {head}");
        }
        assert!(!head.contains("access-control-allow"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_too_many_is_refused_and_room_comes_back() {
    let mut served = Served::new().await;
    served.states.send_replace(Some(Synthetic::calm().shown()));
    let mut streams = Vec::new();
    for _ in 0..MAX_STREAMS {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(b"GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut text = vec![0; 12];
        stream.read_exact(&mut text).await.unwrap();
        assert_eq!(text, b"HTTP/1.1 200");
        streams.push(stream);
    }
    assert_eq!(ask(served.address, "GET /api/events", &[], "").await.status(), 503);
    streams.pop();
    eventually("room comes back", || async {
        // What is written to a closed stream tells the server so.
        served.states.send_replace(Some(Synthetic::calm().shown()));
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(b"GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut text = vec![0; 12];
        stream.read_exact(&mut text).await.unwrap();
        (text == b"HTTP/1.1 200").then_some(())
    })
    .await;
    // Open streams do not hold up the end.
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_s_life_is_read_from_what_is_stored() {
    let served = Served::new().await;
    let (agent, task_id) = (AgentName::new("sales").unwrap(), TaskId::new("order-7").unwrap());
    let ask_life = || ask(served.address, "GET /api/tasks/sales/order-7", &[], "");
    assert_eq!(ask_life().await.json()["state"], "unknown");
    let now = jiff::Timestamp::now();
    let secret = "nobody may see this";
    let metadata = serde_json::from_value(json!({"note": secret})).unwrap();
    let result = TaskResult {
        signs: None,
        earlier: None,
        timing_ms: Timing::default(),
        metadata,
        ..TaskResult::without_answer(
            agent,
            task_id,
            Some(1),
            Status::Failed,
            TaskError::new("poison_task", "too many"),
            now,
        )
    };
    served.fleet.broker.report(&result, Encoding::Msgpack, None).await.unwrap();
    let letter = json!({
        "task_id": "order-7", "agent": "sales", "place": "intake", "error": {"code": "poison_task", "message": "too many"},
        "deliveries": 12, "source": {"stream": "TASKS", "subject": "tasks.sales", "sequence": 1}, "died_at": now,
        "payload_bytes": 3, "payload": secret,
    });
    served.fleet.nats.publish("dead.intake", letter.to_string().into()).await.unwrap().await.unwrap();
    let life = ask_life().await;
    assert_eq!(life.status(), 200, "{}", life.body);
    assert!(!life.body.contains(secret), "{}", life.body);
    let life = life.json();
    assert_eq!(life["state"], "failed");
    let whats: Vec<_> =
        life["entries"].as_array().unwrap().iter().map(|entry| entry["what"].clone()).collect();
    assert_eq!(whats, ["died", "finished"]);
    assert_eq!(ask(served.address, "GET /api/tasks/sales/a.b", &[], "").await.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_a_token_opens_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let toml =
        format!("[dashboard]\nlisten = \"0.0.0.0:0\"\ntoken_file = {:?}\n", file.display().to_string());
    let token = "0123456789_abcdefghijklmnopqrstuvwxyz-ABCDE";
    std::fs::write(&file, token).unwrap();
    let served = Served::on(&toml).await;
    let address = SocketAddr::from(([127, 0, 0, 1], served.address.port()));
    let form = ask(address, "GET /", &[], "").await;
    assert!(form.status() == 401 && form.body.contains("action=\"/login\""), "{}", form.body);
    assert_eq!(ask(address, "GET /api/fleet", &[], "").await.status(), 401);
    assert_eq!(ask(address, "GET /page.js", &[], "").await.status(), 401);
    let bearer = format!("authorization: Bearer {token}");
    assert_eq!(ask(address, "GET /api/fleet", &[&bearer], "").await.status(), 503, "let in, no look yet");

    let wrong = ask(address, "POST /login", &[], "token=wrong").await;
    assert!(wrong.status() == 401 && wrong.body.contains("not the token"));
    let right = ask(address, "POST /login", &[], &format!("token={token}")).await;
    assert_eq!(right.status(), 303, "{}", right.body);
    let cookie = right.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let cookie = format!("cookie: {}", cookie.split(';').next().unwrap());
    let page = ask(address, "GET /", &[&cookie], "").await;
    assert!(page.status() == 200 && page.body.contains("/logout"));
    assert_eq!(ask(address, "POST /api/lanes/cloud/pause", &[&cookie], "").await.status(), 403, "unmarked");

    for _ in 0..20 {
        ask(address, "GET /api/fleet", &["authorization: Bearer guess"], "").await;
    }
    assert_eq!(ask(address, "GET /api/fleet", &["authorization: Bearer guess"], "").await.status(), 429);
    assert_eq!(
        ask(address, "POST /login", &[], &format!("token={token}")).await.status(),
        429,
        "no more guesses"
    );
    assert_eq!(ask(address, "GET /", &[&cookie], "").await.status(), 200, "a session goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_the_page_from_being_served_is_said() {
    let served = Served::new().await;
    let mut config = served.fleet.config.clone();
    config.dashboard.listen = served.address;
    let taken = crate::dashboard::open(&config).await.unwrap_err();
    assert!(matches!(taken, NotServed::Listen { .. }));
    let said = taken.to_string();
    assert!(said.contains(&served.address.to_string()) && said.contains("dashboard.listen"), "{said}");
    config.dashboard.listen = "0.0.0.0:0".parse().unwrap();
    config.dashboard.token_file = "/nowhere/dashboard.token".into();
    let said = crate::dashboard::open(&config).await.unwrap_err().to_string();
    assert!(said.contains("/nowhere/dashboard.token") && said.contains("trilane keys init"), "{said}");
}
