//! The kinds of alerts that a monitor raises by itself, with what each means for the tasks.

/// What can be wrong. One alert of a kind stands for one lane, or for the whole fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Tasks will wait too long.
    LaneSlow,
    /// A task has been on its lane for too long.
    LaneOld,
    /// A queue is nearly full.
    LaneFull,
    /// A queue will soon be full.
    LaneFilling,
    /// Tasks wait and nobody takes them.
    LaneUnserved,
    /// Every slot of a local lane is busy, and tasks wait.
    LaneSaturated,
    /// A worker has gone without a goodbye.
    WorkerSilent,
    /// A worker lives and does nothing with what it has.
    WorkerHung,
    /// A budget is spent, or will be.
    BudgetBurn,
    /// Classifiers decide by different policies, or by another than this monitor knows.
    PolicyMixed,
    /// Messages that no worker will get.
    Zombies,
    /// Too many tasks end as dead letters.
    DeadLetters,
    /// Clocks of hosts differ.
    ClockSkew,
    /// The server does not answer.
    ServerUnreachable,
}

impl Kind {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 14] = [
        Self::LaneSlow,
        Self::LaneOld,
        Self::LaneFull,
        Self::LaneFilling,
        Self::LaneUnserved,
        Self::LaneSaturated,
        Self::WorkerSilent,
        Self::WorkerHung,
        Self::BudgetBurn,
        Self::PolicyMixed,
        Self::Zombies,
        Self::DeadLetters,
        Self::ClockSkew,
        Self::ServerUnreachable,
    ];

    /// The word in subjects, on pages and in webhooks.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::LaneSlow => "lane_slow",
            Self::LaneOld => "lane_old",
            Self::LaneFull => "lane_full",
            Self::LaneFilling => "lane_filling",
            Self::LaneUnserved => "lane_unserved",
            Self::LaneSaturated => "lane_saturated",
            Self::WorkerSilent => "worker_silent",
            Self::WorkerHung => "worker_hung",
            Self::BudgetBurn => "budget_burn",
            Self::PolicyMixed => "policy_mixed",
            Self::Zombies => "zombies",
            Self::DeadLetters => "dead_letters",
            Self::ClockSkew => "clock_skew",
            Self::ServerUnreachable => "server_unreachable",
        }
    }

    /// What it means for the tasks.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::LaneSlow => "Tasks are late: those with a deadline may end as `expired`.",
            Self::LaneOld => {
                "At least one task gets nowhere: it waits behind others, or is tried again and again, or hangs in a worker."
            }
            Self::LaneFull => {
                "Once it is full, classifiers wait, then the intake fills, and in the end publishes are refused. Nothing is lost."
            }
            Self::LaneFilling => "More arrives than is served; at this pace it will be full soon.",
            Self::LaneUnserved => "Its tasks wait until somebody comes.",
            Self::LaneSaturated => "Every further task waits for a slot.",
            Self::WorkerSilent => {
                "It has died, is frozen, or has lost its connection. What it held goes to others after the lane's `ack_wait_s`."
            }
            Self::WorkerHung => "It keeps what it has from other workers, and its slots do nothing.",
            Self::BudgetBurn => {
                "Once it is spent, public tasks take local lanes or wait (`policy.adjust.budget_spent`); private ones are not touched."
            }
            Self::PolicyMixed => "Like tasks are decided differently, depending on who decides.",
            Self::Zombies => {
                "These tasks end as `failed` with a dead letter once the janitor has seen them twice."
            }
            Self::DeadLetters => "Tasks fail for good, or were never valid.",
            Self::ClockSkew => {
                "Deadlines, seals and the times of results depend on clocks: tasks may expire too early or too late."
            }
            Self::ServerUnreachable => {
                "Nothing moves: publishes fail, and workers write what they have once it is back. Nothing acknowledged is lost."
            }
        }
    }
}
