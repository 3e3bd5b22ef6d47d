//! Budgets: what may be spent by day and by week, in total and by agent; which one is spent, and until when.
//!
//! Days are UTC days, weeks begin on Monday, UTC. Local lanes cost nothing and know no budget.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use trilane_protocol::ledger::{Amounts, Book};
use trilane_protocol::{AgentName, Usd};

use crate::registry::{Agent, DEFAULT_AGENT, Registry};

/// How long a task waits where only the reservations of running calls stand in its way: most of them cost far
/// less than was set aside, so there is room again when they have ended.
const RESERVATIONS_WAIT: SignedDuration = SignedDuration::from_secs(60);

/// The section `[budget]`. Budgets of agents stand with the agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetSettings {
    /// Dollars that all agents together may spend in a UTC day; absent: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day_usd: Option<f64>,
    /// The same for a week from Monday.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub week_usd: Option<f64>,
    /// What becomes of a task whose earlier call ended nobody knows how.
    pub on_ambiguous: OnAmbiguous,
}

/// What becomes of a task whose earlier call ended nobody knows how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnAmbiguous {
    /// It is called again, and may be billed twice; the first call counts as spent in full.
    Repeat,
    /// It ends as `failed` with `ambiguous_call`.
    Fail,
}

/// What one purse allows; absent: no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// In a UTC day.
    pub day: Option<Usd>,
    /// In a week from Monday.
    pub week: Option<Usd>,
}

/// All budgets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budgets {
    /// All agents together.
    pub total: Limits,
    /// Each agent of the registry, those without a bound too.
    pub agents: BTreeMap<AgentName, Limits>,
}

/// The span that a budget is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// A UTC day.
    Day,
    /// A week from Monday, UTC.
    Week,
}

/// A budget that a call does not fit into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct SpentBudget {
    /// Whose it is; absent: everybody's.
    pub account: Option<AgentName>,
    /// By day or by week.
    pub window: Window,
    /// What it allows.
    pub limit: Usd,
    /// What is taken of it.
    pub taken: Amounts,
    /// What the call may cost.
    pub bound: Usd,
    /// From when on there may be room again; absent: never, since the call may cost more than the whole budget.
    pub until: Option<Timestamp>,
}

/// One budget, or one purse without any, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Whose it is; absent: everybody's.
    pub account: Option<AgentName>,
    /// By day or by week.
    pub window: Window,
    /// What is spent and set aside.
    pub taken: Amounts,
    /// What it allows; absent: no bound.
    pub limit: Option<Usd>,
}

impl Window {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Day, Self::Week];

    /// The word in messages and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
        }
    }

    fn holds(self, today: Date, day: Date) -> bool {
        match self {
            Self::Day => day == today,
            Self::Week => monday(day) == monday(today),
        }
    }

    /// How long it is.
    pub fn length(self) -> Duration {
        let days = match self {
            Self::Day => 1,
            Self::Week => 7,
        };
        Duration::from_secs(days * 24 * 3_600)
    }

    /// When the one that `now` lies in is over. The end of time counts as its own end.
    pub fn end(self, now: Timestamp) -> Timestamp {
        let today = day_of(now);
        let last = match self {
            Self::Day => today,
            Self::Week => monday(today).saturating_add(6.days()),
        };
        let next = last.tomorrow().and_then(|day| day.to_zoned(TimeZone::UTC));
        next.map_or(Timestamp::MAX, |midnight| midnight.timestamp())
    }
}

/// The UTC day of `now`.
pub fn day_of(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

fn monday(day: Date) -> Date {
    day.saturating_sub(i64::from(day.weekday().to_monday_zero_offset()).days())
}

/// What is taken in the window that `today` lies in.
pub fn taken(book: &Book, account: Option<&AgentName>, window: Window, today: Date) -> Amounts {
    let days = book.days.iter().filter(|(day, _)| window.holds(today, **day)).map(|(_, day)| day);
    let amounts = days.map(|day| match account {
        None => day.total,
        Some(account) => day.agents.get(account).copied().unwrap_or_default(),
    });
    amounts.fold(Amounts::default(), Amounts::plus)
}

impl Limits {
    /// The limits that a section or an agent names, in dollars. A number that is no amount of money allows nothing;
    /// the configuration refuses it before.
    pub fn new(day_usd: Option<f64>, week_usd: Option<f64>) -> Self {
        let amount = |usd: f64| Usd::nearest(usd).unwrap_or(Usd::ZERO);
        Self { day: day_usd.map(amount), week: week_usd.map(amount) }
    }

    fn of(self, window: Window) -> Option<Usd> {
        match window {
            Window::Day => self.day,
            Window::Week => self.week,
        }
    }
}

impl Budgets {
    /// The budgets of a configuration.
    pub fn new(settings: &BudgetSettings, registry: &Registry) -> Self {
        let limits = |agent: &Agent| Limits::new(agent.budget_day_usd, agent.budget_week_usd);
        let agents = registry.agents.iter().map(|(name, agent)| (name.clone(), limits(agent)));
        Self { total: Limits::new(settings.day_usd, settings.week_usd), agents: agents.collect() }
    }

    /// Whether nothing is bounded.
    pub fn is_unbounded(&self) -> bool {
        self.total == Limits::default() && self.agents.values().all(|limits| *limits == Limits::default())
    }

    /// Under whose name an agent's calls are booked: agents without an entry share that of `default`, so that the
    /// book stays bounded whatever names producers make up.
    pub fn account_of(&self, agent: &AgentName) -> AgentName {
        let known = self.agents.get_key_value(agent).or_else(|| self.agents.get_key_value(DEFAULT_AGENT));
        known.map_or_else(|| agent.clone(), |(name, _)| name.clone())
    }

    /// Whether a call of `agent` that may cost `bound` fits into every budget now.
    ///
    /// # Errors
    /// The budget that keeps it waiting longest.
    pub fn check(
        &self,
        book: &Book,
        agent: &AgentName,
        bound: Usd,
        now: Timestamp,
    ) -> Result<(), Box<SpentBudget>> {
        let account = self.account_of(agent);
        let own = self.agents.get(&account).copied().unwrap_or_default();
        let purses = [(None, self.total), (Some(&account), own)];
        let spent = purses.into_iter().flat_map(|(account, limits)| {
            let spent = move |window| spent(book, account, window, limits.of(window)?, bound, now);
            Window::ALL.into_iter().filter_map(spent)
        });
        // Without an end it waits longest.
        let longest = spent.max_by_key(|spent| spent.until.unwrap_or(Timestamp::MAX));
        longest.map_or(Ok(()), |spent| Err(Box::new(spent)))
    }

    /// Every purse as it stands: the total, then each agent that has spent something this week or has a budget.
    pub fn standings(&self, book: &Book, now: Timestamp) -> Vec<Standing> {
        let today = day_of(now);
        let standing = |account: Option<&AgentName>, limits: Limits, window| Standing {
            account: account.cloned(),
            window,
            taken: taken(book, account, window, today),
            limit: limits.of(window),
        };
        let total = Window::ALL.map(|window| standing(None, self.total, window));
        let booked = book.days.values().flat_map(|day| day.agents.keys());
        let names: BTreeSet<&AgentName> = self.agents.keys().chain(booked).collect();
        let agents = names.into_iter().flat_map(|name| {
            let limits = self.agents.get(name).copied().unwrap_or_default();
            let rows = Window::ALL.map(|window| standing(Some(name), limits, window));
            let is_used = rows.iter().any(|row| row.limit.is_some() || row.taken != Amounts::default());
            rows.into_iter().filter(move |_| is_used)
        });
        total.into_iter().chain(agents).collect()
    }
}

fn spent(
    book: &Book,
    account: Option<&AgentName>,
    window: Window,
    limit: Usd,
    bound: Usd,
    now: Timestamp,
) -> Option<SpentBudget> {
    let taken = taken(book, account, window, day_of(now));
    if taken.taken().plus(bound) <= limit {
        return None;
    }
    let end = window.end(now);
    let until = if bound > limit {
        None
    } else if taken.settled.plus(bound) > limit {
        Some(end)
    } else {
        Some(now.checked_add(RESERVATIONS_WAIT).unwrap_or(end).min(end))
    };
    Some(SpentBudget { account: account.cloned(), window, limit, taken, bound, until })
}

impl SpentBudget {
    fn sentence(&self) -> String {
        let Self { window, limit, taken, bound, .. } = self;
        let window = window.as_str();
        let (whose, key) = match &self.account {
            None => (format!("the {window}'s budget of {limit}"), format!("budget.{window}_usd")),
            Some(agent) => (
                format!("the {window}'s budget of {limit} of agent `{agent}`"),
                format!("agents.{agent}.budget_{window}_usd"),
            ),
        };
        match self.until {
            None => {
                format!("the call may cost {bound}, more than {whose}; lower `max_tokens` or raise {key}")
            }
            Some(until) => format!(
                "{whose} has no room for a call that may cost {bound}: {} is spent, {} set aside; wait until {until} \
                 or raise {key}",
                taken.settled, taken.reserved
            ),
        }
    }
}

impl Standing {
    /// What may still be set aside; absent: no bound.
    pub fn left(&self) -> Option<Usd> {
        self.limit.map(|limit| limit.minus(self.taken.taken()))
    }
}

#[cfg(test)]
mod tests {
    use trilane_protocol::ledger::DayBook;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn name(text: &str) -> AgentName {
        AgentName::new(text).unwrap()
    }

    /// 2026-11-22 is a Sunday.
    fn book(days: &[(&str, u64, u64)]) -> Book {
        let day = |&(day, settled, reserved): &(&str, u64, u64)| {
            let amounts = Amounts { settled: Usd::from_nanos(settled), reserved: Usd::from_nanos(reserved) };
            (day.parse().unwrap(), DayBook { total: amounts, agents: [(name("default"), amounts)].into() })
        };
        Book { days: days.iter().map(day).collect() }
    }

    fn budgets(day: Option<u64>, week: Option<u64>) -> Budgets {
        let total = Limits { day: day.map(Usd::from_nanos), week: week.map(Usd::from_nanos) };
        Budgets { total, agents: [(name("default"), Limits::default())].into() }
    }

    fn until(budgets: &Budgets, book: &Book, bound: u64, now: &str) -> Option<Option<Timestamp>> {
        budgets.check(book, &name("x"), Usd::from_nanos(bound), at(now)).err().map(|spent| spent.until)
    }

    #[test]
    fn weeks_begin_on_monday_and_days_at_midnight_utc() {
        let sunday = at("2026-11-22T23:59:59Z");
        assert_eq!(Window::Day.end(sunday), at("2026-11-23T00:00:00Z"));
        assert_eq!(Window::Week.end(sunday), at("2026-11-23T00:00:00Z"));
        assert_eq!(Window::Week.end(at("2026-11-23T00:00:00Z")), at("2026-11-30T00:00:00Z"));
        let book = book(&[("2026-11-15", 1, 0), ("2026-11-16", 10, 0), ("2026-11-22", 100, 0)]);
        assert_eq!(taken(&book, None, Window::Week, day_of(sunday)).settled, Usd::from_nanos(110));
        assert_eq!(taken(&book, None, Window::Day, day_of(sunday)).settled, Usd::from_nanos(100));
    }

    #[test]
    fn a_budget_is_spent_to_the_last_bit_and_not_beyond() {
        let budgets = budgets(Some(100), None);
        let noon = "2026-11-22T12:00:00Z";
        let book = |settled, reserved| book(&[("2026-11-22", settled, reserved)]);
        assert_eq!(until(&budgets, &book(60, 30), 10, noon), None);
        let soon = Some(Some(at("2026-11-22T12:01:00Z")));
        assert_eq!(until(&budgets, &book(60, 30), 11, noon), soon, "reservations end soon");
        assert_eq!(until(&budgets, &book(60, 30), 41, noon), Some(Some(at("2026-11-23T00:00:00Z"))));
        assert_eq!(until(&budgets, &book(0, 0), 101, noon), Some(None), "no window has room for it");
        assert_eq!(until(&budgets, &book(60, 30), 11, "2026-11-23T00:00:00Z"), None, "a new day");
    }

    #[test]
    fn of_several_spent_budgets_the_longest_counts() {
        let mut budgets = budgets(Some(10), Some(1_000));
        let book = book(&[("2026-11-18", 10, 0)]);
        let noon = "2026-11-18T12:00:00Z";
        assert_eq!(until(&budgets, &book, 5, noon), Some(Some(at("2026-11-19T00:00:00Z"))));
        budgets.agents.insert(name("default"), Limits { day: None, week: Some(Usd::from_nanos(12)) });
        let spent = budgets.check(&book, &name("x"), Usd::from_nanos(5), at(noon)).unwrap_err();
        assert_eq!(spent.until, Some(at("2026-11-23T00:00:00Z")));
        let text = spent.to_string();
        assert!(text.contains("agents.default.budget_week_usd") && text.contains("2026-11-23"), "{text}");
    }

    #[test]
    fn agents_without_an_entry_share_one_account() {
        let mut budgets = budgets(None, None);
        budgets.agents.insert(name("known"), Limits::default());
        assert_eq!(budgets.account_of(&name("stranger")), name("default"));
        assert_eq!(budgets.account_of(&name("known")), name("known"));
        let book = book(&[("2026-11-22", 5, 0)]);
        let rows = budgets.standings(&book, at("2026-11-22T12:00:00Z"));
        let shown: Vec<_> = rows.iter().map(|row| row.account.as_ref().map(AgentName::as_str)).collect();
        assert_eq!(shown, [None, None, Some("default"), Some("default")], "who spent nothing is left out");
    }
}
