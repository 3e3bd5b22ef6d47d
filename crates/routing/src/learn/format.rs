//! A head as bytes: magic, versions, evidence, calibration, then weights and precisions, all little-endian.

use super::FEATURES_VERSION;
use super::calibrate::Calibration;
use super::head::Head;
use super::vector::SLOTS;

/// Most bytes of a head, so that one fits a message of NATS.
pub const MAX_HEAD_BYTES: usize = 900 * 1024;

const MAGIC: [u8; 4] = *b"TLHD";
const FORMAT_VERSION: u32 = 2;
const HEADER_BYTES: usize = 36;
const HEAD_BYTES: usize = HEADER_BYTES + 8 * SLOTS;

/// Why bytes are no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// Something else altogether.
    #[error("the bytes are no learned head; they do not begin with its magic")]
    Magic,
    /// Written by another version of the format or of the features.
    #[error("the head has format {format} and features {features}, not those of this program; learn it anew")]
    Version {
        /// Its format.
        format: u32,
        /// Its features.
        features: u32,
    },
    /// Cut off, or with something behind it.
    #[error("the head has {found} bytes instead of {expected}; it was cut off or changed; fetch it again")]
    Length {
        /// Bytes given.
        found: usize,
        /// Bytes of a head.
        expected: usize,
    },
    /// A number in it is not finite, or a scale not above 0.
    #[error("the head holds a number that no learning leads to, not finite or out of range; learn it anew")]
    Numbers,
}

pub(super) fn to_bytes(head: &Head) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    bytes.extend(FEATURES_VERSION.to_le_bytes());
    for number in [head.evidence, head.calibration.slope, head.calibration.offset] {
        bytes.extend(number.to_le_bytes());
    }
    for number in head.weights.iter().chain(&head.precisions) {
        bytes.extend(number.to_le_bytes());
    }
    bytes
}

pub(super) fn from_bytes(bytes: &[u8]) -> Result<Head, BadHead> {
    let rest = bytes.strip_prefix(&MAGIC).ok_or(BadHead::Magic)?;
    let length = BadHead::Length { found: bytes.len(), expected: HEAD_BYTES };
    let (format, rest) = rest.split_first_chunk().ok_or(length)?;
    let (features, rest) = rest.split_first_chunk().ok_or(length)?;
    let (format, features) = (u32::from_le_bytes(*format), u32::from_le_bytes(*features));
    if (format, features) != (FORMAT_VERSION, FEATURES_VERSION) {
        return Err(BadHead::Version { format, features });
    }
    let (wide, rest) = rest.split_first_chunk::<24>().ok_or(length)?;
    let (narrow, tail) = rest.as_chunks();
    if narrow.len() != 2 * SLOTS || !tail.is_empty() {
        return Err(length);
    }
    let wide: Vec<f64> = wide.as_chunks().0.iter().map(|number| f64::from_le_bytes(*number)).collect();
    let narrow: Vec<f32> = narrow.iter().map(|number| f32::from_le_bytes(*number)).collect();
    let (weights, precisions) = narrow.split_at(SLOTS);
    let [evidence, slope, offset] = wide[..] else { return Err(length) };
    let is_finite =
        wide.iter().all(|number| number.is_finite()) && narrow.iter().all(|number| number.is_finite());
    // Nothing else can have been learned, and with a precision of 0 a weight would leap out of all bounds.
    if !is_finite || evidence < 0.0 || slope <= 0.0 || precisions.iter().any(|precision| *precision <= 0.0) {
        return Err(BadHead::Numbers);
    }
    Ok(Head {
        weights: weights.to_vec(),
        precisions: precisions.to_vec(),
        calibration: Calibration { slope, offset },
        evidence,
    })
}
