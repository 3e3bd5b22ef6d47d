//! Partial text on its way out: a bounded channel from a runner to the publisher.

use tokio::sync::mpsc;

use crate::heartbeat::Progress;

/// Pieces that may wait for the publisher. A runner that is faster loses none: pieces join up instead.
pub const PARTIALS_IN_FLIGHT: usize = 64;

/// Takes partial text from a runner. Never blocks, so that a slow network cannot hold up a decode thread.
#[derive(Debug, Default)]
pub struct PartialSender {
    channel: Option<mpsc::Sender<String>>,
    unsent: String,
    progress: Progress,
}

impl PartialSender {
    /// A sender, and the end that the publisher reads.
    pub fn channel() -> (Self, mpsc::Receiver<String>) {
        let (sender, receiver) = mpsc::channel(PARTIALS_IN_FLIGHT);
        (Self { channel: Some(sender), ..Self::default() }, receiver)
    }

    /// The same, telling the worker's signs of life whenever there is a piece.
    #[must_use]
    pub(crate) fn with_progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Says that the answer grows, where there is no text to send.
    pub fn advance(&self) {
        self.progress.made();
    }

    /// A sender that drops everything, for tasks that did not ask for partial text.
    pub fn disabled() -> Self {
        Self::default()
    }

    /// Whether anybody reads.
    pub fn is_enabled(&self) -> bool {
        self.channel.is_some()
    }

    /// Sends whole characters. What does not fit the channel now goes out with the next piece.
    pub fn send(&mut self, text: &str) {
        self.progress.made();
        let Some(channel) = &self.channel else { return };
        self.unsent.push_str(text);
        if self.unsent.is_empty() {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(unsent)) =
            channel.try_send(std::mem::take(&mut self.unsent))
        {
            self.unsent = unsent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_gets_joined_pieces_and_misses_no_text() {
        let (mut sender, mut receiver) = PartialSender::channel();
        let pieces: Vec<String> = (0..PARTIALS_IN_FLIGHT + 10).map(|index| format!("{index} ")).collect();
        pieces.iter().for_each(|piece| sender.send(piece));
        let mut received = String::new();
        while let Ok(piece) = receiver.try_recv() {
            received.push_str(&piece);
        }
        sender.send("end");
        received.push_str(&receiver.try_recv().unwrap());
        assert_eq!(received, pieces.concat() + "end");
    }
}
