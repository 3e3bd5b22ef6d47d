//! What the detectors find of labelled texts that lie beside the repository; skipped, with a word, where there are none.

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Deserialize;
use trilane_routing::detect::Detectors;
use trilane_routing::detect::measure::{Measure, Verdict};
use trilane_routing::screen::detected_in_messages;

#[derive(Deserialize)]
struct Labelled {
    text: String,
    kinds: Vec<String>,
    private: bool,
}

/// Counts of one file; nothing where it does not lie there.
fn measure(name: &str) -> Option<Measure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/sensitivity");
    let file = std::fs::File::open(folder.join(name)).ok()?;
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let mut measure = Measure::default();
    for line in text.lines() {
        let row: Labelled = serde_json::from_str(line).unwrap();
        let is_found = !detected_in_messages(&[&row.text], Detectors::shared()).is_empty();
        measure.add(Verdict { kinds: &row.kinds, is_private: row.private, is_found }).unwrap();
    }
    Some(measure)
}

/// Floors well below what was seen when they were written (private texts 92 %, no false alarm), so that they tell of a
/// loss and not of a rewording.
#[test]
fn labelled_texts_are_found_above_the_floors() {
    let (Some(personal), Some(ordinary)) =
        (measure("presidio_synthetic_half.jsonl.gz"), measure("ordinary_instructions_half.jsonl.gz"))
    else {
        eprintln!("skipped: ../shared/data/sensitivity is not here");
        return;
    };
    for kind in ["CREDIT_CARD", "EMAIL_ADDRESS", "PHONE_NUMBER", "IBAN_CODE", "STREET_ADDRESS"] {
        assert!(personal.by_kind[kind].of_all() >= Some(0.95), "{kind}: {:?}", personal.by_kind[kind]);
    }
    assert!(personal.private.of_all() >= Some(0.85), "{:?}", personal.private);
    for other in [personal.not_private, ordinary.not_private] {
        assert!(other.of_all() <= Some(0.02), "{other:?}");
    }
}
