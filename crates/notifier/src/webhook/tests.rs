//! Receivers that take, refuse, fail and hang.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc as std_mpsc;

use super::*;

/// A receiver that answers each post in turn with these statuses, and passes on what it got.
fn receiver(statuses: &'static [u16]) -> (String, std_mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?token=hidden", listener.local_addr().unwrap());
    let (sender, posts) = std_mpsc::channel();
    std::thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            sender.send(read_post(&mut stream)).unwrap();
            write!(
                stream,
                "HTTP/1.1 {status} x\r\nContent-Length: 0\r\nLocation: /else\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
        }
    });
    (url, posts)
}

fn read_post(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        text.extend_from_slice(&buffer[..read]);
        let so_far = String::from_utf8_lossy(&text);
        let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if read == 0 || length.is_some_and(|length: usize| body.len() >= length) {
            return so_far.into_owned();
        }
    }
}

fn poster(url: &str, tries: u32) -> Poster {
    let secret = Some(SecretString::from("key"));
    Poster { client: client().unwrap(), url: url.into(), secret, tries, first_delay: Duration::ZERO }
}

fn alert() -> Alert {
    Alert::new("lane_slow", "cloud", "slow", Timestamp::UNIX_EPOCH)
}

#[test]
fn the_signature_is_hmac_sha_256_of_time_and_body() {
    // printf '1.what' | openssl dgst -sha256 -hmac key
    let expected = "t=1,v1=b6b45cf108d2482e3d0a6bfa646dd741f89e0309042cffd8697280bb0c68bbcf";
    assert_eq!(signature(&SecretString::from("key"), 1, b"what"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_posted_with_its_signature_and_id() {
    let (url, posts) = receiver(&[204]);
    poster(&url, 1).deliver(&alert()).await;
    let post = posts.recv().unwrap();
    let (head, body) = post.split_once("\r\n\r\n").unwrap();
    assert_eq!(Encoding::Json.decode::<Alert>(body.as_bytes()).unwrap(), alert());
    let header = |name: &str| {
        let lines = head.lines();
        lines
            .filter_map(|line| line.split_once(": "))
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .unwrap()
            .1
    };
    let time = header(SIGNATURE).strip_prefix("t=").unwrap().split_once(',').unwrap().0.parse().unwrap();
    assert_eq!(header(SIGNATURE), signature(&SecretString::from("key"), time, body.as_bytes()));
    assert_eq!(header(ALERT_ID), "lane_slow.cloud.0.raised");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_tried_again_and_one_that_refuses_is_not() {
    let (url, posts) = receiver(&[500, 429, 503, 200]);
    poster(&url, 10).deliver(&alert()).await;
    assert_eq!(posts.iter().count(), 4, "until it has taken it, and not once more");
    let (url, posts) = receiver(&[400, 200]);
    poster(&url, 10).deliver(&alert()).await;
    poster(&url, 10).deliver(&alert()).await;
    assert_eq!(posts.iter().count(), 2, "one for each alert");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_never_takes_it_is_given_up_after_so_many_tries() {
    let (url, posts) = receiver(&[500, 500, 500]);
    poster(&url, 3).deliver(&alert()).await;
    assert_eq!(posts.iter().count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_not_sent_where_a_receiver_points() {
    let (url, posts) = receiver(&[307, 200]);
    assert_eq!(
        poster(&url, 1).post(&alert(), Timestamp::UNIX_EPOCH).await,
        Answer::Later("307 Temporary Redirect".into())
    );
    assert_eq!(posts.recv().unwrap().lines().next().unwrap(), "POST /hook?token=hidden HTTP/1.1");
    assert!(posts.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_up_nobody_and_misses_the_newest() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (taking, posts) = receiver(&[200]);
    let hook = |url: String| Webhook { url, secret_file: None, kinds: vec![] };
    let webhooks = Webhooks::start(&[hook(url), hook(taking)]).unwrap();
    drop(webhooks.tell(&alert()));
    assert!(posts.recv().unwrap().contains("slow"), "the other is told");
    (0..2 * MAX_WAITING).for_each(|_| drop(webhooks.tell(&alert())));
    assert_eq!(webhooks.0[0].waiting.capacity(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_kinds_that_a_receiver_wants_are_posted() {
    let (url, posts) = receiver(&[200]);
    let webhooks =
        Webhooks::start(&[Webhook { url, secret_file: None, kinds: vec!["zombies".into()] }]).unwrap();
    webhooks.tell(&alert()).await;
    webhooks.tell(&Alert { kind: "zombies".into(), ..alert() }).await;
    assert!(posts.recv().unwrap().contains("zombies"));
}

#[tokio::test]
async fn a_secret_that_is_not_there_or_empty_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    for (path, expected) in [(empty, "is empty"), (folder.path().join("none"), "No such file")] {
        let hook = Webhook { url: "http://h/".into(), secret_file: Some(path.clone()), kinds: vec![] };
        let error = Webhooks::start(&[hook]).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_url_is_shown_without_its_secrets() {
    assert_eq!(shown("https://user:pass@hooks.example.org:8443/T0/secret?x=y"), "hooks.example.org:8443");
    assert_eq!(shown("http://h"), "h");
    assert_eq!(shown("https://h/hook?x@SECRET"), "h");
}
