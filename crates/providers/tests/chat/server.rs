//! An HTTP server on a port of the system's choice that answers as its script says, one connection a reply.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What to answer one request with.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    pieces: Vec<Vec<u8>>,
    hangs: bool,
    /// Bytes that `Content-Length` promises beyond those that are sent.
    missing: usize,
}

/// What a client sent, and what became of its connection.
#[derive(Debug)]
pub(crate) enum Seen {
    /// A whole request.
    Request {
        /// Request line and headers, in lower case.
        head: String,
        /// The body as JSON; null where there was none.
        body: serde_json::Value,
    },
    /// The client closed a connection that the server held open.
    HungUp,
}

/// The server. It ends with its runtime.
#[derive(Debug)]
pub(crate) struct Server {
    /// Base URL, such as `http://127.0.0.1:40123`.
    pub(crate) url: String,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, pieces: vec![body.to_string().into_bytes()], hangs: false, missing: 0 }
    }

    /// A stream that ends with the last of `pieces`.
    pub(crate) fn stream<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let headers = vec![("content-type", "text/event-stream; charset=utf-8".to_owned())];
        let pieces = pieces.into_iter().map(<[u8]>::to_vec).collect();
        Self { status: 200, headers, pieces, hangs: false, missing: 0 }
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Keeps the connection open after the last piece, until the client closes it.
    #[must_use]
    pub(crate) fn hanging(mut self) -> Self {
        self.hangs = true;
        self
    }

    /// Promises more bytes than it sends, so that the end comes as a broken connection.
    #[must_use]
    pub(crate) fn broken(mut self) -> Self {
        self.missing = 10;
        self
    }

    fn head(&self) -> String {
        let length: usize = self.pieces.iter().map(Vec::len).sum();
        let mut head = format!("HTTP/1.1 {} Scripted\r\nconnection: close\r\n", self.status);
        if !self.hangs {
            head += &format!("content-length: {}\r\n", length + self.missing);
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "\r\n"
    }
}

impl Server {
    /// Answers the first connections with `replies`, in order, and no more after them.
    pub(crate) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for reply in replies {
                let (connection, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(connection, reply, sender.clone()));
            }
        });
        Self { url, seen }
    }

    /// The next request: its head in lower case, and its body.
    pub(crate) async fn request(&mut self) -> (String, serde_json::Value) {
        match self.seen.recv().await {
            Some(Seen::Request { head, body }) => (head, body),
            other => panic!("expected a request, found {other:?}"),
        }
    }

    /// Waits until a client closes a connection that was held open.
    pub(crate) async fn hang_up(&mut self) {
        let seen = self.seen.recv().await;
        assert!(matches!(seen, Some(Seen::HungUp)), "expected the end of a connection, found {seen:?}");
    }

    /// Whether no request was seen since the last one that was asked for.
    pub(crate) fn is_untouched(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }
}

async fn serve(mut connection: TcpStream, reply: Reply, seen: mpsc::UnboundedSender<Seen>) {
    connection.set_nodelay(true).unwrap();
    let Some((head, body)) = read_request(&mut connection).await else { return };
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let _ = seen.send(Seen::Request { head: head.to_lowercase(), body });
    // A client that gives up in the middle is part of some scripts; the write fails then.
    let _ = connection.write_all(reply.head().as_bytes()).await;
    for piece in &reply.pieces {
        let _ = connection.write_all(piece).await;
    }
    if reply.hangs {
        let mut rest = [0; 64];
        while connection.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        let _ = seen.send(Seen::HungUp);
    }
}

async fn read_request(connection: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head
        .to_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = bytes.split_off(end);
    while body.len() < length.unwrap_or(0) {
        if connection.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, body))
}
