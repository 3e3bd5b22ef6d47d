//! A plain NATS client that tries things, and hears what the server says to them.

use std::sync::{Arc, Mutex};

use async_nats::{Client, ConnectOptions, Event};
use trilane_testkit::eventually;
use trilane_trust::{Keys, Role};

use super::attempts::{Attempt, publish};

/// A plain client with somebody's key.
pub(super) struct Attacker {
    pub(super) client: Client,
    inbox: String,
    errors: Arc<Mutex<Vec<String>>>,
}

impl Attacker {
    pub(super) async fn new(url: &str, keys: &Keys, role: Option<&Role>) -> Self {
        let errors = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&errors);
        let seed = role.map(|role| keys.user_seed(role).unwrap().unwrap());
        let inbox = role.map_or_else(|| "_INBOX".to_owned(), Role::inbox_prefix);
        let options = seed.map_or_else(ConnectOptions::new, ConnectOptions::with_nkey);
        let options = options.custom_inbox_prefix(inbox.clone()).event_callback(move |event| {
            if let Event::ServerError(error) = event {
                noted.lock().unwrap().push(error.to_string());
            }
            std::future::ready(())
        });
        Self { client: options.connect(url).await.unwrap(), inbox, errors }
    }

    /// Tries everything; returns what was not refused.
    pub(super) async fn try_all(&self, attempts: &[Attempt]) -> Vec<String> {
        let mut passed = Vec::new();
        for (round, attempts) in attempts.chunks(AT_ONCE).enumerate() {
            for attempt in attempts {
                self.attempt(attempt).await;
            }
            // A last one that is refused for certain: the server answers in order, so all answers are there after it.
            let last = publish(format!("surely.refused.{round}"), "");
            self.attempt(&last).await;
            eventually("the last answer", || std::future::ready(self.is_refused(&last).then_some(()))).await;
            for attempt in attempts {
                match self.is_refused(attempt) {
                    true => println!("{}: {}", attempt.describe(), attempt.refusal()),
                    false => passed.push(attempt.describe()),
                }
            }
            self.errors.lock().unwrap().clear();
        }
        passed
    }

    async fn attempt(&self, attempt: &Attempt) {
        match attempt {
            Attempt::Publish(subject, payload) => {
                let answer = format!("{}.answer", self.inbox);
                self.client.publish_with_reply(subject.clone(), answer, (*payload).into()).await.unwrap();
            }
            // It is refused at once or not at all; what it would hear does not matter here.
            Attempt::Hear(subject) => drop(self.client.subscribe(subject.clone()).await.unwrap()),
        }
    }

    fn is_refused(&self, attempt: &Attempt) -> bool {
        let refusal = attempt.refusal();
        self.errors.lock().unwrap().iter().any(|error| error.contains(&refusal))
    }
}

/// Attempts at once: the client forgets errors that nobody takes in time.
const AT_ONCE: usize = 8;
