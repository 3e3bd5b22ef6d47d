//! What can be seen of an answer without asking anybody. Pure, and in time linear in the answer.

use std::collections::HashSet;

use trilane_protocol::learning::Signs;
use trilane_protocol::outcome::Finish;

use crate::runner::Completion;

/// Answers longer than this, in characters, are no mere refusal, however they begin.
const MAX_REFUSAL_CHARACTERS: usize = 400;

/// Words that are looked at together: fewer repeat in any text, more let small changes pass.
const PHRASE_WORDS: usize = 4;

/// Answers of fewer words than this say too little to repeat anything.
const MIN_WORDS: usize = 24;

/// How refusals begin, in lower case, after greetings and quotation marks are taken away.
const REFUSALS: [&str; 44] = [
    "i can't help",
    "i can't assist",
    "i can't provide",
    "i can't do that",
    "i can't fulfill",
    "i can't comply",
    "i can't answer",
    "i cannot help",
    "i cannot assist",
    "i cannot provide",
    "i cannot do that",
    "i cannot fulfill",
    "i cannot comply",
    "i cannot answer",
    "i am unable to",
    "i'm unable to",
    "i am not able to",
    "i'm not able to",
    "i won't be able to",
    "i must decline",
    "as an ai language model, i can",
    "as an ai, i can",
    "as a language model, i can",
    "i'm sorry, but i can",
    "i'm sorry, i can",
    "i am sorry, but i can",
    "i apologize, but i can",
    "sorry, but i can",
    "sorry, i can",
    "unfortunately, i can",
    "es tut mir leid, aber ich kann",
    "tut mir leid, aber ich kann",
    "ich kann dir dabei nicht",
    "ich kann ihnen dabei nicht",
    "als ki-sprachmodell kann ich",
    "je suis désolé, mais je ne peux",
    "désolé, mais je ne peux",
    "je ne peux pas vous aider",
    "lo siento, pero no puedo",
    "no puedo ayudar",
    "mi dispiace, ma non posso",
    "sinto muito, mas não posso",
    "het spijt me, maar ik kan",
    "przykro mi, ale nie mogę",
];

/// What is meant where a phrase leaves it open ("I can" or "I can't"): one of these follows within a few words.
const NEGATIONS: [&str; 14] = [
    "can't",
    "cannot",
    "can not",
    "nicht",
    "kein",
    " ne peux pas",
    " ne peux ",
    "no puedo",
    "non posso",
    "não posso",
    "kan niet",
    "kan je niet",
    "kan u niet",
    "nie mogę",
];

/// Characters after the beginning within which a negation counts.
const NEGATION_WITHIN: usize = 80;

/// Beginnings in scripts that join words.
const REFUSALS_UNSPACED: [&str; 7] = [
    "抱歉，我无法",
    "对不起，我无法",
    "很抱歉，我不能",
    "申し訳ありませんが、",
    "申し訳ございませんが、",
    "죄송하지만",
    "Извините, но я не могу",
];

/// The signs of an answer, without what validators make of it.
pub fn of(completion: &Completion) -> Signs {
    Signs {
        truncated: completion.finish == Finish::Length,
        refused: completion.refused || is_refusal(&completion.text),
        repetition: repetition(&completion.text),
        mean_logprob: completion.mean_logprob,
        passed: 0,
        failed: Vec::new(),
    }
}

/// Whether an answer begins as refusals do and is nothing more than that.
pub fn is_refusal(text: &str) -> bool {
    let begin: String = text.chars().take(MAX_REFUSAL_CHARACTERS + 1).collect();
    if begin.chars().count() > MAX_REFUSAL_CHARACTERS {
        return false;
    }
    let begin = begin.trim_start_matches(|character: char| !character.is_alphanumeric());
    if REFUSALS_UNSPACED.iter().any(|refusal| begin.starts_with(refusal)) {
        return true;
    }
    let begin = begin.to_lowercase().replace('’', "'");
    let head: String = begin.chars().take(NEGATION_WITHIN).collect();
    let is_one = |refusal: &str| {
        let says_no = refusal.contains("can't") || refusal.contains("cannot") || is_plain(refusal);
        begin.starts_with(refusal) && (says_no || NEGATIONS.iter().any(|negation| head.contains(negation)))
    };
    REFUSALS.iter().any(|refusal| is_one(refusal))
}

/// Whether a phrase is a refusal whatever follows.
fn is_plain(refusal: &str) -> bool {
    ["unable", "able to", "decline", "nicht", "pas vous", "no puedo"]
        .iter()
        .any(|word| refusal.contains(word))
}

/// Share of an answer, 0 to 1, that says again what it has said before: phrases of four words that stood there already,
/// out of all of them. Texts that do not separate words by spaces are looked at by characters.
pub fn repetition(text: &str) -> f64 {
    let words: Vec<&str> = text.split_whitespace().collect();
    // Where words are this long on average, the script does not separate them.
    let is_unspaced = text.chars().count() > words.len().max(1) * 24;
    let units: Vec<&str> = if is_unspaced { characters(text) } else { words };
    if units.len() < MIN_WORDS {
        return 0.0;
    }
    let mut seen = HashSet::with_capacity(units.len());
    let phrases = units.windows(PHRASE_WORDS);
    let all = phrases.len();
    let repeated = phrases.filter(|phrase| !seen.insert(*phrase)).count();
    repeated as f64 / all as f64
}

fn characters(text: &str) -> Vec<&str> {
    let ends = text.char_indices().map(|(start, character)| (start, start + character.len_utf8()));
    ends.map(|(start, end)| &text[start..end]).filter(|unit| !unit.trim().is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refusals_are_known_by_how_they_begin() {
        for text in [
            "I'm sorry, but I can't help with that.",
            "I’m sorry, but I cannot provide that information.",
            "Unfortunately, I can't access files.",
            "\"I am unable to open links.\"",
            "Es tut mir leid, aber ich kann dabei nicht helfen.",
            "Lo siento, pero no puedo ayudarte con eso.",
            "Je suis désolé, mais je ne peux pas répondre.",
            "抱歉，我无法回答这个问题。",
        ] {
            assert!(is_refusal(text), "{text}");
        }
        let long = format!("I can't help but notice that {}", "the figures rise. ".repeat(40));
        for text in [
            "I'm sorry, but I can confirm that it was late.",
            "Sorry, I can do better: here is the second draft.",
            "He said: I can't help you.",
            "Es tut mir leid, aber ich kann bestätigen, dass er kam.",
            "",
            &long,
        ] {
            assert!(!is_refusal(text), "{text}");
        }
    }

    #[test]
    fn a_model_that_has_lost_its_way_repeats_itself() {
        let lost = "the cat sat on the mat and then ".repeat(20);
        assert!(repetition(&lost) > 0.9);
        let plain = "Each of the three accounts was opened in a different year, and none of them has been closed since; \
                     the oldest holds the deeds, the second the savings, and the last one pays the rent of the office.";
        assert!(repetition(plain) < 0.05, "{}", repetition(plain));
        assert_eq!(repetition("no no no no"), 0.0, "too short to say");
        assert!(repetition(&"我不知道你在说什么".repeat(12)) > 0.8);
    }

    #[test]
    fn what_the_backend_says_is_taken_over() {
        let completion = Completion {
            text: "fine".into(),
            finish: Finish::Length,
            usage: trilane_protocol::Usage::default(),
            cost_usd: 0.0,
            first_token: None,
            mean_logprob: Some(-0.5),
            refused: true,
        };
        let signs = of(&completion);
        assert!(signs.truncated && signs.refused && signs.mean_logprob == Some(-0.5));
    }

    proptest! {
        #[test]
        fn any_text_has_a_share_between_nothing_and_all(text in "\\PC{0,400}") {
            prop_assert!((0.0..=1.0).contains(&repetition(&text)));
            let _ = is_refusal(&text);
        }
    }
}
