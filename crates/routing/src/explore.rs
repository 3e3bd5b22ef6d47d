//! Exploration: now and then a task takes a lane drawn evenly among those that may take it, so that there is evidence
//! on all of them. Drawn from a hash of the task, so that the same task is drawn alike wherever and however often.

use trilane_protocol::{LaneName, Work};

/// The largest share of tasks that may be drawn; beyond it the policy would hardly matter.
pub const MAX_EXPLORE: f64 = 0.5;

/// What the draw has made of the choice.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draw<'a> {
    /// The lane drawn in the place of the chosen one; absent: the chosen one stands.
    pub(crate) lane: Option<&'a LaneName>,
    /// Probability with which the lane that is now taken was to be taken.
    pub(crate) propensity: f64,
}

/// Draws for `work`: with probability `explore` one of `lanes`, evenly, else the `chosen` one. Whatever comes out, the
/// propensities of all lanes add up to 1.
pub(crate) fn draw<'a>(
    work: &Work,
    policy_version: &str,
    explore: f64,
    chosen: &LaneName,
    lanes: &[&'a LaneName],
) -> Draw<'a> {
    if explore <= 0.0 || lanes.is_empty() {
        return Draw { lane: None, propensity: 1.0 };
    }
    let explore = explore.min(MAX_EXPLORE);
    let unit = unit(work, policy_version);
    let drawn = (unit < explore).then(|| {
        let index = (unit / explore * lanes.len() as f64) as usize;
        lanes[index.min(lanes.len() - 1)]
    });
    let drawn = drawn.filter(|lane| *lane != chosen);
    let taken = drawn.unwrap_or(chosen);
    Draw { lane: drawn, propensity: propensity(taken, chosen, explore, lanes) }
}

/// Probability with which `lane` is taken.
fn propensity(lane: &LaneName, chosen: &LaneName, explore: f64, lanes: &[&LaneName]) -> f64 {
    let as_chosen = if lane == chosen { 1.0 - explore } else { 0.0 };
    let as_drawn = if lanes.contains(&lane) { explore / lanes.len() as f64 } else { 0.0 };
    as_chosen + as_drawn
}

/// A number from 0 up to 1 that the task and the version of the policy determine and nothing else does.
pub(crate) fn unit(work: &Work, policy_version: &str) -> f64 {
    let place = [work.task_seq, work.hop.into()].map(u64::to_le_bytes).concat();
    let parts =
        [work.agent.as_str().as_bytes(), work.task_id.as_str().as_bytes(), policy_version.as_bytes(), &place];
    let hash = parts.iter().fold(FNV_START, |hash, part| fnv(fnv(hash, part), &[0xff]));
    (mix(hash) >> 11) as f64 / (1_u64 << 53) as f64
}

/// FNV-1a, 64 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// The finalizer of SplitMix64: the high bits of FNV alone hardly change with the last byte.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> Vec<LaneName> {
        ["cloud", "local-deep", "local-fast", "spare"].map(|name| name.parse().unwrap()).into()
    }

    proptest! {
        #[test]
        fn the_propensities_of_all_lanes_add_up_to_1(
            explore in 0.001..=MAX_EXPLORE, chosen in 0_usize..4, is_open in proptest::collection::vec(any::<bool>(), 4),
        ) {
            let names = names();
            let open: Vec<&LaneName> = names.iter().zip(is_open).filter_map(|(lane, open)| open.then_some(lane)).collect();
            prop_assume!(!open.is_empty());
            let sum: f64 = names.iter().map(|lane| propensity(lane, &names[chosen], explore, &open)).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        }
    }
}
