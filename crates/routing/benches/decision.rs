//! How long the pure part of a decision takes: detectors, features and score on prompts of 2 KB, and of that the learned
//! part, features and the chances of three lanes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use trilane_protocol::{Generation, LaneName, Message, Role};
use trilane_routing::detect::Detectors;
use trilane_routing::features::extract;
use trilane_routing::learn::Weights;
use trilane_routing::score::{ColdStart, Scorer};

/// Size of every prompt, bytes.
const PROMPT_BYTES: usize = 2048;

/// Runs of which the percentiles are taken.
const RUNS: usize = 20_000;

const PROSE: &str = "The committee met in the old town hall to talk about the harbour and what it should become. Some \
    wanted gardens and a market, others a place for small boats. Nobody could say what it would cost, and the meeting \
    ended late without a vote. ";

const PERSONAL: &str = "Dear Mr. Okonkwo, your order was sent to 221b Baker Street, London. If it does not arrive by \
    then, call me at +44 20 7946 0958 or write to jane.doe@example.org. We charged the card 4111 1111 1111 1111 and the \
    account GB82 WEST 1234 5698 7654 32. Yours, Maria Schmidt. ";

const CODE: &str = "fn parse(input: &str) -> Result<Vec<u32>, Error> {\n    let mut out = Vec::with_capacity(16);\n    for \
    part in input.split(',') {\n        out.push(part.trim().parse::<u32>().map_err(Error::from)?);\n    }\n    Ok(out)\n}\n";

const FOREIGN: &str =
    "Größere Übungen für Łódź und Çeşme — ｆｕｌｌ ｗｉｄｔｈ ４１１１, naïve café\u{200b}s in São Paulo. ";

/// Runs of digits in groups, so that every number detector is tried at every place.
const DIGITS: &str = "4111 1111 2222-3333 4 5 6 7 8 9 0 123-45-6788 4.5.6.7 +49 12 34 56 0123 45 67 89 ";

/// Words that open every closer look.
const CUES: &str =
    "password token api key bearer sk- eyJ :// call me passport account number lives at dear [at] ";

fn prompt(text: &str) -> Vec<Message> {
    let mut content: String = text.chars().cycle().take(PROMPT_BYTES).collect();
    while content.len() > PROMPT_BYTES {
        content.pop();
    }
    vec![Message { role: Role::User, content }]
}

fn decide(messages: &[Message], generation: &Generation) {
    for message in messages {
        black_box(Detectors::shared().scan(black_box(&message.content)));
    }
    black_box(ColdStart.score(&extract(black_box(messages), generation)));
}

/// Words of no meaning: as many distinct ones as a prompt can have.
fn distinct_words() -> String {
    (0..PROMPT_BYTES as u64).map(|word| format!("{:x} ", word.wrapping_mul(0x9e37_79b9) % 0xffff)).collect()
}

/// Weights that have learned something of each lane.
fn learned(lanes: &[LaneName]) -> Weights {
    let mut weights = Weights::default();
    for (lane, text) in lanes.iter().zip([PROSE, CODE, FOREIGN]) {
        let features = extract(&prompt(text), &Generation::default());
        weights.learn(&features, lane, 1.0, 1.0).expect("an outcome");
    }
    weights
}

fn chances(criterion: &mut Criterion) {
    let lanes = ["local-fast", "local-deep", "cloud"].map(|name| LaneName::new(name).expect("a name"));
    let weights = learned(&lanes);
    let generation = Generation::default();
    let distinct = distinct_words();
    for (name, text) in
        [("learned prose", PROSE), ("learned code", CODE), ("learned distinct words", &distinct)]
    {
        let messages = prompt(text);
        let judge = || {
            let features = extract(black_box(&messages), &generation);
            for lane in &lanes {
                black_box(weights.chance(&features, lane));
            }
        };
        print_percentiles(name, judge);
        criterion.bench_function(name, |bencher| bencher.iter(judge));
    }
}

fn decisions(criterion: &mut Criterion) {
    let generation = Generation::default();
    for (name, text) in [
        ("prose", PROSE),
        ("personal", PERSONAL),
        ("code", CODE),
        ("foreign", FOREIGN),
        ("digits", DIGITS),
        ("cues", CUES),
    ] {
        let messages = prompt(text);
        print_percentiles(name, || decide(&messages, &generation));
        criterion.bench_function(name, |bencher| bencher.iter(|| decide(&messages, &generation)));
    }
}

/// Criterion reports means; what a caller waits for is the tail.
fn print_percentiles(name: &str, run: impl Fn()) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |share: f64| times[((RUNS - 1) as f64 * share) as usize];
    println!("{name}: p50 {:?}, p99 {:?}, p99.9 {:?}", at(0.5), at(0.99), at(0.999));
}

criterion_group!(benches, decisions, chances);
criterion_main!(benches);
