//! The server's configuration of who may do what: accounts, what they export and import, and their users.
//!
//! Cloud workers and producers live in accounts of their own. An account is a space of subjects: a message reaches
//! another one only through an export, and the server answers a request on its way back through that same door. So a
//! reply subject that names something in the core (the server would publish its answer there) stays in the account
//! of whoever tried it.

use std::collections::BTreeMap;
use std::fmt::Write;

use trilane_protocol::streams::{CANCELLED, LANE_CLOUD, LEDGER, RESULTS, WORKERS};
use trilane_protocol::subjects;

use crate::permissions::{Lanes, Permissions};
use crate::role::{Account, Role};

/// The user that clients without credentials are taken for.
const ANONYMOUS: &str = "anonymous";

/// One way out of the core.
struct Door {
    /// The subject in the core.
    subject: String,
    kind: Kind,
    /// Whom it leads to.
    to: Account,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Requests come in, one answer goes back.
    Service,
    /// Requests come in, many answers go back.
    Streamed,
    /// Messages go out.
    Stream,
}

fn doors() -> Vec<Door> {
    use Account::{Cloud, Producers};
    use Kind::{Service, Stream, Streamed};
    let door = |subject: &str, kind, to| Door { subject: subject.to_owned(), kind, to };
    let api = Account::Core.api_prefix();
    vec![
        door(&format!("{api}.CONSUMER.INFO.{LANE_CLOUD}.*"), Service, Cloud),
        door(&format!("{api}.CONSUMER.MSG.NEXT.{LANE_CLOUD}.*"), Streamed, Cloud),
        door(&format!("$JS.ACK.{LANE_CLOUD}.>"), Service, Cloud),
        door("return.*", Service, Cloud),
        door(subjects::REROUTES, Service, Cloud),
        door(subjects::PARTIALS, Service, Cloud),
        door(&format!("$KV.{WORKERS}.cloud.*"), Service, Cloud),
        door(subjects::SPENDING, Service, Cloud),
        door(&format!("{api}.DIRECT.GET.{LEDGER}"), Service, Cloud),
        door(&format!("{api}.DIRECT.GET.{LEDGER}.>"), Service, Cloud),
        door(&format!("{api}.DIRECT.GET.{CANCELLED}.>"), Service, Cloud),
        door("alert.*.*", Service, Cloud),
        door(subjects::CANCELLED, Stream, Cloud),
        door(subjects::TASKS, Service, Producers),
        door(subjects::CANCELS, Service, Producers),
        door(&format!("{api}.DIRECT.GET.{RESULTS}.>"), Service, Producers),
        door("results.*.*", Stream, Producers),
        door(subjects::PARTIALS, Stream, Producers),
    ]
}

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

impl Accounts<'_> {
    /// The text of the configuration, to be included in the server's.
    pub fn render(&self) -> String {
        let mut text = String::from(
            "# Who may do what. Written by `trilane keys init` and `trilane up`: changes are overwritten.\n\naccounts {\n",
        );
        for account in Account::ALL {
            // Writing to a string never fails.
            let _ = writeln!(text, "  {} {{", account.as_str());
            match account {
                Account::Core => {
                    text.push_str("    jetstream: enabled\n    exports: [\n");
                    exports().for_each(|line| text.push_str(&line));
                }
                Account::Cloud | Account::Producers => {
                    text.push_str("    imports: [\n");
                    imports(account).for_each(|line| text.push_str(&line));
                }
            }
            text.push_str("    ]\n    users: [\n");
            self.users_of(account).for_each(|line| text.push_str(&line));
            text.push_str("    ]\n  }\n");
        }
        text.push_str("}\n");
        if self.anonymous.is_some() {
            let _ = writeln!(text, "no_auth_user: {ANONYMOUS}");
        }
        text
    }

    fn users_of(&self, account: Account) -> impl Iterator<Item = String> {
        let keyed = self.users.iter().filter(move |(role, _)| role.account() == account);
        let keyed = keyed.map(|(role, public_key)| {
            user(&format!("nkey: {public_key}"), &Permissions::of(role, self.lanes))
        });
        let anonymous =
            self.anonymous.iter().filter(move |_| account == Account::Producers).map(|password| {
                user(&format!("user: {ANONYMOUS}, password: \"{password}\""), &Permissions::anonymous())
            });
        keyed.chain(anonymous)
    }
}

/// A subject that leads to several accounts is exported once for each kind.
fn exports() -> impl Iterator<Item = String> {
    let mut exported = BTreeMap::<(bool, String), (Kind, Vec<&str>)>::new();
    for Door { subject, kind, to } in doors() {
        let key = (kind == Kind::Stream, subject);
        exported.entry(key).or_insert((kind, Vec::new())).1.push(to.as_str());
    }
    exported.into_iter().map(|((_, subject), (kind, accounts))| {
        let accounts = accounts.join(", ");
        match kind {
            Kind::Service => format!("      {{ service: \"{subject}\", accounts: [{accounts}] }}\n"),
            Kind::Streamed => {
                format!("      {{ service: \"{subject}\", response_type: stream, accounts: [{accounts}] }}\n")
            }
            Kind::Stream => format!("      {{ stream: \"{subject}\", accounts: [{accounts}] }}\n"),
        }
    })
}

fn imports(account: Account) -> impl Iterator<Item = String> {
    let core = Account::Core;
    doors().into_iter().filter(move |door| door.to == account).map(move |Door { subject, kind, .. }| {
        let kind = if kind == Kind::Stream { "stream" } else { "service" };
        let source = format!("{{ account: {}, subject: \"{subject}\" }}", core.as_str());
        match subject.strip_prefix(core.api_prefix()) {
            Some(request) => {
                let to = format!("{}{request}", account.api_prefix());
                format!("      {{ {kind}: {source}, to: \"{to}\" }}\n")
            }
            None => format!("      {{ {kind}: {source} }}\n"),
        }
    })
}

fn user(identity: &str, permissions: &Permissions) -> String {
    format!(
        "      {{ {identity}, permissions: {{\n          publish: {{ allow: [{}] }}\n          subscribe: {{ allow: [{}] }} }} }}\n",
        quoted(&permissions.publish),
        quoted(&permissions.subscribe)
    )
}

fn quoted(subjects: &[String]) -> String {
    subjects.iter().map(|subject| format!("\"{subject}\"")).collect::<Vec<_>>().join(", ")
}
