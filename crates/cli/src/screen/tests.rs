//! What is measured and refused, on files of a few rows.

use std::io::Write;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::*;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn args(files: &[&NamedTempFile]) -> ScreenArgs {
    let data = files.iter().map(|file| file.path().to_owned()).collect();
    ScreenArgs { data, show: vec![Show::Missed, Show::False], with_text: false, json: true }
}

fn report(args: &ScreenArgs) -> Value {
    serde_json::to_value(measure(args).unwrap()).unwrap()
}

fn error(text: &str) -> String {
    let file = file(text);
    let error = measure(&args(&[&file])).unwrap_err().to_string();
    error.replace(&file.path().display().to_string(), "FILE")
}

const ROWS: &str = r#"{"id":"a","text":"write to ada@example.org","kinds":["MAIL","NAME"],"private":true}
{"id":"b","text":"our merger is next week","kinds":["PLAN"],"private":true}
{"id":"c","text":"the example is example@example.com","kinds":["MAIL"],"private":false,"note":1}
{"id":"d","text":"what is the capital of Peru?","kinds":[],"private":false}
{"id":"e","text":["my card is 4111 1111", " 1111 1111"],"kinds":["CARD"],"private":true}
"#;

#[test]
fn rates_rest_on_what_the_screen_finds_also_across_messages() {
    let file = file(ROWS);
    let report = report(&args(&[&file]));
    assert_eq!(report["recall"], json!(2.0 / 3.0));
    assert_eq!(report["recall_by_kind"], json!({"CARD": 1.0, "MAIL": 1.0, "NAME": 1.0, "PLAN": 0.0}));
    assert_eq!(report["false_positive_rate"], json!(0.5));
    assert_eq!([&report["texts"], &report["private"], &report["not_private"]], [5, 3, 2]);
    assert!(report["text_us"].is_f64() && report["text_us_p99"].is_f64());
    let listed = report["listed"].as_array().unwrap();
    assert_eq!(listed[0], json!({"id": "b", "show": "missed", "kinds": ["PLAN"], "found": []}));
    assert_eq!(listed[1], json!({"id": "c", "show": "false", "kinds": ["MAIL"], "found": ["email"]}));
}

#[test]
fn texts_are_listed_only_where_they_are_asked_for() {
    let file = file(ROWS);
    let silent = args(&[&file]);
    let shown = measure(&ScreenArgs { with_text: true, ..silent.clone() }).unwrap().to_string();
    assert!(shown.contains("our merger is next week") && shown.contains("66.7 %"), "{shown}");
    let report = measure(&silent).unwrap();
    assert!(!report.to_string().contains("merger") && report.to_string().contains("missed"));
    let quiet = measure(&ScreenArgs { show: Vec::new(), ..silent }).unwrap().to_string();
    assert!(!quiet.contains("missed"), "{quiet}");
}

#[test]
fn with_one_class_the_other_rate_is_null_and_said() {
    let row =
        |private: bool| format!(r#"{{"id":"{private}","text":"hello","kinds":[],"private":{private}}}"#);
    let (private, public) = (file(&row(true)), file(&row(false)));
    let notes = |files: &[&NamedTempFile]| measure(&args(files)).unwrap().notes().join("\n");
    assert_eq!(report(&args(&[&private]))["false_positive_rate"], Value::Null);
    assert!(notes(&[&private]).contains("no false positive rate"));
    assert_eq!(report(&args(&[&public]))["recall"], Value::Null);
    assert!(notes(&[&public]).contains("no recall"));
    assert!(!notes(&[&private, &public]).contains("there is no"));
}

#[test]
fn bad_rows_are_named_by_file_and_line_and_never_repeated() {
    let row = r#"{"id":"a","text":"tell nobody","kinds":[],"private":true}"#;
    let after = |bad: &str| error(&format!("{row}\n{bad}\n"));
    assert_eq!(
        after(r#"{"id":"b","text":"x","kinds":[]}"#),
        "FILE, line 2: missing field `private`, column 32"
    );
    assert_eq!(
        after(r#"{"id":"b","text":" ","kinds":[],"private":true}"#),
        "FILE, line 2: field `text`: empty; leave the row out"
    );
    assert!(after(row).starts_with("FILE, line 2: field `id`: FILE, line 1 has the same"));
    assert!(
        after(r#"{"id":"b","text":7,"kinds":[],"private":true}"#).contains("field `text`: expected a text")
    );
    assert!(!after(r#"{"id":"b","text":"x","kinds":[],"private":"nobody"}"#).contains("nobody"));
    assert!(error("\n").starts_with("found no row"));
}

#[test]
fn an_id_may_not_come_again_in_another_file() {
    let (one, two) = (file(ROWS), file(ROWS));
    let error = measure(&args(&[&one, &two])).unwrap_err().to_string();
    assert!(error.starts_with(&two.path().display().to_string()));
    assert!(error.contains(&one.path().display().to_string()));
}
