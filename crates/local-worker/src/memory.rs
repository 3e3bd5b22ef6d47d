//! Whether a model and its context fit the memory that is free, before llama.cpp takes it.

use std::path::Path;

/// What llama.cpp takes beside weights and context for its intermediate results, bytes: measured 310 MiB for a
/// vocabulary of 152,000 tokens at 512 tokens a batch, rounded up.
const COMPUTE_BYTES: u64 = 384 << 20;

/// Too little memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "model `{model}` needs about {needed} MB of memory ({context} MB of it for {slots} slots of {window} tokens), \
     {available} MB are free; lower `models.{model}.slots` or `context_tokens`, or take a smaller model",
    needed = needed >> 20, context = context >> 20, available = available >> 20
)]
pub struct TooLarge {
    model: String,
    needed: u64,
    context: u64,
    available: u64,
    slots: u32,
    window: u32,
}

/// What a model will take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Bytes of its file.
    pub file_bytes: u64,
    /// Bytes that the context keeps of one token.
    pub kv_bytes_per_token: u64,
    /// Sequences side by side.
    pub slots: u32,
    /// Tokens of each.
    pub window: u32,
}

impl Demand {
    fn context_bytes(&self) -> u64 {
        self.kv_bytes_per_token.saturating_mul(u64::from(self.slots) * u64::from(self.window))
    }

    /// Whether it fits `available` bytes.
    ///
    /// # Errors
    /// [`TooLarge`] with both numbers.
    pub fn check(&self, model: &str, available: u64) -> Result<(), TooLarge> {
        let context = self.context_bytes();
        let needed = self.file_bytes.saturating_add(context).saturating_add(COMPUTE_BYTES);
        if needed <= available {
            return Ok(());
        }
        Err(TooLarge {
            model: model.into(),
            needed,
            context,
            available,
            slots: self.slots,
            window: self.window,
        })
    }
}

/// Bytes that this process may still take: what the system has, or what its container has left if that is
/// less. None on a system that does not say.
pub fn available_bytes() -> Option<u64> {
    let system = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_available(&text));
    match (system, container_bytes(Path::new("/sys/fs/cgroup"))) {
        (Some(system), Some(container)) => Some(system.min(container)),
        (system, container) => system.or(container),
    }
}

fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Limit less use of a cgroup (version 2); none where there is no limit. Pages of files count as use there
/// but are given up when memory is short, so they are not subtracted.
fn container_bytes(folder: &Path) -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let limit: u64 = read("memory.max")?.trim().parse().ok()?;
    let statistics = read("memory.stat")?;
    let anonymous = statistics.lines().find_map(|line| line.strip_prefix("anon "))?.trim().parse().ok()?;
    Some(limit.saturating_sub(anonymous))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMAND: Demand =
        Demand { file_bytes: 98 << 20, kv_bytes_per_token: 23_040, slots: 8, window: 4_096 };

    #[test]
    fn a_model_that_does_not_fit_is_refused_with_numbers() {
        let context = 8 * 4_096 * 23_040;
        let needed = (98 << 20) + context + COMPUTE_BYTES;
        assert_eq!(DEMAND.check("m", needed), Ok(()));
        let error = DEMAND.check("m", needed - 1).unwrap_err().to_string();
        assert!(error.contains("about 1202 MB") && error.contains("8 slots of 4096 tokens"), "{error}");
        assert!(error.contains("1201 MB are free; lower `models.m.slots`"), "{error}");
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let absurd = Demand { kv_bytes_per_token: u64::MAX, ..DEMAND };
        assert!(absurd.check("m", u64::MAX - 1).is_err());
    }

    #[test]
    fn the_systems_own_words_are_read() {
        let meminfo = "MemTotal:       24000000 kB\nMemFree: 1 kB\nMemAvailable:   23000000 kB\n";
        assert_eq!(mem_available(meminfo), Some(23_000_000 * 1024));
        assert_eq!(mem_available("MemTotal: 1 kB"), None);
    }
}
