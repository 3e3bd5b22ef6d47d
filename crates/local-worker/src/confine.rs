//! Takes this process's own right away to open TCP connections, but to the queue.
//!
//! Nothing here makes connections elsewhere; this holds whatever else should ever run in the process to that. It rests
//! on Landlock (Linux 6.7), which knows ports and no addresses, and neither UDP nor Unix sockets: a second net, and no
//! firewall. It cannot be undone, and holds for threads and processes that are started afterwards.

use trilane_service::config::Isolation;

/// The port of a server whose URL names none.
const DEFAULT_PORT: u16 = 4222;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confinement {
    /// Connections go to these ports and nowhere else.
    To(Vec<u16>),
    /// The kernel cannot, and it is not required.
    Unavailable(String),
    /// It is not wanted.
    Off,
}

/// Why a worker does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process cannot be confined to the queue: {0}; it takes Linux 6.7 or later with Landlock, or set \
     security.isolate_local to \"auto\""
)]
pub struct NotConfined(String);

/// Confines this process to the ports of `url`. Call it before any thread is started: those that run stay as they are.
///
/// # Errors
/// [`NotConfined`] where it is required and the kernel cannot.
pub fn put_in_force(isolation: Isolation, url: &str) -> Result<Confinement, NotConfined> {
    if isolation == Isolation::Off {
        return Ok(Confinement::Off);
    }
    let ports = ports_of(url);
    match restrict_to(&ports) {
        Ok(()) => Ok(Confinement::To(ports)),
        Err(reason) if isolation == Isolation::Require => Err(NotConfined(reason)),
        Err(reason) => Ok(Confinement::Unavailable(reason)),
    }
}

impl Confinement {
    /// One line in the log. It is in force before there is one.
    pub fn tell(&self) {
        match self {
            Self::To(ports) => tracing::info!(?ports, "TCP connections of this process go to the queue only"),
            Self::Unavailable(reason) => tracing::warn!(
                reason,
                "this process could open connections elsewhere, as the kernel cannot keep it from that; see \
                 security.isolate_local"
            ),
            Self::Off => {}
        }
    }
}

/// The ports of one or more server URLs with commas between them.
fn ports_of(url: &str) -> Vec<u16> {
    let port_of = |server: &str| {
        let rest = server.trim().split_once("://").map_or(server.trim(), |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let port = host_and_port.rsplit_once(':').map(|(_, port)| port);
        port.and_then(|port| port.parse().ok()).unwrap_or(DEFAULT_PORT)
    };
    let mut ports: Vec<u16> = url.split(',').map(port_of).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(target_os = "linux")]
fn restrict_to(ports: &[u16]) -> Result<(), String> {
    use landlock::{
        AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    };
    let restrict = || {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessNet::ConnectTcp)?
            .create()?;
        let rules =
            ports.iter().map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp)));
        ruleset.add_rules(rules)?.restrict_self()?;
        Ok(())
    };
    restrict().map_err(|error: RulesetError| error.to_string())
}

#[cfg(not(target_os = "linux"))]
fn restrict_to(_ports: &[u16]) -> Result<(), String> {
    Err("this system has no Landlock".into())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;

    #[test]
    fn each_server_s_port_counts_once() {
        assert_eq!(ports_of("nats://127.0.0.1:4333"), [4333]);
        assert_eq!(ports_of("tls://user:secret@a.lan:4333, b.lan,nats://[::1]:4333/x"), [4222, 4333]);
        assert_eq!(ports_of("[::1]"), [4222]);
    }

    #[test]
    fn what_is_off_changes_nothing() {
        let outcome = put_in_force(Isolation::Off, "nats://127.0.0.1:1").unwrap();
        assert_eq!(outcome, Confinement::Off);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    }

    /// In a thread of its own, which takes the restriction with it when it ends.
    #[test]
    fn a_confined_thread_and_its_children_reach_the_queue_and_nothing_else() {
        let queue = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let (queue, other) = (queue.local_addr().unwrap(), other.local_addr().unwrap());
        TcpStream::connect(other).unwrap();
        let confined = thread::spawn(move || {
            let outcome = put_in_force(Isolation::Auto, &format!("nats://{queue}")).unwrap();
            if let Confinement::Unavailable(reason) = &outcome {
                eprintln!("not tested: {reason}");
                assert!(put_in_force(Isolation::Require, "nats://127.0.0.1:1").is_err());
                return;
            }
            assert_eq!(outcome, Confinement::To(vec![queue.port()]));
            TcpStream::connect(queue).unwrap();
            let refused = |at| TcpStream::connect(at).unwrap_err().kind();
            assert_eq!(refused(other), ErrorKind::PermissionDenied);
            assert_eq!(thread::spawn(move || refused(other)).join().unwrap(), ErrorKind::PermissionDenied);
        });
        confined.join().unwrap();
        TcpStream::connect(other).unwrap();
    }
}
