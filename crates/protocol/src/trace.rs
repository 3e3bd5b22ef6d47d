//! The trace that a task belongs to, as W3C Trace Context writes it (<https://www.w3.org/TR/trace-context/>).

use std::fmt;

/// Length of a `traceparent` in bytes: version, trace id, parent id and flags with dashes between them. One of a later
/// version may be longer; what such a one adds is not known here, so it is not taken.
const LENGTH: usize = 55;

/// Where the fields are: two digits of version, 32 of trace id, 16 of parent id, two of flags.
const FIELDS: [std::ops::Range<usize>; 4] = [0..2, 3..35, 36..52, 53..55];

/// A `traceparent` that reads: nothing in it but hexadecimal digits in their places. So it may stand in a header and in a
/// log line, whoever has sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent<'a>(&'a str);

impl<'a> TraceParent<'a> {
    /// Reads a header's value. `None` for one that does not read, which then counts as none.
    pub fn read(text: &'a str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_dash = |index: usize| matches!(index, 2 | 35 | 52);
        let reads = text.len() == LENGTH
            && text.bytes().enumerate().all(|(index, byte)| match is_dash(index) {
                true => byte == b'-',
                false => is_digit(byte),
            });
        let [version, trace_id, parent_id, _] = FIELDS;
        let is_zero = |field: &str| field.bytes().all(|byte| byte == b'0');
        let is_valid =
            reads && &text[version] != "ff" && !is_zero(&text[trace_id]) && !is_zero(&text[parent_id]);
        is_valid.then_some(Self(text))
    }

    /// The whole, as it came.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The trace's id: what all its hops have in common.
    pub fn trace_id(self) -> &'a str {
        &self.0[FIELDS[1].clone()]
    }
}

impl fmt::Display for TraceParent<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of the recommendation.
    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_recommendation_reads() {
        let read = TraceParent::read(GOOD).unwrap();
        assert_eq!((read.as_str(), read.trace_id()), (GOOD, "4bf92f3577b34da6a3ce929d0e0e4736"));
    }

    #[test]
    fn what_does_not_read_is_none() {
        let zero = |range: std::ops::Range<usize>| {
            let mut text = GOOD.to_owned();
            text.replace_range(range.clone(), &"0".repeat(range.len()));
            text
        };
        let bad = [
            String::new(),
            GOOD.to_uppercase(),
            GOOD.replace('-', "_"),
            format!("ff{}", &GOOD[2..]),
            format!("{GOOD}-more"),
            format!(" {}", &GOOD[1..]),
            GOOD[..54].to_owned(),
            "é".repeat(27) + "x",
            "4".repeat(LENGTH),
            zero(3..35),
            zero(36..52),
        ];
        for text in bad {
            assert_eq!(TraceParent::read(&text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_whatever_makes_reading_panic(text in ".{0,60}") {
            if let Some(read) = TraceParent::read(&text) {
                prop_assert_eq!(read.trace_id().len(), 32);
            }
        }
    }
}
