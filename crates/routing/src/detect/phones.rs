//! Phone numbers: international, North American and trunk-zero forms, and looser ones beside a word such as `call`.

use std::ops::Range;

use super::cues::{Context, Contexts};
use super::groups::{Found, Groups, Link};
use super::kind::Kind;

/// A phone number that starts with group `first`.
pub(super) fn phone(groups: &Groups<'_>, first: usize, contexts: &Contexts) -> Found {
    let found = |end: usize| (Kind::Phone, end);
    if let Some(end) = international(groups, first) {
        return Some(found(end));
    }
    if let Some(end) = north_american(groups, first) {
        return Some(found(end));
    }
    if groups.link(first) != Link::None {
        return None;
    }
    let chain = groups.chain(first);
    let place = groups.place(&chain);
    if !groups.stands_alone(&place) {
        return None;
    }
    let is_phone = has_trunk_zero(groups, &chain)
        || is_loose(groups, &chain) && contexts.near(groups.bytes, Context::Phone, &place);
    is_phone.then(|| found(chain.end))
}

/// Fewest and most digits behind a `+` (ITU-T E.164; eight is the shortest in use with a country code).
const INTERNATIONAL_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

fn international(groups: &Groups<'_>, first: usize) -> Option<usize> {
    let start = groups.list[first].place.start;
    let sign = if groups.before(start) == b'(' { start.checked_sub(1)? } else { start };
    let is_marked = groups.before(sign) == b'+' && !groups.before(sign - 1).is_ascii_alphanumeric();
    if !is_marked || groups.bytes[start] == b'0' {
        return None;
    }
    let mut digits = groups.length(first);
    let mut end = first + 1;
    while groups.link(end) != Link::None && digits + groups.length(end) <= *INTERNATIONAL_DIGITS.end() {
        digits += groups.length(end);
        end += 1;
    }
    (INTERNATIONAL_DIGITS.contains(&digits) && digits > 1).then_some(end)
}

/// `415-555-2671`, with dots, spaces or brackets; area and exchange start with 2 to 9.
fn north_american(groups: &Groups<'_>, first: usize) -> Option<usize> {
    let list = groups.list.get(first..first + 3)?;
    let lengths = [list[0].place.len(), list[1].place.len(), list[2].place.len()];
    if lengths != [3, 3, 4] || !starts_like_an_area(groups, first) || !starts_like_an_area(groups, first + 1)
    {
        return None;
    }
    let [second, third] = [list[1].link, list[2].link];
    let is_linked = matches!(second, Link::Hyphen | Link::Dot | Link::Space | Link::Bracket)
        && (third == second || second == Link::Bracket && third != Link::None)
        && third != Link::Slash;
    let is_longer = groups.link(first + 3) == second && second != Link::Space;
    let has_country =
        || groups.length(first - 1) == 1 && groups.bytes[groups.list[first - 1].place.start] == b'1';
    let is_start = groups.link(first) == Link::None || has_country();
    let place = list[0].place.start..list[2].place.end;
    (is_linked && is_start && !is_longer && groups.stands_alone(&place)).then_some(first + 3)
}

fn starts_like_an_area(groups: &Groups<'_>, group: usize) -> bool {
    matches!(groups.bytes[groups.list[group].place.start], b'2'..=b'9')
}

/// National numbers with their trunk zero: `0494 92 82 32`, `020 7946 0958`, `07911123456`.
fn has_trunk_zero(groups: &Groups<'_>, chain: &Range<usize>) -> bool {
    let first = groups.list[chain.start].place.clone();
    let digits = count_digits(groups, chain);
    if groups.bytes[first.start] != b'0' || groups.after(first.start + 1) == b'0' {
        return false;
    }
    if chain.len() == 1 {
        return digits == 11 && groups.after(first.start + 1) == b'7';
    }
    if groups.has_shape(chain.start, &[5, 4], Link::Hyphen) {
        // An American ZIP+4 code.
        return false;
    }
    let is_dotted = chain.clone().skip(1).any(|group| groups.link(group) == Link::Dot);
    let is_pairs = || chain.clone().all(|group| groups.length(group) == 2);
    (9..=12).contains(&digits)
        && (2..=5).contains(&first.len())
        && (2..=6).contains(&chain.len())
        && (!is_dotted || is_pairs())
        && !is_date_like(groups, chain)
}

/// Anything that people write phone numbers as. Only to be believed beside a word.
fn is_loose(groups: &Groups<'_>, chain: &Range<usize>) -> bool {
    let start = groups.list[chain.start].place.start;
    let is_money = matches!(groups.before(start), b'$' | b'#' | b'.' | b',');
    (7..=15).contains(&count_digits(groups, chain))
        && chain.len() <= 7
        && !is_money
        && !is_date_like(groups, chain)
        && !is_years(groups, chain)
}

fn count_digits(groups: &Groups<'_>, chain: &Range<usize>) -> usize {
    chain.clone().map(|group| groups.length(group)).sum()
}

/// Three parts of a date, with or without a time behind: `2003-08-28 12`, `28/08/2003`.
pub(super) fn is_date_like(groups: &Groups<'_>, chain: &Range<usize>) -> bool {
    let mut parts = chain.clone().map(|group| groups.length(group));
    let lengths = [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default);
    let link = groups.link(chain.start + 1);
    let is_date = matches!(lengths, [4, 1..=2, 1..=2] | [1..=2, 1..=2, 4]);
    is_date
        && chain.len() <= 4
        && matches!(link, Link::Hyphen | Link::Dot | Link::Slash)
        && link == groups.link(chain.start + 2)
}

/// `1990-1995`.
fn is_years(groups: &Groups<'_>, chain: &Range<usize>) -> bool {
    let is_year = |group: usize| {
        let place = &groups.list[group].place;
        place.len() == 4 && matches!(&groups.bytes[place.start..place.start + 2], b"18" | b"19" | b"20")
    };
    chain.clone().all(is_year)
}
