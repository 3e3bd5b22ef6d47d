//! The routing log as a chain: each segment names the hash of the one before, so that none can be altered,
//! dropped or moved without it showing.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::decision::RouteRecord;

/// What the first segment of a chain gives as the hash of the one before it: 64 zeros.
pub const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One message of the routing log: decisions of one classifier, in the order in which it made them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSegment {
    /// The chain; a classifier starts a new one whenever it starts.
    pub chain: String,
    /// Position in the chain, from 0.
    pub index: u64,
    /// [`hash`] of the payload of the segment before; [`FIRST`] at index 0.
    pub previous: String,
    /// The decisions.
    pub records: Vec<RouteRecord>,
}

/// SHA-256 of a segment's payload as it was published, 64 lower-case hexadecimal digits.
pub fn hash(payload: &[u8]) -> String {
    Sha256::digest(payload).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Encoding;

    #[test]
    fn the_hash_is_sha_256_in_hexadecimal() {
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(FIRST.len(), hash(b"").len());
    }

    #[test]
    fn the_bytes_of_a_segment_are_fixed() {
        let json = format!(r#"{{"chain":"classifier-1","index":0,"previous":"{FIRST}","records":[]}}"#);
        let segment: RouteSegment = Encoding::Json.decode(json.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(Encoding::Json.encode(&segment)).unwrap(), json);
        assert!(Encoding::Json.decode::<RouteSegment>(json.replace("index", "indx").as_bytes()).is_err());
    }
}
