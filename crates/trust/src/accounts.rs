//! The server's configuration of who may do what: accounts, what they export and import, and their users.
//!
//! Only the core holds streams. Every other account reaches it through what its roles may publish and hear, and through
//! nothing else: imports are made from the same permissions as users are, so neither can be wider than the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use trilane_protocol::subjects;

use crate::permissions::{Lanes, Permissions};
use crate::role::{Account, Role};

/// The user that clients without credentials are taken for.
const ANONYMOUS: &str = "anonymous";

/// What inboxes begin with; they never leave their account.
const INBOX: &str = "_INBOX";

/// What is said aloud and not stored. It goes from account to account: the server passes on nothing that came into the
/// core from elsewhere.
const ALOUD: [&str; 2] = [subjects::PARTIALS, subjects::ALERTS];

/// Everything that the configuration is made of.
#[derive(Debug, Clone)]
pub struct Accounts<'a> {
    /// The fleet's lanes.
    pub lanes: &'a Lanes,
    /// The public key of each role's user.
    pub users: &'a [(Role, String)],
    /// The password that no client sends, for the user that those without credentials are taken for. Absent: they
    /// are refused.
    pub anonymous: Option<String>,
}

/// One user of an account.
struct User {
    identity: String,
    permissions: Permissions,
}

/// How subjects cross the border of the core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Requests come in, one answer goes back.
    Service,
    /// Requests come in, many answers go back.
    Streamed,
    /// Messages go out.
    Stream,
}

impl Accounts<'_> {
    /// The text of the configuration, to be included in the server's.
    pub fn render(&self) -> String {
        let accounts = self.accounts();
        let mut text = String::from(
            "# Who may do what. Written by `trilane keys init` and `trilane up`: changes are overwritten.\n\naccounts {\n",
        );
        let outside = accounts.iter().filter(|(account, _)| **account != Account::Core);
        let exported = widest(outside.flat_map(|(_, users)| crossings(users)));
        for (account, users) in &accounts {
            // Writing to a string never fails.
            let _ = writeln!(text, "  \"{}\" {{", account.name());
            let is_core = *account == Account::Core;
            if is_core {
                text.push_str("    jetstream: enabled\n");
            }
            text.push_str("    exports: [\n");
            if is_core {
                exported.iter().for_each(|crossing| text.push_str(&export(crossing)));
            }
            said_aloud(users).for_each(|subject| text.push_str(&export(&(Kind::Stream, subject.to_owned()))));
            text.push_str("    ]\n    imports: [\n");
            if !is_core {
                widest(crossings(users))
                    .iter()
                    .for_each(|crossing| text.push_str(&import(account, crossing)));
            }
            heard_aloud(account, users, &accounts).iter().for_each(|line| text.push_str(line));
            text.push_str("    ]\n    users: [\n");
            users.iter().for_each(|user| text.push_str(&user.render()));
            text.push_str("    ]\n  }\n");
        }
        text.push_str("}\n");
        if self.anonymous.is_some() {
            let _ = writeln!(text, "no_auth_user: {ANONYMOUS}");
        }
        text
    }

    fn accounts(&self) -> BTreeMap<Account, Vec<User>> {
        let mut accounts = BTreeMap::<Account, Vec<User>>::new();
        for (role, public_key) in self.users {
            let identity = format!("nkey: {public_key}");
            let user = User { identity, permissions: Permissions::of(role, self.lanes) };
            accounts.entry(role.account()).or_default().push(user);
        }
        if let Some(password) = &self.anonymous {
            let identity = format!("user: {ANONYMOUS}, password: \"{password}\"");
            let user = User { identity, permissions: Permissions::anonymous() };
            accounts.entry(Account::Producers).or_default().push(user);
        }
        accounts
    }
}

/// What these users may say aloud.
fn said_aloud(users: &[User]) -> impl Iterator<Item = &'static str> {
    ALOUD.into_iter().filter(|aloud| {
        users.iter().flat_map(|user| &user.permissions.publish).any(|subject| covers(aloud, subject))
    })
}

/// What these users may hear of what others say aloud: an import from each account that says it.
fn heard_aloud(account: &Account, users: &[User], all: &BTreeMap<Account, Vec<User>>) -> Vec<String> {
    let mut heard: Vec<&String> = users.iter().flat_map(|user| &user.permissions.subscribe).collect();
    heard.retain(|subject| is_aloud(subject));
    heard.sort();
    heard.dedup();
    let is_covered = |subject: &str| heard.iter().any(|wider| *wider != subject && covers(wider, subject));
    let heard = heard.iter().filter(|subject| !is_covered(subject));
    heard
        .flat_map(|subject| {
            let others = all.iter().filter(move |(other, users)| {
                *other != account && said_aloud(users).any(|aloud| covers(aloud, subject))
            });
            others.map(move |(other, _)| {
                format!("      {{ stream: {{ account: \"{}\", subject: \"{subject}\" }} }}\n", other.name())
            })
        })
        .collect()
}

fn is_aloud(subject: &str) -> bool {
    ALOUD.iter().any(|aloud| covers(aloud, subject))
}

/// What these users need of the core, by the core's own names.
fn crossings(users: &[User]) -> impl Iterator<Item = (Kind, String)> {
    users.iter().flat_map(|user| {
        let requests = user.permissions.publish.iter().filter(|subject| !is_aloud(subject)).map(|subject| {
            let kind = if subject.contains(".CONSUMER.MSG.NEXT.") { Kind::Streamed } else { Kind::Service };
            (kind, in_the_core(subject))
        });
        let heard =
            user.permissions.subscribe.iter().filter(|subject| {
                !subject.starts_with(INBOX) && !subject.ends_with('>') && !is_aloud(subject)
            });
        requests.chain(heard.map(|subject| (Kind::Stream, subject.clone())))
    })
}

/// JetStream's own subjects have another name outside the core.
fn in_the_core(subject: &str) -> String {
    match subject.strip_prefix(Account::Cloud.api_prefix()) {
        Some(request) => format!("{}{request}", Account::Core.api_prefix()),
        None => subject.to_owned(),
    }
}

/// The crossings without those that others of their kind cover: the server takes the first that fits, in no order.
fn widest(crossings: impl Iterator<Item = (Kind, String)>) -> Vec<(Kind, String)> {
    let crossings: BTreeSet<_> = crossings.collect();
    let is_covered = |(kind, subject): &(Kind, String)| {
        crossings.iter().any(|(other, wider)| other == kind && wider != subject && covers(wider, subject))
    };
    crossings.iter().filter(|crossing| !is_covered(crossing)).cloned().collect()
}

/// Whether every subject that fits `subject` fits `wider` too.
fn covers(wider: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for token in wider.split('.') {
        match (token, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(found)) if found != ">" => {}
            (token, Some(found)) if token == found => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

fn export((kind, subject): &(Kind, String)) -> String {
    match kind {
        Kind::Service => format!("      {{ service: \"{subject}\" }}\n"),
        Kind::Streamed => format!("      {{ service: \"{subject}\", response_type: stream }}\n"),
        Kind::Stream => format!("      {{ stream: \"{subject}\" }}\n"),
    }
}

fn import(account: &Account, (kind, subject): &(Kind, String)) -> String {
    let core = Account::Core;
    let kind = if *kind == Kind::Stream { "stream" } else { "service" };
    let source = format!("{{ account: \"{}\", subject: \"{subject}\" }}", core.name());
    match subject.strip_prefix(core.api_prefix()) {
        Some(request) => {
            let to = format!("{}{request}", account.api_prefix());
            format!("      {{ {kind}: {source}, to: \"{to}\" }}\n")
        }
        None => format!("      {{ {kind}: {source} }}\n"),
    }
}

impl User {
    fn render(&self) -> String {
        format!(
            "      {{ {}, permissions: {{\n          publish: {{ allow: [{}] }}\n          subscribe: {{ allow: [{}] }} }} }}\n",
            self.identity,
            quoted(&self.permissions.publish),
            quoted(&self.permissions.subscribe)
        )
    }
}

fn quoted(subjects: &[String]) -> String {
    subjects.iter().map(|subject| format!("\"{subject}\"")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_subject_covers_a_narrower_one_and_not_the_other_way_round() {
        for (wider, subject, expected) in [
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("a.*", "a.>", false),
            ("a.b", "a.*", false),
            ("a.*.*", "a.b.*", true),
            ("a.b", "a.b", true),
        ] {
            assert_eq!(covers(wider, subject), expected, "{wider} {subject}");
        }
    }
}
