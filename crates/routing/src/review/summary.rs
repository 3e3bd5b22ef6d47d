//! Three sentences for those who read no further: what was spent, what was saved and how sure that is, and what to
//! change next.

use serde::Serialize;
use trilane_protocol::Zone;

use super::Figures;
use super::groups::Group;
use super::words::{count, dollars, percent, things};

/// Outcomes below which no advice but to get more of them is worth anything.
const ENOUGH_OUTCOMES: u64 = 30;

/// Local answers with evidence from which on their quality is judged.
const ENOUGH_LOCAL: u64 = 20;

/// Shadows from which on they say something of the bar.
const ENOUGH_SHADOWS: u64 = 10;

/// By how much a change of the bar is tried.
const STEP: f64 = 0.1;

/// Share of the spend from which on what could have stayed is worth a change.
const WORTH: f64 = 0.05;

/// The one change that is worth most.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Advice {
    /// Which.
    pub kind: AdviceKind,
    /// The same in a sentence.
    pub sentence: String,
}

/// What may be worth a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AdviceKind {
    /// There was nothing to do.
    NoTasks,
    /// The week will end above its budget.
    OverBudget,
    /// Local answers are not good enough.
    RaiseBar,
    /// The same, and no bar would change it.
    LookCloser,
    /// Shadows show cloud calls that need not have been.
    LowerBar,
    /// Nobody knows how good the answers are.
    MoreEvidence,
    /// All public tasks take the same lane.
    Constant,
    /// Nothing needs a change.
    Keep,
}

/// The three sentences.
pub(super) fn sentences(figures: &Figures, advice: &Advice) -> Vec<String> {
    if figures.coverage.tasks == 0 {
        return vec![advice.sentence.clone()];
    }
    vec![spent(figures), saved(figures), advice.sentence.clone()]
}

fn spent(figures: &Figures) -> String {
    let local: f64 = figures.lanes.iter().filter(|lane| is_local(lane)).map(|lane| lane.share).sum();
    let about = if figures.coverage.one_in > 1 { "about " } else { "" };
    let private = match figures.totals.private {
        0 => "none of them was private".to_owned(),
        _ if figures.totals.private_in_cloud > 0 => {
            let leaked = things(figures.totals.private_in_cloud, "PRIVATE TASK");
            format!("{leaked} ENDED IN THE CLOUD ZONE, run `trilane prove` now")
        }
        private => format!("{about}{} were private and stayed inside", count(private)),
    };
    format!(
        "{} came to an end, for {} in the cloud: {} of those that ran did so on local lanes, {private}.",
        things(figures.coverage.tasks, "task"),
        dollars(figures.spend.total_usd),
        percent(local),
    )
}

fn saved(figures: &Figures) -> String {
    let savings = &figures.savings;
    let Some(model) = &savings.cloud_model else {
        return "Nothing could be saved: no lane lies in the cloud.".to_owned();
    };
    if savings.all.tasks == 0 {
        return "Nothing was saved: no task was answered on a local lane.".to_owned();
    }
    let (public, all) = (&savings.public, &savings.all);
    let others = match all.tasks - public.tasks {
        0 => String::new(),
        _ => format!("; with the private ones, which could not go, {}", dollars(all.usd)),
    };
    format!(
        "{} {} answered locally; on {model} that would have cost {} (95 % sure: {} to {}){others}.",
        things(public.tasks, "public task"),
        if public.tasks == 1 { "was" } else { "were" },
        dollars(public.usd),
        dollars(public.low_usd),
        dollars(public.high_usd),
    )
}

/// How far up a better bar is looked for, in steps.
const STEPS_UP: u32 = 5;

/// Expected quality that a higher bar must add to be worth a word.
const WORTH_RAISING: f64 = 0.01;

/// What is worth most: a budget that breaks, then answers that are bad, then money that need not be spent.
pub(super) fn advice(figures: &Figures) -> Advice {
    let found = over_budget(figures)
        .or_else(|| bad_answers(figures))
        .or_else(|| needless_calls(figures))
        .or_else(|| too_little_evidence(figures))
        .or_else(|| constant(figures));
    if figures.coverage.tasks == 0 {
        let sentence = "No task ended in this time: publish some with `trilane submit`, or look further back with --since 30d.";
        return Advice { kind: AdviceKind::NoTasks, sentence: sentence.to_owned() };
    }
    found.unwrap_or_else(|| Advice {
        kind: AdviceKind::Keep,
        sentence: format!(
            "Next week: change nothing; {} with evidence give no cause to.",
            things(figures.quality.outcomes, "answer")
        ),
    })
}

fn over_budget(figures: &Figures) -> Option<Advice> {
    let spend = &figures.spend;
    let budget = spend.week_budget_usd.filter(|budget| spend.week_projected_usd > *budget)?;
    let cheaper = figures.bar().and_then(|bar| step(figures, bar, -STEP));
    let how = cheaper.filter(|(_, _, usd)| *usd < 0.0).map_or_else(
        || "raise budget.week_usd, or expect tasks to degrade when it is spent".to_owned(),
        |(bar, quality, usd)| {
            format!(
                "a bar (policy.good_enough) of {bar:.2} would take about {} off, for {:+.2} of expected quality",
                dollars(-usd),
                quality
            )
        },
    );
    let sentence = format!(
        "Next week: at this pace the week ends at {} of a budget of {}; {how}.",
        dollars(spend.week_projected_usd),
        dollars(budget)
    );
    Some(Advice { kind: AdviceKind::OverBudget, sentence })
}

fn bad_answers(figures: &Figures) -> Option<Advice> {
    let bar = figures.bar()?;
    let is_bad = |lane: &&Group| {
        is_local(lane)
            && lane.quality.outcomes >= ENOUGH_LOCAL
            && lane.quality.high.is_some_and(|high| high < bar)
    };
    let lane = figures.lanes.iter().find(is_bad)?;
    let (mean, outcomes) = (lane.quality.mean?, lane.quality.outcomes);
    let reached = format!("answers of {} reach {mean:.2} ({} with evidence)", lane.name, count(outcomes));
    let better = (1..=STEPS_UP)
        .filter_map(|steps| step(figures, bar, STEP * f64::from(steps)))
        .find(|(_, quality, _)| *quality >= WORTH_RAISING);
    let Some((higher, quality, usd)) = better else {
        let sentence = format!(
            "Next week: look at what fails (`trilane explain ID` of those below): {reached}, and no bar sends them where they \
             would be better. Another model for the lane, or a cloud lane, might."
        );
        return Some(Advice { kind: AdviceKind::LookCloser, sentence });
    };
    let sentence = format!(
        "Next week: raise the bar (policy.good_enough) from {bar:.2} to {higher:.2}, about {} more for {quality:+.2} of expected \
         quality: {reached}.",
        dollars(usd.max(0.0))
    );
    Some(Advice { kind: AdviceKind::RaiseBar, sentence })
}

fn needless_calls(figures: &Figures) -> Option<Advice> {
    let stayed = &figures.could_have_stayed;
    let is_worth = stayed.shown_usd > 0.0 && stayed.shown_usd >= WORTH * figures.spend.total_usd;
    let (bar, shadows) = (figures.bar()?, &figures.shadows);
    // Where shadows fail more often than the bar allows, a lower one would let the failures stay too.
    let is_shown = shadows.quality.outcomes >= ENOUGH_SHADOWS && shadows.quality.mean? >= bar;
    let top = stayed.shown_by_agent.first().filter(|_| is_worth && is_shown)?;
    let calls =
        if top.tasks == 1 { "a cloud call".to_owned() } else { format!("{} cloud calls", count(top.tasks)) };
    let sentence = format!(
        "Next week: lower the bar (policy.good_enough) from {bar:.2} to {:.2}: {calls} of agent {} worth {} could have \
         stayed, and of all cloud calls that shadows tried {} could.",
        (bar - STEP).max(0.0),
        top.agent,
        dollars(top.usd),
        percent(shadows.would_do as f64 / shadows.judged.max(1) as f64)
    );
    Some(Advice { kind: AdviceKind::LowerBar, sentence })
}

fn too_little_evidence(figures: &Figures) -> Option<Advice> {
    let outcomes = figures.quality.outcomes + figures.shadows.judged;
    let sentence = format!(
        "Next week: get evidence. Only {} of {} answers {} judged; publish feedback, give tasks validators, or raise \
         learning.shadow_share.",
        count(outcomes),
        count(figures.totals.done),
        if outcomes == 1 { "is" } else { "are" },
    );
    (outcomes < ENOUGH_OUTCOMES).then_some(Advice { kind: AdviceKind::MoreEvidence, sentence })
}

fn constant(figures: &Figures) -> Option<Advice> {
    let constant = &figures.drift.constant;
    let lane = constant.lane.as_ref().filter(|_| constant.is_constant == Some(true))?;
    let sentence = format!(
        "Next week: move the bar (policy.good_enough). {} of the public tasks take {lane}, so the router decides nothing.",
        percent(constant.share?)
    );
    Some(Advice { kind: AdviceKind::Constant, sentence })
}

/// The bar that lies so much higher, with what it would change: expected quality and dollars.
fn step(figures: &Figures, bar: f64, by: f64) -> Option<(f64, f64, f64)> {
    let moved = (bar + by).clamp(0.0, 1.0);
    let (now, then) = (figures.curve.at(bar)?, figures.curve.at(moved)?);
    Some((moved, then.quality - now.quality, then.cost_usd - now.cost_usd))
}

fn is_local(lane: &Group) -> bool {
    lane.zone == Some(Zone::Local)
}
