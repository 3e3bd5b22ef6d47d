//! Every metric of the fleet. `docs/METRICS.md` is the same for operators, and a test holds the two against each other,
//! against the code and against the alert rules.

use super::labels::Process::{Classifier, CloudWorker, EndpointWorker, LocalWorker, Monitor, Notifier};
use super::labels::{
    Agent, Cause, Code, Health, Lane, Model, Outcome, Posted, Process, Reason, Version, Window, Zone,
};
use super::metric::{Counter, Description, Gauge, Histogram, Unit};

const ALL: &[Process] = &[Classifier, LocalWorker, EndpointWorker, CloudWorker, Monitor, Notifier];
const WORKERS: &[Process] = &[LocalWorker, EndpointWorker, CloudWorker];

macro_rules! catalogue {
    ($($constant:ident: $kind:ident<$labels:ty> = $name:literal, $unit:ident, $from:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $constant: $kind<$labels> =
                $kind::new(stringify!($constant), $name, Unit::$unit, $from, $help);
        )*

        /// All of them, in the order of the table.
        pub fn all() -> Vec<Description> {
            vec![$($constant.description()),*]
        }
    };
}

catalogue! {
    BUILD_INFO: Gauge<(Process, Version)> = "trilane_build_info", Info, ALL,
        "Which binary of which version this process is.";
    NATS_CONNECTED: Gauge<()> = "trilane_nats_connected", Count, ALL,
        "1 while this process is connected to the queue's server, else 0.";
    NATS_RECONNECTS: Counter<()> = "trilane_nats_reconnects_total", Count, ALL,
        "Connections to the queue's server after the first one.";
    NATS_REFUSALS: Counter<()> = "trilane_nats_refusals_total", Count, ALL,
        "What the queue's server has refused to this process: a subject that its role may not use, mostly.";
    PUBLISH_RETRIES: Counter<()> = "trilane_publish_retries_total", Count, ALL,
        "Publishes that were sent again because no acknowledgement came.";

    TASKS: Counter<(Lane, Outcome, Agent)> = "trilane_tasks_total", Count,
        &[Classifier, LocalWorker, EndpointWorker, Monitor],
        "Tasks that have their result, counted by whoever has stored it.";
    DEAD_LETTERS: Counter<(Lane, Code)> = "trilane_dead_letters_total", Count,
        &[Classifier, LocalWorker, EndpointWorker, Monitor],
        "Dead letters, by the place where the task died and its error.";
    TASK_WAIT: Histogram<Lane> = "trilane_task_wait_seconds", Seconds,
        &[Classifier, LocalWorker, EndpointWorker, Monitor],
        "From publish to the start of the last attempt.";
    TASK_RUN: Histogram<Lane> = "trilane_task_run_seconds", Seconds,
        &[Classifier, LocalWorker, EndpointWorker, Monitor],
        "From the start of the last attempt to its end.";

    ROUTED: Counter<(Lane, Reason)> = "trilane_routed_total", Count, &[Classifier],
        "Decisions, by lane and by the rule that decided.";
    TASK_COMPLEXITY: Histogram<Lane> = "trilane_task_complexity", Ratio, &[Classifier],
        "The score of routed tasks: the chance that a local answer would not do.";
    POLICY_INFO: Gauge<Version> = "trilane_policy_info", Info, &[Classifier],
        "The version of the policy in force.";
    LEARNED_VERSION: Gauge<()> = "trilane_learned_policy_version", Count, &[Classifier],
        "The version of what was learned that is in force; 0 is the hand-made score.";
    REFUSED_POLICIES: Counter<()> = "trilane_refused_policies_total", Count, &[Classifier],
        "Learned policies that were put in force and do not read; the last good one stays.";
    FULL_LANE: Counter<Lane> = "trilane_full_lane_total", Count, &[Classifier],
        "Times that a task was held at the intake because its lane was full.";
    PARKED: Counter<()> = "trilane_parked_total", Count, &[Classifier],
        "Times that a task was put off because its budget is spent.";

    REDELIVERIES: Counter<Lane> = "trilane_redeliveries_total", Count,
        &[Classifier, LocalWorker, EndpointWorker, CloudWorker],
        "Messages that came not for the first time.";
    RETRIES: Counter<Lane> = "trilane_retries_total", Count, WORKERS,
        "Attempts that have failed and are made again.";
    LEASE_EXTENSIONS: Counter<Lane> = "trilane_lease_extensions_total", Count, WORKERS,
        "Leases that were extended while a task ran.";
    REFUSED_MESSAGES: Counter<(Lane, Code)> = "trilane_refused_messages_total", Count, WORKERS,
        "Lane messages that were not run because no classifier's seal holds for them.";
    WORKER_SLOTS: Gauge<Lane> = "trilane_worker_slots", Count, WORKERS,
        "Tasks that this worker can run at once.";
    WORKER_SLOTS_BUSY: Gauge<Lane> = "trilane_worker_slots_busy", Count, WORKERS,
        "Tasks that this worker runs now.";
    FIRST_TOKEN: Histogram<(Lane, Model)> = "trilane_first_token_seconds", Seconds, WORKERS,
        "From the start of an attempt to its first token, where the backend tells.";
    ANSWER_SPEED: Histogram<(Lane, Model)> = "trilane_answer_tokens_per_second", TokensPerSecond, WORKERS,
        "Tokens a second of one answer after its first token.";
    PROMPT_TOKENS: Counter<(Lane, Model)> = "trilane_prompt_tokens_total", Tokens, WORKERS,
        "Tokens of prompts, those that a cache served included, of failed attempts too.";
    CACHED_TOKENS: Counter<(Lane, Model)> = "trilane_cached_tokens_total", Tokens, WORKERS,
        "Tokens of prompts that a cache served.";
    COMPLETION_TOKENS: Counter<(Lane, Model)> = "trilane_completion_tokens_total", Tokens, WORKERS,
        "Tokens of answers, of failed attempts too.";
    BATCH_SEQUENCES: Histogram<()> = "trilane_batch_sequences", Count, &[LocalWorker],
        "Sequences in one decode call: the width of the batch.";
    PREFILL_TOKENS: Counter<()> = "trilane_prefill_tokens_total", Tokens, &[LocalWorker],
        "Tokens of prompts that were read by decode calls.";
    DECODE_TOKENS: Counter<()> = "trilane_decode_tokens_total", Tokens, &[LocalWorker],
        "Tokens of answers that were fed back by decode calls.";

    COST: Counter<(Lane, Model, Agent)> = "trilane_cost_nanodollars_total", Nanodollars, &[CloudWorker],
        "What calls have cost, as the ledger has booked it, in billionths of a dollar.";
    AMBIGUOUS_CALLS: Counter<()> = "trilane_ambiguous_calls_total", Count, &[CloudWorker],
        "Calls whose end nobody knows; they count as spent in full.";
    REPEATED_CALLS: Counter<Cause> = "trilane_repeated_calls_total", Count, &[CloudWorker],
        "Calls made again after one that may have been, or was, billed.";

    LAST_LOOK: Gauge<()> = "trilane_last_look_timestamp_seconds", Timestamp, &[Monitor],
        "When the monitor last looked at the fleet.";
    SERVER_SILENT: Gauge<()> = "trilane_server_silent_seconds", Seconds, &[Monitor],
        "For how long the queue's server has not answered the monitor.";
    LANE_INFO: Gauge<(Lane, Zone)> = "trilane_lane_info", Info, &[Monitor],
        "Which lane lies in which zone.";
    QUEUE_DEPTH: Gauge<Lane> = "trilane_queue_depth", Count, &[Monitor],
        "Tasks that wait.";
    QUEUE_IN_FLIGHT: Gauge<Lane> = "trilane_queue_in_flight", Count, &[Monitor],
        "Tasks in hand, those that wait for another attempt included.";
    QUEUE_FULLEST: Gauge<Lane> = "trilane_queue_fullest", Count, &[Monitor],
        "Tasks of the fullest priority, waiting or in hand.";
    QUEUE_CAPACITY: Gauge<Lane> = "trilane_queue_capacity", Count, &[Monitor],
        "How many of one priority it holds before it takes no more.";
    QUEUE_OLDEST: Gauge<Lane> = "trilane_queue_oldest_seconds", Seconds, &[Monitor],
        "Age of the oldest task, since it was put there.";
    QUEUE_ARRIVALS: Gauge<Lane> = "trilane_queue_arrivals_per_second", PerSecond, &[Monitor],
        "Tasks put there a second, over monitor.rate_window_s.";
    QUEUE_SERVED: Gauge<Lane> = "trilane_queue_served_per_second", PerSecond, &[Monitor],
        "Tasks that left a second, over monitor.rate_window_s.";
    QUEUE_PREDICTED_WAIT: Gauge<Lane> = "trilane_queue_predicted_wait_seconds", Seconds, &[Monitor],
        "How long a task that is put there now will wait, at the rate of now.";
    QUEUE_PREDICTED_DRAIN: Gauge<Lane> = "trilane_queue_predicted_drain_seconds", Seconds, &[Monitor],
        "How long until nothing waits, at the rates of now.";
    QUEUE_PREDICTED_FULL: Gauge<Lane> = "trilane_queue_predicted_full_seconds", Seconds, &[Monitor],
        "How long until its fullest priority is full, at the rates of now.";
    LANE_PAUSED: Gauge<Lane> = "trilane_lane_paused", Count, &[Monitor],
        "1 while the lane is paused, else 0.";
    LANE_WORKERS: Gauge<(Lane, Health)> = "trilane_lane_workers", Count, &[Monitor],
        "Workers, by how they are.";
    LANE_SLOTS: Gauge<Lane> = "trilane_lane_slots", Count, &[Monitor],
        "Tasks that the lane's live workers can run at once.";
    LANE_SLOTS_BUSY: Gauge<Lane> = "trilane_lane_slots_busy", Count, &[Monitor],
        "Tasks that the lane's live workers run now.";
    CLOCK_SKEW: Gauge<Lane> = "trilane_clock_skew_seconds", Seconds, &[Monitor],
        "By how much the worst clock among the lane's workers differs from the monitor's.";
    ZOMBIES: Gauge<()> = "trilane_zombies", Count, &[Monitor],
        "Messages that queues hold and nobody will ever get.";
    DEAD_LETTERS_KEPT: Gauge<()> = "trilane_dead_letters_kept", Count, &[Monitor],
        "Dead letters that are kept.";
    DEAD_LETTERS_RECENT: Gauge<()> = "trilane_dead_letters_recent", Count, &[Monitor],
        "Dead letters of the last ten minutes.";
    SPEND: Gauge<(Agent, Window)> = "trilane_spend_usd", Dollars, &[Monitor],
        "Dollars spent in the running window.";
    RESERVED: Gauge<(Agent, Window)> = "trilane_reserved_usd", Dollars, &[Monitor],
        "Dollars set aside for calls under way.";
    BUDGET_LIMIT: Gauge<(Agent, Window)> = "trilane_budget_limit_usd", Dollars, &[Monitor],
        "Dollars that may be spent in a window.";
    BUDGET_LEFT: Gauge<(Agent, Window)> = "trilane_budget_left_usd", Dollars, &[Monitor],
        "Dollars that may still be spent in the running window.";
    BUDGET_EXPECTED: Gauge<(Agent, Window)> = "trilane_budget_expected_usd", Dollars, &[Monitor],
        "Dollars by the end of the running window, at the pace so far.";

    WEBHOOK_POSTS: Counter<Posted> = "trilane_webhook_posts_total", Count, &[Notifier],
        "Posts of alerts to webhooks, by what came of each.";
}
