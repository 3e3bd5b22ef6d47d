//! Detectors of secrets and personal data: pure, without a model, and quick enough to run on every task.
//!
//! They can only raise a task's sensitivity, so an error to one side costs trust and an error to the other costs a
//! few cents of cloud quality. The operating point leans accordingly: numbers with check digits, e-mail, phone and IP
//! addresses are found wherever they are well-formed; names and addresses by rules and lists that hit most full names,
//! at the price of hitting public figures who are not among the few hundred that everybody knows. A lone first name
//! counts only where the text speaks of a person as no exercise does: half of all school exercises have one. A lone
//! surname does not count: it is a theorem's, a brand's or an author's as often. [`measure`] and `trilane screen` tell what
//! this costs on texts of one's own; at most one everyday request in fifty may be kept local for nothing.
//!
//! Disguises are undone first ([`fold`]): full-width letters, foreign digits, zero-width characters, odd dashes.
//! Out of scope, and better served by the `private` tag: keys that are split over lines, base-64 other than JSON Web
//! Tokens, look-alike letters of other alphabets, names in small letters, pictures, and text that only a reader would
//! know to be confidential.
//!
//! Modules in reading order: [`kind`] what can be found, [`fold`] disguises, `cues` the words that one automaton looks
//! for, `secrets`, `contact`, `groups` runs of digits, `checks` check digits, `numbers`, `phones`, `identity`, `words`,
//! `names` with `name_lists`
//! and `spoken_of`, `addresses` with `street_words`.

mod addresses;
mod checks;
mod contact;
mod cues;
pub mod fold;
mod groups;
mod identity;
pub mod kind;
pub mod measure;
mod name_lists;
mod names;
mod numbers;
mod phones;
mod secrets;
mod spoken_of;
mod street_words;
mod words;

#[cfg(test)]
mod everyday;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::LazyLock;

pub use kind::{Hit, Kind};

use cues::{Contexts, Cue, Cues};
use groups::Groups;
use kind::Tally;
use names::Names;

/// All detectors, built once.
#[derive(Debug)]
pub struct Detectors {
    cues: Cues,
    names: Names,
}

impl Detectors {
    /// The detectors of this process.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Detectors> =
            LazyLock::new(|| Detectors { cues: Cues::new(), names: Names::new() });
        &SHARED
    }

    /// What `text` holds, by kind; empty where nothing was found. Takes time linear in the length of the text.
    ///
    /// ```
    /// use trilane_routing::detect::{Detectors, Kind};
    ///
    /// let hits = Detectors::shared().scan("Write to ada [at] example [dot] org about card 4111 1111 1111 1111");
    /// assert_eq!(hits.iter().map(|hit| hit.kind).collect::<Vec<_>>(), [Kind::Email, Kind::CreditCard]);
    /// ```
    pub fn scan(&self, text: &str) -> Vec<Hit> {
        let folded = fold::fold(text);
        let text = folded.as_ref();
        let mut tally = Tally::default();
        let contexts = self.follow_cues(text, &mut tally);
        contact::count_emails(text, &mut tally);
        contact::count_hardware_and_ipv6(text, &mut tally);
        numbers::count_numbers(&Groups::of(text), &contexts, &mut tally);
        identity::count_named_numbers(text, &contexts, &mut tally);
        let words = words::split(text);
        self.names.count(text, &words, &contexts, &mut tally);
        addresses::count_addresses(&words, &contexts, &mut tally);
        tally.into_hits()
    }

    /// Counts what the cues lead to, and collects the words that other detectors ask for.
    fn follow_cues(&self, text: &str, tally: &mut Tally) -> Contexts {
        let mut contexts = Contexts::default();
        for (cue, place) in self.cues.find(text) {
            match cue {
                Cue::Context(context) => contexts.push(context, place),
                cue => announced(text, cue, &place).into_iter().for_each(|kind| tally.add(kind)),
            }
        }
        contexts
    }
}

/// What stands at a cue, if it holds what it promises.
fn announced(text: &str, cue: Cue, place: &Range<usize>) -> Option<Kind> {
    let (before, word, rest) = (&text[..place.start], &text[place.clone()], &text[place.end..]);
    let (kind, holds) = match cue {
        Cue::Key(shape) => (Kind::ApiKey, secrets::is_key(rest, shape)),
        Cue::PrivateKey => (Kind::PrivateKey, secrets::is_private_key(word, rest)),
        Cue::JsonWebToken => (Kind::JsonWebToken, secrets::is_json_web_token(&text[place.start..])),
        Cue::Url => (Kind::ConnectionString, secrets::has_password(before, rest)),
        Cue::Password => (Kind::Password, secrets::is_password_assigned(word, rest)),
        Cue::Token => (Kind::SecretToken, secrets::is_token_near(rest)),
        Cue::Bearer => (Kind::SecretToken, secrets::is_bearer_token(rest)),
        Cue::ObfuscatedAt => (Kind::Email, contact::is_obfuscated_email(before, word, rest)),
        Cue::Context(_) => return None,
    };
    holds.then_some(kind)
}

/// Whether a blank line lies in `place`. Words speak for what follows in their paragraph, not for the next one.
fn has_blank_line(text: &[u8], place: Range<usize>) -> bool {
    text.get(place).is_some_and(|between| memchr::memmem::find(between, b"\n\n").is_some())
}
