//! A server that lacks what the fleet needs is refused at once, with a message that says what to do.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use trilane_broker::{Broker, Role};
use trilane_service::config;

/// Greets one client as a NATS server of this version would, and answers its pings.
async fn greet(listener: TcpListener, version: &'static str, jetstream: bool) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let (reader, mut writer) = stream.split();
    let info = serde_json::json!({
        "server_id": "x", "server_name": "x", "version": version, "go": "go", "host": "127.0.0.1", "port": 0,
        "headers": true, "max_payload": 1_048_576, "proto": 1, "client_id": 1, "jetstream": jetstream,
    });
    writer.write_all(format!("INFO {info}\r\n").as_bytes()).await.unwrap();
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.starts_with("PING") {
            writer.write_all(b"PONG\r\n").await.unwrap();
        }
    }
}

async fn connect_to(version: &'static str, jetstream: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config::load_from(None, []).unwrap();
    config.nats.url = format!("nats://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(greet(listener, version, jetstream));
    let outcome = Broker::connect(&config, Role::Observer, "test").await;
    server.abort();
    outcome.map_or_else(|error| error.to_string(), |_| "connected".into())
}

#[tokio::test]
async fn a_server_before_2_12_is_refused() {
    for old in ["2.9.10", "2.11.99"] {
        let error = connect_to(old, true).await;
        assert!(error.contains(old) && error.contains("needs 2.12 or later"), "{error}");
    }
    for new in ["2.12.0", "2.15.1", "3.0.0"] {
        assert_eq!(connect_to(new, true).await, "connected");
    }
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    assert!(connect_to("2.15.1", false).await.contains("start it with `-js`"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let mut config = config::load_from(None, []).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    config.nats.url = format!("nats://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Broker::connect(&config, Role::Observer, "test").await.unwrap_err().to_string();
    assert!(error.contains(&config.nats.url) && error.contains("trilane up"), "{error}");
}
