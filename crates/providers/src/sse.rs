//! Server-sent events, read piece by piece (WHATWG HTML, section "Server-sent events").

/// Longest line, bytes. One event of a chat stream holds one token; a whole answer fits all the same.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;

/// Longest data of one event, bytes, all its lines together.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// Its type; empty where the stream does not name one.
    pub name: String,
    /// Its data, lines joined by a newline.
    pub data: String,
}

/// A line or an event over its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {MAX_EVENT_BYTES} bytes; check that base_url is a chat API")]
pub struct EventTooLong;

/// Turns bytes, cut anywhere, into events.
///
/// ```
/// use trilane_providers::sse::SseParser;
///
/// let mut parser = SseParser::default();
/// assert!(parser.push(b"data: {\"a\"").unwrap().is_empty());
/// let events = parser.push(b":1}\r\n\r\n: comment\n").unwrap();
/// assert_eq!(events[0].data, "{\"a\":1}");
/// ```
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    name: String,
    data: String,
    has_data: bool,
    after_carriage_return: bool,
    past_first_line: bool,
}

impl SseParser {
    /// Takes the next bytes; gives the events that they complete. What a stream leaves incomplete at its
    /// end was cut, and is never an event.
    ///
    /// # Errors
    /// [`EventTooLong`] when a line or an event outgrows its bound; the stream cannot be read on.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, EventTooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            // A line ends at CR, LF or CR LF; the LF of a pair may come with the next bytes.
            let second_of_pair = byte == b'\n' && self.after_carriage_return;
            self.after_carriage_return = byte == b'\r';
            match byte {
                b'\n' if second_of_pair => {}
                b'\n' | b'\r' => events.extend(self.end_line()?),
                _ if self.line.len() == MAX_LINE_BYTES => return Err(EventTooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Result<Option<SseEvent>, EventTooLong> {
        let mut bytes = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.past_first_line, true) && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        if bytes.is_empty() {
            return Ok(self.end_event());
        }
        // Whole lines are decoded, so a character that was cut between two reads is whole again.
        let line = String::from_utf8_lossy(&bytes);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        self.take_field(field, value.strip_prefix(' ').unwrap_or(value))?;
        Ok(None)
    }

    /// `id`, `retry`, comments (an empty field name) and unknown fields mean nothing to a chat.
    fn take_field(&mut self, field: &str, value: &str) -> Result<(), EventTooLong> {
        match field {
            "event" => self.name = value.to_owned(),
            "data" => {
                if self.data.len() + value.len() >= MAX_EVENT_BYTES {
                    return Err(EventTooLong);
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            _ => {}
        }
        Ok(())
    }

    fn end_event(&mut self) -> Option<SseEvent> {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        std::mem::take(&mut self.has_data).then_some(SseEvent { name, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = "\u{feff}: hello\r\nevent: one\r\ndata: {\"text\":\"Zürich 🦀\"}\r\n\r\n\
                          data:first\ndata:  second\ndata\n\n\revent: nothing\n\nid: 3\rdata: [DONE]\r\r";

    fn event(name: &str, data: &str) -> SseEvent {
        SseEvent { name: name.into(), data: data.into() }
    }

    fn expected() -> Vec<SseEvent> {
        vec![event("one", "{\"text\":\"Zürich 🦀\"}"), event("", "first\n second\n"), event("", "[DONE]")]
    }

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<SseEvent> {
        let mut parser = SseParser::default();
        pieces.into_iter().flat_map(|piece| parser.push(piece).unwrap()).collect()
    }

    #[test]
    fn every_kind_of_line_end_field_and_comment_is_read() {
        assert_eq!(read([STREAM.as_bytes()]), expected());
    }

    #[test]
    fn a_cut_at_any_byte_changes_nothing() {
        for cut in 0..=STREAM.len() {
            let (head, tail) = STREAM.as_bytes().split_at(cut);
            assert_eq!(read([head, tail]), expected(), "cut at byte {cut}");
        }
        assert_eq!(read(STREAM.as_bytes().chunks(1)), expected(), "byte by byte");
    }

    #[test]
    fn an_event_without_its_blank_line_was_cut() {
        assert!(read([&b"data: {\"half\":1}\n"[..]]).is_empty());
    }

    #[test]
    fn lines_and_events_are_bounded() {
        let mut parser = SseParser::default();
        let long = vec![b'x'; MAX_LINE_BYTES + 1];
        assert_eq!(parser.push(&long), Err(EventTooLong));
        let mut parser = SseParser::default();
        let line = format!("data: {}\n", "x".repeat(MAX_EVENT_BYTES / 4));
        let outcome: Result<Vec<_>, _> = (0..5).map(|_| parser.push(line.as_bytes())).collect();
        assert_eq!(outcome, Err(EventTooLong), "many lines of one event");
    }

    proptest! {
        #[test]
        fn cuts_never_change_what_is_read(
            bytes in proptest::collection::vec(prop_oneof![
                Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), Just(b'd'), any::<u8>(),
            ], 0..200),
            with_data in any::<bool>(),
            size in 1usize..20,
        ) {
            let bytes = if with_data { [b"data: ", bytes.as_slice(), b"\n\n"].concat() } else { bytes };
            prop_assert_eq!(read(bytes.chunks(size)), read([bytes.as_slice()]));
        }
    }
}
