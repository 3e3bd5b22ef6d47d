//! Which words and pairs fall into which bucket, for explanations alone.

use std::collections::BTreeMap;

use trilane_protocol::Message;

use super::{MAX_HASHED_WORDS, bucket, is_word_byte, pair_bucket, word_end, word_hash};

/// The words and pairs of `messages` by bucket: the buckets are those of [`super::Features::hashed`]. Names of one
/// bucket are joined by ` / `, in the order in which they occur.
pub(crate) fn name_buckets(messages: &[Message]) -> BTreeMap<u32, String> {
    let mut names: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut put = |bucket: u32, name: String| {
        let names = names.entry(bucket).or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    };
    let mut left = MAX_HASHED_WORDS;
    for message in messages {
        let words: Vec<&[u8]> = words(message.content.as_bytes()).take(left).collect();
        left -= words.len();
        for word in &words {
            put(bucket(word_hash(word)), shown(word));
        }
        for pair in words.windows(2) {
            let bucket = pair_bucket(word_hash(pair[0]), word_hash(pair[1]));
            put(bucket, format!("{} {}", shown(pair[0]), shown(pair[1])));
        }
    }
    names.into_iter().map(|(bucket, names)| (bucket, names.join(" / "))).collect()
}

fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += bytes[at..].iter().take_while(|byte| !is_word_byte(**byte)).count();
        let start = at;
        at = word_end(bytes, start);
        (at > start).then(|| &bytes[start..at])
    })
}

/// A word as it is hashed: in small letters of ASCII.
fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(&word.to_ascii_lowercase()).into_owned()
}
