//! A TCP proxy on a port that the system chooses, which cuts, slows down or swallows what goes through it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Bytes that one direction of a connection holds at most; the rest waits with its sender.
const BUFFER_BYTES: usize = 64 * 1024;

/// Stands between clients and servers. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    swallowed: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

/// What happens to bytes that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    Delay(Duration),
    Swallow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    mode: Mode,
    /// Connections that were made under an older number are over.
    generation: u64,
}

impl Proxy {
    /// Starts a proxy in front of `upstreams`. A connection goes to the first of them that answers, beginning
    /// with another one each time; where none does, it is closed.
    ///
    /// # Errors
    /// What the system says where no port can be bound.
    pub async fn start(upstreams: Vec<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (state, states) = watch::channel(State { mode: Mode::Forward, generation: 0 });
        let swallowed = Arc::new(AtomicU64::new(0));
        let accepting = tokio::spawn(accept(listener, upstreams, states, Arc::clone(&swallowed)));
        Ok(Self { address, state, swallowed, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection; new ones are served.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    /// Holds every piece back for `length` before it goes on.
    pub fn delay(&self, length: Duration) {
        self.state.send_modify(|state| state.mode = Mode::Delay(length));
    }

    /// Half-open: connections stay, new ones are accepted, and whatever is sent is gone, both ways.
    pub fn swallow(&self) {
        self.state.send_modify(|state| state.mode = Mode::Swallow);
    }

    /// Forwards again. Connections that have lost bytes cannot go on, so after [`Proxy::swallow`] all are closed.
    pub fn heal(&self) {
        self.state.send_modify(|state| {
            if state.mode == Mode::Swallow {
                state.generation += 1;
            }
            state.mode = Mode::Forward;
        });
    }

    /// Bytes that were swallowed until now.
    pub fn swallowed_bytes(&self) -> u64 {
        self.swallowed.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    upstreams: Vec<SocketAddr>,
    states: watch::Receiver<State>,
    swallowed: Arc<AtomicU64>,
) {
    let upstreams = Arc::new(upstreams);
    let turn = AtomicUsize::new(0);
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let first = turn.fetch_add(1, Ordering::Relaxed);
        let serving = serve(client, Arc::clone(&upstreams), first, states.clone(), Arc::clone(&swallowed));
        connections.spawn(serving);
        while connections.try_join_next().is_some() {}
    }
}

/// One connection, until one side closes it or it is cut.
async fn serve(
    client: TcpStream,
    upstreams: Arc<Vec<SocketAddr>>,
    first: usize,
    mut states: watch::Receiver<State>,
    swallowed: Arc<AtomicU64>,
) {
    let State { mode, generation } = *states.borrow();
    let (forth, back) = (states.clone(), states.clone());
    let traffic = async {
        let _ = client.set_nodelay(true);
        let (from_client, to_client) = client.into_split();
        if mode == Mode::Swallow {
            return pump(from_client, None, forth, &swallowed).await;
        }
        let Some(server) = connect(&upstreams, first).await else { return };
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            () = pump(from_client, Some(to_server), forth, &swallowed) => {}
            () = pump(from_server, Some(to_client), back, &swallowed) => {}
        }
    };
    tokio::select! {
        () = traffic => {}
        _ = states.wait_for(|state| state.generation != generation) => {}
    }
}

async fn connect(upstreams: &[SocketAddr], first: usize) -> Option<TcpStream> {
    for turn in 0..upstreams.len() {
        let server = TcpStream::connect(upstreams[(first + turn) % upstreams.len()]).await;
        if let Ok(server) = server {
            let _ = server.set_nodelay(true);
            return Some(server);
        }
    }
    None
}

/// One direction, until it ends. Without a target everything is swallowed.
async fn pump(
    mut source: OwnedReadHalf,
    mut target: Option<OwnedWriteHalf>,
    states: watch::Receiver<State>,
    swallowed: &AtomicU64,
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let Ok(read @ 1..) = source.read(&mut buffer).await else { return };
        let mode = states.borrow().mode;
        match (&mut target, mode) {
            (None, _) | (_, Mode::Swallow) => {
                swallowed.fetch_add(read as u64, Ordering::Relaxed);
            }
            (Some(target), mode) => {
                if let Mode::Delay(length) = mode {
                    tokio::time::sleep(length).await;
                }
                if target.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventually::eventually;

    /// Sends back whatever it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = connection.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn connected(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(proxy.address()).await.unwrap()
    }

    async fn is_echoed(connection: &mut TcpStream, text: &[u8]) -> bool {
        let mut answer = vec![0; text.len()];
        connection.write_all(text).await.is_ok()
            && connection.read_exact(&mut answer).await.is_ok()
            && answer == text
    }

    async fn is_closed(connection: &mut TcpStream) -> bool {
        matches!(connection.read(&mut [0; 8]).await, Ok(0) | Err(_))
    }

    #[tokio::test]
    async fn what_is_sent_arrives_delayed_or_not() {
        let proxy = Proxy::start(vec![echo().await]).await.unwrap();
        let mut connection = connected(&proxy).await;
        assert!(is_echoed(&mut connection, b"hello").await);
        proxy.delay(Duration::from_millis(1));
        assert!(is_echoed(&mut connection, b"slowly").await);
        proxy.heal();
        assert!(is_echoed(&mut connection, b"again").await, "a delay costs no connection");
    }

    #[tokio::test]
    async fn a_cut_closes_what_is_open_and_nothing_else() {
        let proxy = Proxy::start(vec![echo().await]).await.unwrap();
        let mut connection = connected(&proxy).await;
        assert!(is_echoed(&mut connection, b"hello").await);
        proxy.cut();
        assert!(is_closed(&mut connection).await);
        assert!(is_echoed(&mut connected(&proxy).await, b"hello").await);
    }

    #[tokio::test]
    async fn half_open_connections_stay_and_say_nothing_until_they_are_closed() {
        let proxy = Proxy::start(vec![echo().await]).await.unwrap();
        let mut old = connected(&proxy).await;
        assert!(is_echoed(&mut old, b"hello").await);
        proxy.swallow();
        old.write_all(b"gone").await.unwrap();
        let mut new = connected(&proxy).await;
        new.write_all(b"gone too").await.unwrap();
        eventually("all of it is swallowed", || async { (proxy.swallowed_bytes() == 12).then_some(()) })
            .await;
        proxy.heal();
        assert!(is_closed(&mut old).await && is_closed(&mut new).await, "closed, and without an echo");
        assert!(is_echoed(&mut connected(&proxy).await, b"hello").await);
    }

    #[tokio::test]
    async fn the_next_upstream_is_taken_where_one_is_gone() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let proxy = Proxy::start(vec![gone, echo().await]).await.unwrap();
        for _ in 0..2 {
            assert!(is_echoed(&mut connected(&proxy).await, b"hello").await);
        }
        let nowhere = Proxy::start(vec![gone]).await.unwrap();
        assert!(is_closed(&mut connected(&nowhere).await).await);
    }
}
