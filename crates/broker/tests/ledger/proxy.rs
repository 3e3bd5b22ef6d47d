//! Stands between a client and its server, and loses acknowledgements of the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The proxy. It ends with its runtime.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Where clients connect to.
    pub(crate) url: String,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    seen: AtomicU32,
    lost: AtomicU32,
}

impl Proxy {
    /// Passes everything on to `server`, but cuts the connection once the server has answered every
    /// `every`th publish to the ledger: stored or refused, nobody hears of it.
    pub(crate) async fn start(server: &str, every: u32) -> Self {
        let address = server.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&address).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&shared), every));
            }
        });
        Self { url, counts }
    }

    /// Acknowledgements lost so far.
    pub(crate) fn lost(&self) -> u32 {
        self.counts.lost.load(Ordering::Relaxed)
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, counts: Arc<Counts>, every: u32) {
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    let mut is_cutting = false;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(bytes @ 1..) = read else { return };
                if holds(&from_client[..bytes], b"HPUB spend.") {
                    is_cutting |= counts.seen.fetch_add(1, Ordering::Relaxed) % every == every - 1;
                }
                if server.write_all(&from_client[..bytes]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(bytes @ 1..) = read else { return };
                if is_cutting && holds(&from_server[..bytes], b"\"stream\":\"LEDGER\"") {
                    counts.lost.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                if client.write_all(&from_server[..bytes]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}
