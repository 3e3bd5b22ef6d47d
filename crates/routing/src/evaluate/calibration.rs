//! Whether chances are true: expected calibration error (Naeini and others, 2015).

/// Bins of equal width.
const BINS: usize = 10;

/// Mean distance between chance and mean quality, bin by bin, each as heavy as it is full: 0 for chances that are
/// true, at most 1. `pairs` are chances and qualities.
pub(super) fn calibration_error(pairs: &[(f64, f64)]) -> f64 {
    let mut bins = [0.0; BINS];
    for (chance, quality) in pairs {
        let bin = ((chance * BINS as f64) as usize).min(BINS - 1);
        bins[bin] += chance - quality;
    }
    bins.iter().map(|distance| distance.abs()).sum::<f64>() / pairs.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn true_chances_have_no_error_and_bold_ones_have() {
        let half: Vec<(f64, f64)> = (0..100).map(|row| (0.55, f64::from(u8::from(row % 20 < 11)))).collect();
        assert!(calibration_error(&half) < 1e-9);
        let bold: Vec<(f64, f64)> = half.iter().map(|(_, quality)| (1.0, *quality)).collect();
        assert!((calibration_error(&bold) - 0.45).abs() < 1e-9);
        assert!(calibration_error(&[]).abs() < 1e-9);
    }
}
