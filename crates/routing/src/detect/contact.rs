//! E-mail, IPv6 and MAC addresses: shapes around one sign, checked by hand.

use std::net::{Ipv4Addr, Ipv6Addr};

use memchr::memchr_iter;

use super::kind::{Kind, Tally};

/// Counts the e-mail addresses of `text`.
pub(super) fn count_emails(text: &str, tally: &mut Tally) {
    for at in memchr_iter(b'@', text.as_bytes()) {
        if is_email(&text[..at], &text[at + 1..]) {
            tally.add(Kind::Email);
        }
    }
}

/// Longest local part and domain (RFC 5321), bytes.
const MAX_LOCAL_BYTES: usize = 64;
const MAX_DOMAIN_BYTES: usize = 253;

fn is_email(before: &str, after: &str) -> bool {
    let local_length = before.bytes().rev().take(MAX_LOCAL_BYTES).take_while(|byte| is_local(*byte)).count();
    let local = &before.as_bytes()[before.len() - local_length..];
    let domain_length = after.bytes().take(MAX_DOMAIN_BYTES).take_while(|byte| is_domain(*byte)).count();
    let domain = &after.as_bytes()[..domain_length];
    local.iter().any(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80)
        && local != b"git"
        && is_host(domain)
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'')
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || matches!(byte, b'.' | b'-')
}

/// Whether a domain has at least two labels and ends in letters. `photo@2x.png` is no address.
fn is_host(domain: &[u8]) -> bool {
    let trimmed = domain.strip_suffix(b".").unwrap_or(domain);
    let mut labels = trimmed.rsplit(|byte| *byte == b'.');
    let Some(top) = labels.next() else { return false };
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte >= 0x80;
    let is_top = top.len() >= 2 && (top.iter().all(is_letter) || top.starts_with(b"xn--"));
    is_top
        && !matches!(top, b"png" | b"jpg" | b"svg" | b"gif")
        && labels.next().is_some_and(|label| !label.is_empty())
}

/// Whether an address with a spelled-out `@` is written around the sign between `before` and `after`.
///
/// Bare ` at ` is an everyday word, so it takes a spelled-out dot or nothing but one known top-level domain.
pub(super) fn is_obfuscated_email(before: &str, sign: &str, after: &str) -> bool {
    let before = before.trim_end_matches(' ');
    let after = after.trim_start_matches(' ');
    let has_local =
        before.bytes().next_back().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte >= 0x80);
    let label_length = label(after);
    if !has_local || label_length == 0 {
        return false;
    }
    let is_bare = sign.trim().len() == 2;
    let (spelled, top) = strip_dot(&after[label_length..]);
    let Some(top) = top else { return false };
    // A second level such as `co dot uk` may follow; the first top level decides.
    let top = top[..label(top)].to_ascii_lowercase();
    let is_known = KNOWN_TOP_LEVELS.contains(&top.as_str());
    if is_bare {
        spelled && is_known
    } else {
        top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic())
    }
}

/// Top-level domains that make `name at host dot com` an address.
#[rustfmt::skip]
const KNOWN_TOP_LEVELS: [&str; 22] = [
    "com", "org", "net", "edu", "gov", "io", "co", "uk", "de", "fr", "es", "it", "nl", "eu", "us", "ca",
    "au", "in", "br", "me", "info", "dev",
];

fn label(text: &str) -> usize {
    text.bytes().take(63).take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'-').count()
}

/// Takes `.`, `[dot]`, `(dot)` or ` dot ` off; the flag says whether it was spelled out.
fn strip_dot(text: &str) -> (bool, Option<&str>) {
    if let Some(rest) = text.strip_prefix('.') {
        return (false, Some(rest));
    }
    let open = text.trim_start_matches([' ', '[', '(', '{', '<']);
    let is_dot =
        open.len() < text.len() && open.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("dot"));
    let rest = if is_dot { Some(open[3..].trim_start_matches([' ', ']', ')', '}', '>'])) } else { None };
    (true, rest.filter(|rest| rest.len() < open.len() - 3))
}

/// Counts MAC addresses and IPv6 addresses: both are made of hexadecimal groups around `:` (MAC also `-`).
pub(super) fn count_hardware_and_ipv6(text: &str, tally: &mut Tally) {
    let bytes = text.as_bytes();
    let mut seen = 0;
    for sign in memchr::memchr2_iter(b':', b'-', bytes) {
        if sign < seen {
            continue;
        }
        let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || matches!(**byte, b':' | b'-' | b'.');
        let start = sign - bytes[seen..sign].iter().rev().take(4).take_while(is_part).count();
        let end = sign + bytes[sign..].iter().take(MAX_IPV6_BYTES).take_while(is_part).count();
        seen = end.max(sign + 1);
        let is_word =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        if is_word(bytes[..start].last()) || is_word(bytes.get(end)) {
            continue;
        }
        let part = text[start..end].trim_end_matches(['.', '-']);
        if is_mac(part.as_bytes()) {
            tally.add(Kind::MacAddress);
        } else if is_host_ipv6(part) || is_host_ipv6(part.trim_end_matches(':')) {
            tally.add(Kind::IpAddress);
        }
    }
}

/// Longest text form of an IPv6 address (RFC 4291, with a dotted tail), and one sign behind it, bytes.
const MAX_IPV6_BYTES: usize = 48;

fn is_mac(part: &[u8]) -> bool {
    let sign = part.get(2).copied().unwrap_or_default();
    let fits = |(place, byte): (usize, &u8)| match place % 3 {
        2 => *byte == sign,
        _ => byte.is_ascii_hexdigit(),
    };
    let is_blank = |byte: &u8| matches!(byte.to_ascii_lowercase(), b'0' | b'f' | b':' | b'-');
    part.len() == 17
        && matches!(sign, b':' | b'-')
        && part.iter().enumerate().all(fits)
        && !part.iter().all(is_blank)
}

/// A path such as `a::b` parses as IPv6 too, so three groups and a digit are asked for.
fn is_host_ipv6(part: &str) -> bool {
    let groups = part.split(':').filter(|group| !group.is_empty()).count();
    groups >= 3
        && part.bytes().any(|byte| byte.is_ascii_digit())
        && part.parse::<Ipv6Addr>().is_ok_and(|address| !address.is_loopback() && !address.is_unspecified())
}

/// Whether four numbers are the address of a host. Netmasks, loopback, multicast and section numbers are not.
pub(super) fn is_host_ipv4(numbers: [u8; 4]) -> bool {
    let address = Ipv4Addr::from(numbers);
    let is_section = numbers.iter().all(|number| *number < 10);
    !(is_section
        || address.is_loopback()
        || numbers[0] == 0
        || address.is_broadcast()
        || numbers[0] == 255
        || numbers[0] >= 224)
}
