//! Several keys of one provider with their limits, leased one call at a time.
//!
//! A key is set aside when its provider no longer accepts it, rests when its account is empty, and cools
//! down after a 429. Limits of one's own (requests and tokens a minute, calls at once) are waited for in the
//! order in which callers came.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use trilane_routing::registry::Provider;

use crate::bucket::TokenBucket;
use crate::chat::{ChatError, FailureKind};
use crate::keys::ApiKey;

/// How long a key rests whose account is out of credit, until it is tried again.
const OUT_OF_CREDIT_REST: Duration = Duration::from_secs(300);

/// How long a key cools down after a 429 that names no time.
const DEFAULT_COOL_DOWN: Duration = Duration::from_secs(5);

/// Longest cool-down that a call waits for inside the worker; for longer ones its task goes back to the
/// queue, where it holds no slot.
const LONGEST_COOL_WAIT: Duration = Duration::from_secs(30);

/// Limits of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyLimits {
    /// Requests a minute.
    pub requests_per_minute: u32,
    /// Tokens, prompt and answer together, a minute.
    pub tokens_per_minute: u64,
    /// Calls at once.
    pub max_concurrency: u32,
}

impl From<&Provider> for KeyLimits {
    fn from(provider: &Provider) -> Self {
        Self {
            requests_per_minute: provider.requests_per_minute,
            tokens_per_minute: provider.tokens_per_minute,
            max_concurrency: provider.max_concurrency.max(1),
        }
    }
}

/// The keys of one provider.
#[derive(Debug)]
pub struct KeyPool {
    provider: String,
    state: Mutex<Vec<KeyState>>,
    /// Tells waiting calls that a key has become free, or that one no longer will.
    changed: Notify,
}

/// The right to make one call with a key. Dropped without [`KeyLease::finish`] it gives back nothing but
/// its place: the call may have been made.
#[derive(Debug)]
pub struct KeyLease {
    pool: Arc<KeyPool>,
    index: usize,
    key: ApiKey,
    reserved_tokens: u64,
}

#[derive(Debug)]
struct KeyState {
    key: ApiKey,
    requests: TokenBucket,
    tokens: TokenBucket,
    in_use: u32,
    max_concurrency: u32,
    standing: Standing,
}

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    /// Its provider asked for a pause; worth waiting for.
    Cooling(Instant),
    /// Its account is empty; not worth waiting for.
    OutOfCredit(Instant),
    /// Its provider does not accept it; set aside until the worker starts anew.
    Refused,
}

/// What a call does next.
#[derive(Debug, PartialEq, Eq)]
enum Pick {
    /// Takes this key, to be used from then on.
    Take { index: usize, from: Instant },
    /// Every key that could serve is busy.
    Busy,
    /// Every key is set aside or rests.
    NoKey,
}

impl KeyPool {
    /// A pool of `keys` that each have `limits`.
    pub fn new(provider: &str, keys: Vec<ApiKey>, limits: KeyLimits) -> Arc<Self> {
        let now = Instant::now();
        let state = |key| KeyState {
            key,
            requests: TokenBucket::new(limits.requests_per_minute.into(), now),
            tokens: TokenBucket::new(limits.tokens_per_minute, now),
            in_use: 0,
            max_concurrency: limits.max_concurrency,
            standing: Standing::Good,
        };
        let state = Mutex::new(keys.into_iter().map(state).collect());
        Arc::new(Self { provider: provider.to_owned(), state, changed: Notify::new() })
    }

    /// Keys, whatever their standing.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether it has no key at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Leases the key that is free soonest, with room for `tokens`, and waits until it may be used.
    ///
    /// # Errors
    /// `no_api_key` when no key is left, `rate_limited` when every key cools down for long, `cancelled`.
    pub async fn lease(
        self: &Arc<Self>,
        tokens: u64,
        cancel: &CancellationToken,
    ) -> Result<KeyLease, ChatError> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed, even one before the first poll.
            changed.as_mut().enable();
            let pick = pick(&self.lock(), tokens, Instant::now());
            match pick {
                Pick::Take { index, from } => {
                    if let Some(lease) = self.take(index, from, tokens, cancel).await? {
                        return Ok(lease);
                    }
                }
                Pick::NoKey => return Err(self.no_key()),
                Pick::Busy => tokio::select! {
                    biased;
                    () = cancel.cancelled() => return Err(ChatError::cancelled()),
                    () = changed => {}
                },
            }
        }
    }

    /// Takes a key and waits until it may be used; `None` where it no longer may when the time has come.
    async fn take(
        self: &Arc<Self>,
        index: usize,
        from: Instant,
        tokens: u64,
        cancel: &CancellationToken,
    ) -> Result<Option<KeyLease>, ChatError> {
        let now = Instant::now();
        let wait = from.saturating_duration_since(now);
        let is_cooling = matches!(self.lock()[index].standing, Standing::Cooling(until) if until > now);
        if is_cooling && wait > LONGEST_COOL_WAIT {
            let message = format!(
                "every key of `{}` waits for its rate limit; the task is tried again later",
                self.provider
            );
            return Err(ChatError::transient("rate_limited", message).with_retry_after(Some(wait)));
        }
        let lease = self.reserve(index, tokens, now);
        let is_cancelled = tokio::select! {
            biased;
            () = cancel.cancelled() => true,
            () = sleep_until(from) => false,
        };
        if is_cancelled {
            lease.give_back();
            return Err(ChatError::cancelled());
        }
        if self.lock()[index].is_ready(Instant::now()) {
            return Ok(Some(lease));
        }
        lease.give_back();
        Ok(None)
    }

    fn reserve(self: &Arc<Self>, index: usize, tokens: u64, now: Instant) -> KeyLease {
        let state = &mut self.lock()[index];
        state.requests.reserve(1, now);
        state.tokens.reserve(tokens, now);
        state.in_use += 1;
        KeyLease { pool: Arc::clone(self), index, key: state.key.clone(), reserved_tokens: tokens }
    }

    fn no_key(&self) -> ChatError {
        let state = self.lock();
        let labels: Vec<String> = state.iter().map(|state| state.key.label()).collect();
        let is_credit = state.iter().any(|state| matches!(state.standing, Standing::OutOfCredit(_)));
        let (provider, labels) = (&self.provider, labels.join(", "));
        if is_credit {
            let message = format!("no key of `{provider}` has credit left ({labels}); top up its account");
            return ChatError::new(FailureKind::OutOfCredit, "out_of_credit", message);
        }
        let message = format!(
            "no key of `{provider}` is accepted ({labels}); put a valid key there and restart the worker"
        );
        ChatError::new(FailureKind::KeyRefused, "bad_api_key", message)
    }

    /// A panic while the lock is held leaves numbers that are still whole, so its poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, Vec<KeyState>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pick(keys: &[KeyState], tokens: u64, now: Instant) -> Pick {
    let usable = || keys.iter().enumerate().filter(|(_, key)| key.is_usable(now));
    let free = usable().filter(|(_, key)| key.in_use < key.max_concurrency);
    match free.min_by_key(|(_, key)| (key.free_at(tokens, now), key.in_use)) {
        Some((index, key)) => Pick::Take { index, from: key.free_at(tokens, now) },
        None if usable().next().is_some() => Pick::Busy,
        None => Pick::NoKey,
    }
}

impl KeyState {
    fn is_usable(&self, now: Instant) -> bool {
        match self.standing {
            Standing::Good | Standing::Cooling(_) => true,
            Standing::OutOfCredit(until) => until <= now,
            Standing::Refused => false,
        }
    }

    fn is_ready(&self, now: Instant) -> bool {
        self.is_usable(now) && !matches!(self.standing, Standing::Cooling(until) if until > now)
    }

    fn free_at(&self, tokens: u64, now: Instant) -> Instant {
        let limits = self.requests.wait(1, now).max(self.tokens.wait(tokens, now));
        let earliest = now + limits;
        match self.standing {
            Standing::Cooling(until) => earliest.max(until),
            Standing::Good | Standing::OutOfCredit(_) | Standing::Refused => earliest,
        }
    }
}

impl KeyLease {
    /// The key.
    pub fn key(&self) -> &ApiKey {
        &self.key
    }

    /// Ends the lease after a call that went well, with the tokens that it used.
    pub fn finish(self, used_tokens: u64) {
        let reserved = self.reserved_tokens;
        self.change(|state, now| {
            state.tokens.settle(reserved, used_tokens, now);
            if matches!(state.standing, Standing::OutOfCredit(until) if until <= now) {
                state.standing = Standing::Good;
            }
        });
    }

    /// Ends the lease after a call that failed, and draws the consequence for the key. Returns whether the
    /// same call may be made at once with another key.
    pub fn fail(self, error: &ChatError) -> bool {
        let (reserved, used) =
            (self.reserved_tokens, error.usage.prompt_tokens + error.usage.completion_tokens);
        let standing = |now: Instant| match error.kind {
            FailureKind::RateLimited => {
                Some(Standing::Cooling(now + error.retry_after.unwrap_or(DEFAULT_COOL_DOWN)))
            }
            FailureKind::OutOfCredit => Some(Standing::OutOfCredit(now + OUT_OF_CREDIT_REST)),
            FailureKind::KeyRefused => Some(Standing::Refused),
            FailureKind::Transient | FailureKind::Permanent | FailureKind::Cancelled => None,
        };
        if standing(Instant::now()).is_some() {
            tracing::warn!(
                provider = self.pool.provider,
                key = self.key.label(),
                code = error.code,
                "key set aside"
            );
        }
        self.change(|state, now| {
            state.tokens.settle(reserved, used, now);
            // A key that was refused meanwhile stays refused.
            if state.standing != Standing::Refused {
                state.standing = standing(now).unwrap_or(state.standing);
            }
        });
        let pool = Arc::clone(&self.pool);
        drop(self);
        pool.another_is_free(error.kind)
    }

    /// Ends the lease of a call that was never made.
    pub fn give_back(self) {
        let reserved = self.reserved_tokens;
        self.change(|state, now| {
            state.tokens.settle(reserved, 0, now);
            state.requests.settle(1, 0, now);
        });
    }

    fn change(&self, change: impl FnOnce(&mut KeyState, Instant)) {
        change(&mut self.pool.lock()[self.index], Instant::now());
    }
}

impl KeyPool {
    fn another_is_free(&self, kind: FailureKind) -> bool {
        let now = Instant::now();
        match kind {
            FailureKind::RateLimited => {
                matches!(pick(&self.lock(), 0, now), Pick::Take { from, .. } if from <= now)
            }
            FailureKind::KeyRefused | FailureKind::OutOfCredit => pick(&self.lock(), 0, now) != Pick::NoKey,
            FailureKind::Transient | FailureKind::Permanent | FailureKind::Cancelled => false,
        }
    }
}

impl Drop for KeyLease {
    fn drop(&mut self) {
        self.change(|state, _| state.in_use -= 1);
        self.pool.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use trilane_routing::registry::KeySource;

    use super::*;

    const LIMITS: KeyLimits =
        KeyLimits { requests_per_minute: 60, tokens_per_minute: 6_000, max_concurrency: 2 };

    fn pool(names: &[&str], limits: KeyLimits) -> Arc<KeyPool> {
        let read = |name: &&str| {
            ApiKey::read(&KeySource::Env((*name).into()), |_| Some("k".into())).unwrap().unwrap()
        };
        KeyPool::new("prov", names.iter().map(read).collect(), limits)
    }

    async fn lease(pool: &Arc<KeyPool>) -> Result<KeyLease, ChatError> {
        pool.lease(100, &CancellationToken::new()).await
    }

    fn failure(kind: FailureKind, retry_after_s: Option<u64>) -> ChatError {
        ChatError::new(kind, "x", "x").with_retry_after(retry_after_s.map(Duration::from_secs))
    }

    #[tokio::test(start_paused = true)]
    async fn calls_spread_over_the_keys_and_wait_for_a_place() {
        let pool = pool(&["A", "B"], KeyLimits { max_concurrency: 1, ..LIMITS });
        let (first, second) = (lease(&pool).await.unwrap(), lease(&pool).await.unwrap());
        assert_ne!(first.key().label(), second.key().label());
        let waiting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { lease(&pool).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        second.finish(10);
        assert_eq!(waiting.await.unwrap().unwrap().key().label(), "env B");
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_over_the_limit_wait_and_unused_ones_come_back() {
        let pool = pool(&["A"], LIMITS);
        let start = Instant::now();
        let all = pool.lease(6_000, &CancellationToken::new()).await.unwrap();
        let next = pool.lease(100, &CancellationToken::new()).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 1, "100 tokens refill in a second");
        all.finish(0);
        drop(next);
        lease(&pool).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 1, "the unused tokens came back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_wait_gives_back_what_it_had_reserved() {
        let pool = pool(&["A"], LIMITS);
        drop(pool.lease(6_000, &CancellationToken::new()).await.unwrap());
        let cancel = CancellationToken::new();
        cancel.cancel();
        let cancelled = pool.lease(6_000, &cancel).await.unwrap_err();
        assert_eq!(cancelled.kind, FailureKind::Cancelled);
        let start = Instant::now();
        lease(&pool).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_key_is_set_aside_and_the_last_one_ends_the_pool() {
        let pool = pool(&["A", "B"], LIMITS);
        assert!(lease(&pool).await.unwrap().fail(&failure(FailureKind::KeyRefused, None)), "B is left");
        let last = lease(&pool).await.unwrap();
        assert_eq!(last.key().label(), "env B");
        assert!(!last.fail(&failure(FailureKind::KeyRefused, None)));
        let error = lease(&pool).await.unwrap_err();
        assert_eq!((error.kind, error.code), (FailureKind::KeyRefused, "bad_api_key"));
        assert!(error.message.contains("env A, env B"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_cools_down_as_long_as_its_provider_asks() {
        let pool = pool(&["A"], LIMITS);
        assert!(!lease(&pool).await.unwrap().fail(&failure(FailureKind::RateLimited, Some(20))));
        let start = Instant::now();
        let after = lease(&pool).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 20);
        after.fail(&failure(FailureKind::RateLimited, Some(600)));
        let error = lease(&pool).await.unwrap_err();
        assert_eq!(error.retry_after, Some(Duration::from_secs(600)), "too long to hold a slot");
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_without_credit_is_tried_again_after_its_rest() {
        let pool = pool(&["A"], LIMITS);
        lease(&pool).await.unwrap().fail(&failure(FailureKind::OutOfCredit, None));
        assert_eq!(lease(&pool).await.unwrap_err().kind, FailureKind::OutOfCredit);
        tokio::time::advance(OUT_OF_CREDIT_REST).await;
        lease(&pool).await.unwrap().finish(1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waits_for_a_key_moves_on_when_that_key_is_refused() {
        let pool = pool(&["A"], LIMITS);
        let running = pool.lease(6_000, &CancellationToken::new()).await.unwrap();
        let waiting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { lease(&pool).await }
        });
        tokio::task::yield_now().await;
        running.fail(&failure(FailureKind::KeyRefused, None));
        assert_eq!(waiting.await.unwrap().unwrap_err().code, "bad_api_key");
    }
}
