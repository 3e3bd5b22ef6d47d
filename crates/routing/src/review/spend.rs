//! What was spent by day, how that stands against the budgets, and where the week will end.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use trilane_protocol::Usd;
use trilane_protocol::ledger::{Book, LedgerEvent};

use crate::budget::{Budgets, Standing, Window, day_of};

/// Days that are listed, the newest: as long as the ledger is kept as shipped.
const MAX_DAYS: usize = 92;

const DAY_S: f64 = 24.0 * 3_600.0;

/// What was spent, by day.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spend {
    /// Where the amounts come from.
    pub source: SpendSource,
    /// Dollars in all of the time.
    pub total_usd: f64,
    /// Every UTC day of the time, those without spend too.
    pub days: Vec<DaySpend>,
    /// Dollars that all agents may spend in a UTC day.
    pub day_budget_usd: Option<f64>,
    /// Dollars that all agents may spend in a week from Monday.
    pub week_budget_usd: Option<f64>,
    /// What a day may take if the week's budget is to last: a seventh of it.
    pub even_day_usd: Option<f64>,
    /// Spent in the week that the report is of, from Monday, UTC: by the book.
    pub week_spent_usd: f64,
    /// Where that week ends if each day to come takes as much as the days of this report did.
    pub week_projected_usd: f64,
    /// When it is over.
    pub week_ends_at: Timestamp,
    /// Each budget of an agent, as it stands.
    pub agents: Vec<AgentBudget>,
}

/// Where amounts of money come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpendSource {
    /// The spend ledger: every call.
    Ledger,
    /// Results, where the ledger holds nothing of this time.
    Results,
}

/// One day.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DaySpend {
    /// The UTC day.
    pub day: Date,
    /// Dollars.
    pub spent_usd: f64,
}

/// One budget of one agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentBudget {
    /// The agent.
    pub agent: String,
    /// By day or by week.
    pub window: Window,
    /// Dollars that are spent of it now.
    pub spent_usd: f64,
    /// Dollars that it allows.
    pub budget_usd: f64,
}

/// What is added up by day.
#[derive(Debug, Default)]
pub(super) struct Days {
    ledger: BTreeMap<Date, Usd>,
    results: BTreeMap<Date, f64>,
}

impl Days {
    pub(super) fn take_event(&mut self, event: LedgerEvent, at: Timestamp) {
        let amount = match event {
            LedgerEvent::Settled { amount, .. } | LedgerEvent::Ambiguous { amount } => amount,
            LedgerEvent::Reserved { .. } | LedgerEvent::Released { .. } => return,
        };
        let day = self.ledger.entry(day_of(at)).or_default();
        *day = day.plus(amount);
    }

    pub(super) fn take_result(&mut self, cost_usd: f64, at: Timestamp) {
        *self.results.entry(day_of(at)).or_default() += cost_usd;
    }

    pub(super) fn spend(
        &self,
        budgets: &Budgets,
        book: &Book,
        (since, until): (Timestamp, Timestamp),
    ) -> Spend {
        let has_ledger = !self.ledger.is_empty();
        let of_day = |day: Date| match has_ledger {
            true => self.ledger.get(&day).copied().unwrap_or_default().dollars(),
            false => self.results.get(&day).copied().unwrap_or_default(),
        };
        let total_usd = match has_ledger {
            true => self.ledger.values().copied().sum::<Usd>().dollars(),
            false => self.results.values().sum(),
        };
        let standings = budgets.standings(book, until);
        let total = |window| standings.iter().find(|of| of.account.is_none() && of.window == window);
        let limit = |window| total(window).and_then(|standing| standing.limit).map(Usd::dollars);
        let week_spent_usd = total(Window::Week).map_or(0.0, |standing| standing.taken.settled.dollars());
        let week_ends_at = Window::Week.end(until);
        // Less than a day says too little of the days to come to be multiplied.
        let days = (until.duration_since(since).as_secs_f64() / DAY_S).max(1.0);
        let days_left = week_ends_at.duration_since(until).as_secs_f64().max(0.0) / DAY_S;
        Spend {
            source: if has_ledger { SpendSource::Ledger } else { SpendSource::Results },
            total_usd,
            days: days_of(since, until).map(|day| DaySpend { day, spent_usd: of_day(day) }).collect(),
            day_budget_usd: limit(Window::Day),
            week_budget_usd: limit(Window::Week),
            even_day_usd: limit(Window::Week).map(|week| week / 7.0),
            week_spent_usd,
            week_projected_usd: week_spent_usd + total_usd / days * days_left,
            week_ends_at,
            agents: standings.iter().filter_map(agent_budget).collect(),
        }
    }
}

fn agent_budget(standing: &Standing) -> Option<AgentBudget> {
    Some(AgentBudget {
        agent: standing.account.as_ref()?.to_string(),
        window: standing.window,
        spent_usd: standing.taken.settled.dollars(),
        budget_usd: standing.limit?.dollars(),
    })
}

/// The UTC days that the time touches, the newest so many.
fn days_of(since: Timestamp, until: Timestamp) -> impl Iterator<Item = Date> {
    let last = day_of(until);
    let oldest = last.saturating_sub((MAX_DAYS as i64 - 1).days());
    let first = day_of(since).max(oldest);
    first.series(1.day()).take_while(move |day| *day <= last)
}

#[cfg(test)]
mod tests {
    use trilane_protocol::ledger::{Amounts, DayBook};

    use super::*;
    use crate::budget::Limits;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn settled(dollars: f64) -> LedgerEvent {
        let amount = Usd::nearest(dollars).unwrap();
        LedgerEvent::Settled { reserved: amount, amount, answered: true }
    }

    /// Two dollars on Monday and one on Tuesday, in the night before Wednesday, of ten dollars a week.
    #[test]
    fn the_week_is_projected_from_what_the_days_took() {
        let mut days = Days::default();
        days.take_event(settled(2.0), at("2026-11-16T10:00:00Z"));
        days.take_event(settled(1.0), at("2026-11-17T10:00:00Z"));
        days.take_event(LedgerEvent::Reserved { amount: Usd::from_nanos(9) }, at("2026-11-17T10:00:00Z"));
        let day = |dollars| DayBook {
            total: Amounts { settled: Usd::nearest(dollars).unwrap(), reserved: Usd::ZERO },
            ..DayBook::default()
        };
        let book = Book {
            days: [("2026-11-16".parse().unwrap(), day(2.0)), ("2026-11-17".parse().unwrap(), day(1.0))]
                .into(),
        };
        let budgets = Budgets { total: Limits::new(None, Some(10.0)), ..Budgets::default() };
        let span = (at("2026-11-16T00:00:00Z"), at("2026-11-18T00:00:00Z"));
        let spend = days.spend(&budgets, &book, span);
        // 3 dollars in two days, five days to come at 1.50 each.
        assert_eq!((spend.total_usd, spend.week_spent_usd), (3.0, 3.0));
        assert!((spend.week_projected_usd - 10.5).abs() < 1e-9, "{}", spend.week_projected_usd);
        assert_eq!(spend.week_ends_at, at("2026-11-23T00:00:00Z"));
        let shown: Vec<f64> = spend.days.iter().map(|day| day.spent_usd).collect();
        assert_eq!(shown, [2.0, 1.0, 0.0]);
        assert!((spend.even_day_usd.unwrap() - 10.0 / 7.0).abs() < 1e-12);
    }

    #[test]
    fn without_a_ledger_results_say_what_was_spent() {
        let mut days = Days::default();
        days.take_result(0.25, at("2026-11-16T10:00:00Z"));
        let span = (at("2026-11-16T09:00:00Z"), at("2026-11-16T11:00:00Z"));
        let spend = days.spend(&Budgets::default(), &Book::default(), span);
        assert_eq!((spend.source, spend.total_usd, spend.days.len()), (SpendSource::Results, 0.25, 1));
    }

    #[test]
    fn a_long_time_lists_its_newest_days() {
        let listed: Vec<Date> = days_of(Timestamp::MIN, at("2026-11-16T00:00:00Z")).collect();
        assert_eq!((listed.len(), listed[MAX_DAYS - 1]), (MAX_DAYS, "2026-11-16".parse().unwrap()));
    }
}
