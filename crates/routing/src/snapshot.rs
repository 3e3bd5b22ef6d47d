//! A version of the learned policy as it is stored: its manifest and its heads, checked against each other.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use trilane_protocol::LaneName;
use trilane_protocol::chain::hash;

use crate::features::Features;
use crate::learn::{BadHead, FEATURES_VERSION, Weights};

/// The version that stands for the hand-made score, before anything was learned.
pub const HAND_MADE: u64 = 0;

/// Heads of one version, at most; there is one for each lane, and a fleet has few.
pub const MAX_HEADS: usize = 64;

/// Which version routing follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InForce {
    /// The version; [`HAND_MADE`] is the hand-made score.
    pub version: u64,
    /// Since when.
    pub since: Timestamp,
    /// Who put it in force.
    pub by: By,
    /// Why, as a sentence.
    pub reason: String,
    /// The version that a rollback returns to; absent where there is none before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<u64>,
}

/// Who puts versions in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The learner, because the version is better by what was logged.
    Learner,
    /// A person.
    Operator,
}

impl By {
    /// The word on the wire and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Learner => "learner",
            Self::Operator => "operator",
        }
    }
}

/// What one version is, besides the heads themselves. Written once and never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version, from 1.
    pub version: u64,
    /// When it was made.
    pub made_at: Timestamp,
    /// What the numbers of a task mean to it, see [`FEATURES_VERSION`].
    pub features_version: u32,
    /// Outcomes that it has learned from.
    pub outcomes: u64,
    /// Its heads, by lane.
    pub heads: BTreeMap<LaneName, HeadEntry>,
    /// The version that was in force when it was made.
    pub based_on: u64,
    /// What its maker found when it held it against others; kept as it was written.
    #[serde(default)]
    pub evaluation: serde_json::Value,
}

/// What a head must be, to be the one that was stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadEntry {
    /// SHA-256 of its bytes, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// Sum of the weights of the outcomes that it has learned from.
    pub evidence: f64,
}

/// Why a stored version is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSnapshot {
    /// Features have changed since it was learned.
    #[error(
        "version {version} of the policy was learned with features {found}, this program has {needed}; \
         update the fleet, or let the learner make a new version"
    )]
    Features {
        /// The version.
        version: u64,
        /// Its features.
        found: u32,
        /// Those of this program.
        needed: u32,
    },
    /// A manifest with more heads than any fleet has lanes.
    #[error("version {version} of the policy names {found} heads; {MAX_HEADS} are the most that are read")]
    TooManyHeads {
        /// The version.
        version: u64,
        /// Heads named.
        found: usize,
    },
    /// A head is not there.
    #[error("version {version} of the policy has no head for `{lane}`, though its manifest names one")]
    Missing {
        /// The version.
        version: u64,
        /// The lane.
        lane: LaneName,
    },
    /// A head is another than the one that was stored.
    #[error(
        "the head of `{lane}` in version {version} of the policy is not the one that its manifest names: \
         its length or its SHA-256 differs"
    )]
    Changed {
        /// The version.
        version: u64,
        /// The lane.
        lane: LaneName,
    },
    /// A head does not read.
    #[error("the head of `{lane}` in version {version} of the policy does not read: {source}")]
    Unreadable {
        /// The version.
        version: u64,
        /// The lane.
        lane: LaneName,
        /// Why.
        source: BadHead,
    },
}

/// What stands between the version of the rules and that of the weights.
const WEIGHTS_MARK: &str = "+w";

/// The version that a decision names: that of the rules (`policy.version`), and with it that of the weights, once there
/// are any: `shipped-1+w3`.
pub fn version_name(rules: &str, weights: u64) -> String {
    match weights {
        HAND_MADE => rules.to_owned(),
        weights => format!("{rules}{WEIGHTS_MARK}{weights}"),
    }
}

/// The versions of the rules and of the weights that a decision names: the way back from [`version_name`].
pub fn versions_in(name: &str) -> (&str, u64) {
    let parts = name.rsplit_once(WEIGHTS_MARK);
    let parts = parts.and_then(|(rules, weights)| Some((rules, weights.parse().ok()?)));
    parts.unwrap_or((name, HAND_MADE))
}

impl InForce {
    /// Where nobody has put anything in force.
    pub fn hand_made() -> Self {
        Self {
            version: HAND_MADE,
            since: Timestamp::UNIX_EPOCH,
            by: By::Operator,
            reason: "nothing was put in force yet".into(),
            previous: None,
        }
    }
}

impl Manifest {
    /// The manifest of `weights` as they are now, with an evaluation yet to be filled in.
    pub fn of(version: u64, made_at: Timestamp, outcomes: u64, based_on: u64, weights: &Weights) -> Self {
        let entry = |lane: &LaneName| {
            let bytes = weights.head_to_bytes(lane)?;
            let evidence = weights.chance(&Features::default(), lane)?.evidence;
            let entry = HeadEntry { sha256: hash(&bytes), bytes: bytes.len() as u64, evidence };
            Some((lane.clone(), entry))
        };
        Self {
            version,
            made_at,
            features_version: FEATURES_VERSION,
            outcomes,
            heads: weights.lanes().filter_map(entry).collect(),
            based_on,
            evaluation: serde_json::Value::Null,
        }
    }

    /// Whether this program can follow the version at all, before its heads are fetched.
    ///
    /// # Errors
    /// [`BadSnapshot::Features`], [`BadSnapshot::TooManyHeads`].
    pub fn check(&self) -> Result<(), BadSnapshot> {
        let Self { version, features_version, .. } = *self;
        if features_version != FEATURES_VERSION {
            return Err(BadSnapshot::Features { version, found: features_version, needed: FEATURES_VERSION });
        }
        if self.heads.len() > MAX_HEADS {
            return Err(BadSnapshot::TooManyHeads { version, found: self.heads.len() });
        }
        Ok(())
    }

    /// The weights that these heads are, each held against what the manifest says of it.
    ///
    /// # Errors
    /// [`BadSnapshot`]: what is missing, changed or of another time.
    pub fn weights(&self, heads: &BTreeMap<LaneName, Vec<u8>>) -> Result<Weights, BadSnapshot> {
        self.check()?;
        let version = self.version;
        let mut weights = Weights::default();
        for (lane, entry) in &self.heads {
            let lane = lane.clone();
            let Some(bytes) = heads.get(&lane) else { return Err(BadSnapshot::Missing { version, lane }) };
            if bytes.len() as u64 != entry.bytes || hash(bytes) != entry.sha256 {
                return Err(BadSnapshot::Changed { version, lane });
            }
            let inserted = weights.insert_head(lane.clone(), bytes);
            inserted.map_err(|source| BadSnapshot::Unreadable { version, lane, source })?;
        }
        Ok(weights)
    }
}

#[cfg(test)]
mod tests {
    use trilane_protocol::{Generation, Message, Role};

    use super::*;
    use crate::features::extract;

    fn lane(name: &str) -> LaneName {
        name.parse().unwrap()
    }

    fn learned() -> Weights {
        let message = Message { role: Role::User, content: "translate this".into() };
        let features = extract(&[message], &Generation::default());
        let mut weights = Weights::default();
        for (name, quality) in [("local-fast", 1.0), ("local-fast", 0.0), ("cloud", 1.0)] {
            weights.learn(&features, &lane(name), quality, 1.0).unwrap();
        }
        weights
    }

    fn stored(weights: &Weights) -> (Manifest, BTreeMap<LaneName, Vec<u8>>) {
        let manifest = Manifest::of(3, Timestamp::UNIX_EPOCH, 3, 2, weights);
        let heads =
            weights.lanes().map(|lane| (lane.clone(), weights.head_to_bytes(lane).unwrap())).collect();
        (manifest, heads)
    }

    #[test]
    fn a_version_reads_as_it_was_stored() {
        let weights = learned();
        let (manifest, heads) = stored(&weights);
        assert_eq!(manifest.weights(&heads).unwrap(), weights);
        assert!((manifest.heads[&lane("local-fast")].evidence - 2.0).abs() < 1e-9);
        let json = serde_json::to_string(&manifest).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
    }

    #[test]
    fn what_is_missing_changed_or_of_another_time_is_refused_by_name() {
        let (manifest, heads) = stored(&learned());
        let mut without = heads.clone();
        without.remove(&lane("cloud"));
        let mut flipped = heads.clone();
        flipped.get_mut(&lane("cloud")).unwrap()[1_000] ^= 1;
        let mut cut = heads.clone();
        cut.get_mut(&lane("cloud")).unwrap().pop();
        let older = Manifest { features_version: FEATURES_VERSION + 1, ..manifest.clone() };
        let mut lying = manifest.clone();
        let nonsense = b"no head".to_vec();
        let entry = HeadEntry { sha256: hash(&nonsense), bytes: nonsense.len() as u64, evidence: 1.0 };
        lying.heads.insert(lane("cloud"), entry);
        let with_nonsense = BTreeMap::from([(lane("cloud"), nonsense), heads.clone().pop_last().unwrap()]);
        for (manifest, heads, words) in [
            (&manifest, &without, "no head for `cloud`"),
            (&manifest, &flipped, "SHA-256 differs"),
            (&manifest, &cut, "SHA-256 differs"),
            (&older, &heads, "was learned with features"),
            (&lying, &with_nonsense, "does not read"),
        ] {
            let error = manifest.weights(heads).unwrap_err().to_string();
            assert!(error.contains("version 3") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_manifest_that_names_too_much_is_not_followed() {
        let (mut manifest, heads) = stored(&learned());
        let entry = manifest.heads[&lane("cloud")].clone();
        manifest.heads.extend((0..=MAX_HEADS).map(|index| (lane(&format!("lane-{index}")), entry.clone())));
        assert!(matches!(manifest.weights(&heads), Err(BadSnapshot::TooManyHeads { .. })));
    }

    #[test]
    fn a_decision_names_rules_and_weights() {
        for (rules, weights, name) in
            [("shipped-1", 0, "shipped-1"), ("shipped-1", 3, "shipped-1+w3"), ("a+w", 12, "a+w+w12")]
        {
            assert_eq!(version_name(rules, weights), name);
            assert_eq!(versions_in(name), (rules, weights));
        }
        assert_eq!(versions_in("odd+word"), ("odd+word", HAND_MADE));
    }

    #[test]
    fn the_word_in_force_is_fixed_on_the_wire() {
        let json = r#"{"version":3,"since":"1970-01-01T00:00:00Z","by":"learner","reason":"r","previous":2}"#;
        let in_force: InForce = serde_json::from_str(json).unwrap();
        assert_eq!((in_force.version, in_force.by, in_force.previous), (3, By::Learner, Some(2)));
        assert_eq!(serde_json::to_string(&in_force).unwrap(), json);
    }
}
