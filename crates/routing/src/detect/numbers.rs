//! Cards, IBANs, national numbers, IPv4 addresses: numbers that prove themselves by check digits or shape.

use std::ops::Range;

use super::checks;
use super::contact::is_host_ipv4;
use super::cues::{Context, Contexts};
use super::groups::{Digits, Found, Groups, Link};
use super::kind::{Kind, Tally};
use super::phones;

/// Counts every number that a detector knows. A run of digits counts once, for the first kind that it proves.
pub(super) fn count_numbers(groups: &Groups<'_>, contexts: &Contexts, tally: &mut Tally) {
    let mut next = 0;
    while next < groups.list.len() {
        let found = NUMBERS.iter().find_map(|find| find(groups, next, contexts));
        if let Some((kind, _)) = found {
            tally.add(kind);
        }
        next = found.map_or(next + 1, |(_, end)| end.max(next + 1));
    }
}

/// Tried in this order, the strongest proof first.
const NUMBERS: [fn(&Groups<'_>, usize, &Contexts) -> Found; 7] =
    [iban, card, national, ipv4, social_security, identity_with_letters, phones::phone];

/// An IBAN: two letters, two check digits, then letters and digits in any grouping.
fn iban(groups: &Groups<'_>, first: usize, _: &Contexts) -> Found {
    let start = groups.list[first].place.start.checked_sub(2)?;
    let head = groups.bytes[start..start + 2].to_ascii_uppercase();
    if !head.iter().all(u8::is_ascii_uppercase) || groups.before(start).is_ascii_alphanumeric() {
        return None;
    }
    let length = checks::iban_length([head[0], head[1]])?;
    let mut characters = [0_u8; MAX_IBAN];
    let mut taken = 0;
    let mut at = start;
    while taken < length {
        match *groups.bytes.get(at)? {
            byte if byte.is_ascii_alphanumeric() => {
                characters[taken] = byte.to_ascii_uppercase();
                taken += 1;
            }
            b' ' | b'-' | b'.' if groups.bytes[at - 1].is_ascii_alphanumeric() => {}
            _ => return None,
        }
        at += 1;
    }
    let behind = first + groups.list[first..].iter().take_while(|group| group.place.start < at).count();
    (!groups.after(at).is_ascii_alphanumeric() && checks::iban_mod_97(&characters[..length]))
        .then_some((Kind::Iban, behind))
}

/// Longest IBAN of any country, characters.
const MAX_IBAN: usize = 34;

/// How card numbers are printed.
const CARD_SHAPES: [&[usize]; 6] =
    [&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 4, 4, 1], &[6, 13]];

/// A payment card: one run, the printed groups, or any grouping of exactly one number.
fn card(groups: &Groups<'_>, first: usize, _: &Contexts) -> Found {
    let start = groups.list[first].place.start;
    let is_fraction = groups.before(start) == b'.' && groups.link(first) == Link::Dot;
    if is_fraction {
        return None;
    }
    let proven = |end: usize| checks::is_card(&groups.digits(first..end)).then_some((Kind::CreditCard, end));
    if groups.length(first) >= 12 {
        return proven(first + 1);
    }
    let printed = |shape: &&&[usize]| {
        let link = groups.link(first + 1);
        matches!(link, Link::Space | Link::Hyphen | Link::Dot) && groups.has_shape(first, shape, link)
    };
    if let Some(found) = CARD_SHAPES.iter().filter(printed).find_map(|shape| proven(first + shape.len())) {
        return Some(found);
    }
    if groups.link(first) != Link::None {
        return None;
    }
    let chain = groups.chain(first);
    (groups.digits(chain.clone()).len() >= 13).then(|| proven(chain.end)).flatten()
}

/// National numbers of digits only.
fn national(groups: &Groups<'_>, first: usize, contexts: &Contexts) -> Found {
    if !matches!(groups.length(first), 1..=4 | 6 | 8 | 9 | 11..=13 | 15) {
        return None;
    }
    if groups.link(first) != Link::None {
        return None;
    }
    let chain = groups.chain(first);
    let place = groups.place(&chain);
    if !groups.stands_alone(&place) {
        return None;
    }
    let digits = groups.digits(chain.clone());
    let is_proven = proves_itself(groups, &chain, &digits)
        || needs_context(&digits) && contexts.near(groups.bytes, Context::NationalId, &place);
    is_proven.then_some((Kind::NationalId, chain.end))
}

/// Numbers whose shape and check digits leave little to chance.
fn proves_itself(groups: &Groups<'_>, chain: &Range<usize>, digits: &Digits) -> bool {
    let shape = |lengths: &[usize], link| {
        chain.len() == lengths.len() && groups.has_shape(chain.start, lengths, link)
    };
    match digits.len() {
        10 | 12 => {
            let is_swedish = shape(&[6, 4], Link::Hyphen) || shape(&[8, 4], Link::Hyphen);
            is_swedish && is_swedish_number(&digits[digits.len() - 10..])
        }
        11 => {
            let is_plain = chain.len() == 1 || shape(&[2, 3, 3, 3], Link::Space);
            is_plain && checks::german_tax_id(digits)
                || is_written_cpf(groups, chain) && checks::brazilian_cpf(digits)
        }
        13 => (chain.len() == 1 || shape(&[3, 4, 4, 2], Link::Dot)) && checks::swiss_ahv(digits),
        15 => {
            (chain.len() == 1 || shape(&[1, 2, 2, 2, 3, 3, 2], Link::Space)) && checks::french_insee(digits)
        }
        _ => false,
    }
}

fn is_written_cpf(groups: &Groups<'_>, chain: &Range<usize>) -> bool {
    chain.len() == 4
        && groups.has_shape(chain.start, &[3, 3, 3], Link::Dot)
        && groups.link(chain.start + 3) == Link::Hyphen
}

fn is_swedish_number(digits: &[u8]) -> bool {
    let month = digits[2] * 10 + digits[3];
    let day = digits[4] * 10 + digits[5];
    (1..=12).contains(&month) && (1..=91).contains(&day) && checks::luhn(digits)
}

/// Numbers whose check digit alone would hit one plain number in ten.
fn needs_context(digits: &[u8]) -> bool {
    match digits.len() {
        9 => checks::dutch_bsn(digits) || checks::luhn(digits),
        11 => checks::polish_pesel(digits) || checks::brazilian_cpf(digits) || checks::german_tax_id(digits),
        12 => checks::indian_aadhaar(digits),
        10 => is_swedish_number(digits),
        _ => false,
    }
}

/// Four numbers with dots, no fifth, that are the address of a host.
fn ipv4(groups: &Groups<'_>, first: usize, _: &Contexts) -> Found {
    let list = groups.list.get(first..first + 4)?;
    let is_linked = list[1..].iter().all(|group| group.link == Link::Dot);
    let is_longer = groups.link(first) == Link::Dot || groups.link(first + 4) == Link::Dot;
    let place = groups.place(&(first..first + 4));
    if !is_linked || is_longer || !groups.stands_alone(&place) || follows_version(groups, place.start) {
        return None;
    }
    let mut numbers = [0_u8; 4];
    for (number, group) in numbers.iter_mut().zip(list) {
        let text = std::str::from_utf8(&groups.bytes[group.place.clone()]).ok()?;
        let has_leading_zero = text.len() > 1 && text.starts_with('0');
        *number = text.parse().ok().filter(|_| !has_leading_zero)?;
    }
    is_host_ipv4(numbers).then_some((Kind::IpAddress, first + 4))
}

/// Whether `version` or the like stands right before `place`. Windows and .NET count their versions by four numbers.
fn follows_version(groups: &Groups<'_>, place: usize) -> bool {
    // One space, and no line end: what stands on an earlier line says nothing of this number.
    let before = &groups.bytes[..place];
    let before = before.strip_suffix(b" ").unwrap_or(before);
    ["version", "release", "build", "firmware"].iter().any(|word| {
        let start = before.len().checked_sub(word.len());
        start.is_some_and(|start| before[start..].eq_ignore_ascii_case(word.as_bytes()))
    })
}

/// `123-45-6789`; with spaces or in one run only beside the words.
fn social_security(groups: &Groups<'_>, first: usize, contexts: &Contexts) -> Found {
    let shape = [3, 2, 4];
    let is_hyphened = groups.has_shape(first, &shape, Link::Hyphen);
    let is_spaced = groups.has_shape(first, &shape, Link::Space);
    let end = if is_hyphened || is_spaced { first + 3 } else { first + 1 };
    if end == first + 1 && groups.length(first) != 9 {
        return None;
    }
    let place = groups.place(&(first..end));
    let is_part = groups.link(first) == Link::Hyphen || groups.link(end) == Link::Hyphen;
    let is_named = || contexts.near(groups.bytes, Context::SocialSecurity, &place);
    (!is_part
        && groups.stands_alone(&place)
        && (is_hyphened || is_named())
        && checks::us_ssn(&groups.digits(first..end)))
    .then_some((Kind::UsSsn, end))
}

/// Numbers with letters around the digits: British NINO, Spanish DNI and NIE, Italian codice fiscale.
fn identity_with_letters(groups: &Groups<'_>, first: usize, _: &Contexts) -> Found {
    let place = &groups.list[first].place;
    match place.len() {
        2 => codice_fiscale(groups, first).or_else(|| nino(groups, first, first + 3)),
        6 => nino(groups, first, first + 1),
        7 | 8 => spanish(groups, first),
        _ => None,
    }
}

fn nino(groups: &Groups<'_>, first: usize, end: usize) -> Found {
    let list = groups.list.get(first..end)?;
    let is_grouped = list[1..].iter().all(|group| group.link == Link::Space && group.place.len() == 2);
    let place = groups.place(&(first..end));
    let gap = usize::from(groups.before(place.start) == b' ');
    let start = place.start.checked_sub(2 + gap)?;
    let prefix = [groups.bytes[start], groups.bytes[start + 1]];
    let behind = place.end + usize::from(groups.after(place.end) == b' ');
    let is_suffix =
        matches!(groups.after(behind), b'A'..=b'D') && !groups.after(behind + 1).is_ascii_alphanumeric();
    let is_start = !groups.before(start).is_ascii_alphanumeric();
    (is_grouped && is_suffix && is_start && is_nino_prefix(prefix)).then_some((Kind::UkNino, end))
}

/// The prefixes that HM Revenue and Customs gives out.
fn is_nino_prefix([first, second]: [u8; 2]) -> bool {
    let is_letter =
        |byte: u8| byte.is_ascii_uppercase() && !matches!(byte, b'D' | b'F' | b'I' | b'Q' | b'U' | b'V');
    let is_unused = matches!(&[first, second], b"BG" | b"GB" | b"NK" | b"KN" | b"TN" | b"NT" | b"ZZ");
    is_letter(first) && is_letter(second) && second != b'O' && !is_unused
}

fn spanish(groups: &Groups<'_>, first: usize) -> Found {
    let place = &groups.list[first].place;
    let lead = groups.before(place.start);
    let leading = match (place.len(), lead) {
        (7, b'X'..=b'Z') if !groups.before(place.start - 1).is_ascii_alphanumeric() => u32::from(lead - b'X'),
        (8, lead) if !lead.is_ascii_alphanumeric() => 0,
        _ => return None,
    };
    let number =
        groups.digits(first..first + 1).iter().fold(leading, |number, digit| number * 10 + u32::from(*digit));
    let behind = place.end + usize::from(groups.after(place.end) == b'-');
    let is_letter = groups.after(behind) == checks::spanish_letter(number);
    (is_letter && !groups.after(behind + 1).is_ascii_alphanumeric()).then_some((Kind::NationalId, first + 1))
}

fn codice_fiscale(groups: &Groups<'_>, first: usize) -> Found {
    let start = groups.list[first].place.start.checked_sub(6)?;
    let code = groups.bytes.get(start..start + 16)?.to_ascii_uppercase();
    let is_whole =
        !groups.before(start).is_ascii_alphanumeric() && !groups.after(start + 16).is_ascii_alphanumeric();
    (is_whole && checks::codice_fiscale(&code)).then_some((Kind::NationalId, first + 3))
}
