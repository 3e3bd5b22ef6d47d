//! Numbers that only the words beside them give away: passports, licences, records, accounts, dates of birth.

use std::ops::Range;

use super::cues::{Context, Contexts};
use super::kind::{Kind, Tally};

/// Counts what stands behind the context words of each kind.
pub(super) fn count_named_numbers(text: &str, contexts: &Contexts, tally: &mut Tally) {
    const NAMED: [(Context, Kind, Needs); 5] = [
        (Context::Passport, Kind::Passport, Needs { digits: 5, least: 6, most: 12 }),
        (Context::DriverLicence, Kind::DriverLicence, Needs { digits: 4, least: 5, most: 20 }),
        (Context::Medical, Kind::MedicalRecord, Needs { digits: 5, least: 5, most: 20 }),
        (Context::Account, Kind::AccountNumber, Needs { digits: 5, least: 5, most: 34 }),
        (Context::NationalId, Kind::NationalId, Needs { digits: 6, least: 7, most: 20 }),
    ];
    for (context, kind, needs) in NAMED {
        let found = contexts.places(context).filter(|place| has_number(window(text, place), needs)).count();
        (0..found).for_each(|_| tally.add(kind));
    }
    let dates = contexts.places(Context::DateOfBirth).filter(|place| has_date(window(text, place))).count();
    (0..dates).for_each(|_| tally.add(Kind::DateOfBirth));
}

/// What a number must look like to count, in characters.
#[derive(Clone, Copy)]
struct Needs {
    digits: usize,
    least: usize,
    most: usize,
}

/// How far behind its words a number may stand, bytes: about six words.
const WINDOW_BYTES: usize = 40;

/// The text behind a cue, up to a blank line. Cut at bytes, which digits and ASCII letters survive.
fn window<'a>(text: &'a str, place: &Range<usize>) -> &'a [u8] {
    let rest = &text.as_bytes()[place.end..];
    let rest = &rest[..rest.len().min(WINDOW_BYTES)];
    &rest[..memchr::memmem::find(rest, b"\n\n").unwrap_or(rest.len())]
}

/// One token of letters and digits, or groups of digits with single spaces or hyphens.
fn has_number(window: &[u8], needs: Needs) -> bool {
    let mut digits = 0;
    let mut length = 0;
    for (index, byte) in window.iter().enumerate() {
        let next_is_digit = window.get(index + 1).is_some_and(u8::is_ascii_digit);
        if byte.is_ascii_alphanumeric() {
            length += 1;
            digits += usize::from(byte.is_ascii_digit());
        } else if !(digits > 0 && next_is_digit && matches!(byte, b' ' | b'-')) && *byte != b'-' {
            (digits, length) = (0, 0);
        }
        let ends = !window.get(index + 1).is_some_and(u8::is_ascii_alphanumeric);
        if ends && digits >= needs.digits && (needs.least..=needs.most).contains(&length) {
            return true;
        }
    }
    false
}

const MONTHS: [&[u8]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];

/// A full date: three numbers with a sign between, or a day, a month's name and a year.
fn has_date(window: &[u8]) -> bool {
    let mut numbers = 0;
    let mut has_month = false;
    for part in window.split(|byte| !byte.is_ascii_alphanumeric()).filter(|part| !part.is_empty()) {
        let is_number = part.iter().all(u8::is_ascii_digit) && part.len() <= 8;
        let ordinal = part.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if is_number && part.len() == 8 {
            return true;
        }
        if is_number && part.len() <= 4 || (1..=2).contains(&ordinal) && part.len() == ordinal + 2 {
            numbers += 1;
        } else if part.len() >= 3 && MONTHS.iter().any(|month| part[..3].eq_ignore_ascii_case(month)) {
            has_month = true;
        }
    }
    numbers >= 3 || has_month && numbers >= 2
}
