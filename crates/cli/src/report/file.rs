//! Writes the page as a whole or not at all.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// Puts `text` into `path`: first beside it, then in its place, so that nobody ever reads half a page.
///
/// # Errors
/// A folder that is not there or cannot be written.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    ensure!(
        folder.is_dir(),
        "the folder {} of --html is not there; make it, or name another file",
        folder.display()
    );
    ensure!(!path.is_dir(), "--html names the folder {}; name a file in it", path.display());
    let draft = draft_of(path);
    let written = write_through(&draft, text).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // What is half written is of no use to anybody.
        let _ = fs::remove_file(&draft);
    }
    written.with_context(|| {
        format!("cannot write {}; is there room, and may this user write there?", path.display())
    })
}

fn write_through(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn draft_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_takes_the_place_of_the_one_before_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("week.html");
        write(&path, "one").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(&folder.path().join("no/week.html"), "x").unwrap_err().to_string();
        assert!(error.contains("/no of --html is not there"), "{error}");
        let error = write(folder.path(), "x").unwrap_err().to_string();
        assert!(error.contains("name a file in it"), "{error}");
    }
}
