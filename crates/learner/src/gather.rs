//! Looks up what belongs to an entry of a log: a verdict is worth nothing without the task and the answer that it is about.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use trilane_broker::Broker;
use trilane_broker::logs::{Entry, Log, ReadError};
use trilane_protocol::decision::Decision;
use trilane_protocol::learning::{Feedback, JUDGE, Outcome, OutcomeSource, ShadowAnswer, ShadowRequest};
use trilane_protocol::{AgentName, Task, TaskId, TaskResult};
use trilane_routing::example::{Content, Example, Text};
use trilane_routing::features::Features;
use trilane_service::Config;
use trilane_service::config::{Judge, JudgeLane, JudgeRule};
use trilane_service::metrics::labels::Unused;

use crate::evidence::{self, Judged};
use crate::judge::{self, Subject};
use crate::trials::hash;

/// Pause before something is looked up again that the server did not answer.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// One entry of a log, with all that it teaches and asks for.
#[derive(Debug)]
pub(crate) struct Lesson {
    pub(crate) log: Log,
    /// Its sequence in the log.
    pub(crate) sequence: u64,
    /// When the server stored it.
    pub(crate) stored_at: Timestamp,
    /// What is learned.
    pub(crate) learned: Vec<Judged>,
    /// The task that it is about, as a learner sees it; present where something is learned.
    pub(crate) features: Option<Features>,
    /// What was taken of the task before, once it was recalled.
    pub(crate) before: Option<Outcome>,
    /// Where the task went, where that is news.
    pub(crate) decision: Option<Decision>,
    /// What is to be published before this entry is done with.
    pub(crate) asks: Option<Asks>,
    /// Why nothing is learned, where something was to be.
    pub(crate) unused: Option<Unused>,
}

/// What an entry leads to.
#[derive(Debug)]
pub(crate) enum Asks {
    /// A local lane is to try.
    Shadow(Box<ShadowRequest>),
    /// A model is to judge.
    Question(Box<Task>),
}

/// Looks things up.
#[derive(Debug, Clone)]
pub(crate) struct Gatherer {
    pub(crate) broker: Broker,
    pub(crate) config: Arc<Config>,
    /// What only learners know, and questions to a judge are named by.
    pub(crate) nonce: Arc<str>,
}

/// What is found for an entry.
type Found = Result<Lesson, ReadError>;

impl Gatherer {
    /// All that belongs to an entry. What the server does not answer is asked again until it does; where something that
    /// belongs to it does not decode, nothing is learned from it.
    pub(crate) async fn gather(&self, log: Log, entry: &Entry) -> Lesson {
        loop {
            match self.look_up(log, entry).await {
                Ok(lesson) => return lesson,
                Err(error) if error.is_garbage() => {
                    tracing::warn!(%error, "what belongs to an outcome does not read; nothing is learned of it");
                    return Lesson::of(log, entry).unused(Unused::Garbage);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot look up what belongs to an outcome; trying again");
                }
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn look_up(&self, log: Log, entry: &Entry) -> Found {
        let lesson = Lesson::of(log, entry);
        match log {
            Log::Results => match entry.decode::<TaskResult>() {
                Ok(result) if result.agent.as_str() == JUDGE => self.verdict(lesson, &result).await,
                Ok(result) => self.result(lesson, &result).await,
                Err(_) => Ok(lesson.unused(Unused::Garbage)),
            },
            Log::Feedback => match (entry.task(), entry.decode::<Feedback>()) {
                (Some((agent, task_id)), Ok(feedback)) => {
                    self.feedback(lesson, &agent, &task_id, feedback).await
                }
                _ => Ok(lesson.unused(Unused::Garbage)),
            },
            Log::Shadowed => match entry.decode::<ShadowAnswer>() {
                Ok(shadow) => self.shadow(lesson, &shadow).await,
                Err(_) => Ok(lesson.unused(Unused::Garbage)),
            },
            _ => Ok(lesson),
        }
    }

    /// What a result says by itself; and whether a local lane is to try the same.
    async fn result(&self, mut lesson: Lesson, result: &TaskResult) -> Found {
        lesson.decision = result.decision.clone();
        let is_shadowed = self.is_shadowed(result);
        if !evidence::may_say_something(result) && !is_shadowed {
            return Ok(lesson);
        }
        let Some(example) = self.example_of(result).await? else {
            return Ok(lesson.unused(Unused::NoExample));
        };
        let is_kept_short = match &example.content {
            Content::Text(text) => text.generation.max_tokens.is_some(),
            Content::Features(features) => features.answer_tokens > 0,
        };
        let zone_of = |lane: &_| self.config.registry.lanes.get(lane).map(|lane| lane.zone);
        lesson.learned = evidence::of_result(result, is_kept_short, zone_of, lesson.stored_at);
        if let (true, Content::Text(text)) = (is_shadowed, &example.content) {
            lesson.asks = self.shadow_request(result, text).map(|request| Asks::Shadow(Box::new(request)));
        }
        Ok(lesson.with_task(&example))
    }

    async fn feedback(
        &self,
        mut lesson: Lesson,
        agent: &AgentName,
        task_id: &TaskId,
        feedback: Feedback,
    ) -> Found {
        let Some(result) = self.broker.result(agent, task_id).await? else {
            return Ok(lesson.unused(Unused::UnknownTask));
        };
        if feedback.quality().is_none() {
            return Ok(lesson.unused(Unused::Garbage));
        }
        let Some(judged) = evidence::of_feedback(&result, feedback, lesson.stored_at) else {
            return Ok(lesson.unused(Unused::NoAnswer));
        };
        let Some(example) = self.example_of(&result).await? else {
            return Ok(lesson.unused(Unused::NoExample));
        };
        lesson.learned.push(judged);
        Ok(lesson.with_task(&example))
    }

    /// What a local lane would have answered is held against what the cloud has.
    async fn shadow(&self, mut lesson: Lesson, shadow: &ShadowAnswer) -> Found {
        let found = self.shadowed(shadow).await?;
        let (result, example, text) = match found {
            Ok(found) => found,
            Err(unused) => return Ok(lesson.unused(unused)),
        };
        let reference = result.text.clone().unwrap_or_default();
        if let Some(question) = self.question(shadow, &text, &reference) {
            lesson.asks = Some(Asks::Question(Box::new(question)));
            return Ok(lesson);
        }
        let rule = match self.config.learning.judge {
            Judge::Rule(rule) => rule,
            // What is too long for a model to be shown.
            Judge::Model(_) => JudgeRule::Auto,
        };
        let is_good = judge::by_rule(rule, &text, &reference, shadow);
        lesson.learned.extend(evidence::of_shadow(&result, shadow, is_good, lesson.stored_at));
        Ok(lesson.with_task(&example))
    }

    /// What a model says of a shadow.
    async fn verdict(&self, mut lesson: Lesson, result: &TaskResult) -> Found {
        let Some(subject) = Subject::of(&result.metadata, &result.task_id, &self.nonce) else {
            return Ok(lesson.unused(Unused::Garbage));
        };
        let Some(text) = &result.text else { return Ok(lesson.unused(Unused::NoAnswer)) };
        let Some(is_good) = judge::verdict(text) else { return Ok(lesson.unused(Unused::Garbage)) };
        let shadow = self.broker.shadow_answer(&subject.agent, &subject.task_id).await?;
        let Some(shadow) = shadow.filter(|shadow| shadow.lane == subject.lane) else {
            return Ok(lesson.unused(Unused::UnknownTask));
        };
        let (cloud, example, _) = match self.shadowed(&shadow).await? {
            Ok(found) => found,
            Err(unused) => return Ok(lesson.unused(unused)),
        };
        lesson.learned.extend(evidence::of_shadow(&cloud, &shadow, is_good, lesson.stored_at));
        Ok(lesson.with_task(&example))
    }

    /// The cloud's answer and the text of the task that a shadow is of.
    async fn shadowed(
        &self,
        shadow: &ShadowAnswer,
    ) -> Result<Result<(TaskResult, Example, Text), Unused>, ReadError> {
        let result = self.broker.result(&shadow.agent, &shadow.task_id).await?;
        let Some(result) = result.filter(|result| result.task_seq == Some(shadow.task_seq)) else {
            return Ok(Err(Unused::UnknownTask));
        };
        if !evidence::is_public_cloud(&result) {
            return Ok(Err(Unused::NoAnswer));
        }
        Ok(match self.example_of(&result).await? {
            Some(example) => match example.content.clone() {
                Content::Text(text) => Ok((result, example, text)),
                Content::Features(_) => Err(Unused::NoExample),
            },
            None => Err(Unused::NoExample),
        })
    }

    async fn example_of(&self, result: &TaskResult) -> Result<Option<Example>, ReadError> {
        let example = self.broker.example(&result.agent, &result.task_id).await?;
        Ok(example.filter(|example| result.task_seq == Some(example.task_seq)))
    }

    /// Whether the lot of a task is to be shadowed: the same whoever draws it, and however often.
    fn is_shadowed(&self, result: &TaskResult) -> bool {
        let TaskResult { agent, task_id, task_seq, .. } = result;
        let Some(sequence) = task_seq else { return false };
        let lot = hash(&format!("shadow {agent}/{task_id}/{sequence}")) as f64 / u64::MAX as f64;
        evidence::is_public_cloud(result) && lot < self.config.learning.shadow_share
    }

    fn shadow_request(&self, result: &TaskResult, text: &Text) -> Option<ShadowRequest> {
        Some(ShadowRequest {
            task_id: result.task_id.clone(),
            agent: result.agent.clone(),
            task_seq: result.task_seq?,
            lane: self.config.learning.shadow_lane(&self.config.registry)?.clone(),
            messages: text.messages.clone(),
            generation: text.generation.clone(),
            validate: text.validate.clone(),
        })
    }

    /// The question to a model, where one judges and the texts are not too long for it.
    fn question(&self, shadow: &ShadowAnswer, text: &Text, reference: &str) -> Option<Task> {
        let Judge::Model(JudgeLane { lane }) = &self.config.learning.judge else { return None };
        let model = self.config.registry.lanes.get(lane)?.models.first()?;
        let subject = Subject {
            agent: shadow.agent.clone(),
            task_id: shadow.task_id.clone(),
            lane: shadow.lane.clone(),
        };
        judge::question(&subject, &self.nonce, text, reference, &shadow.text, model)
    }
}

/// Whether an outcome counts beside the one on record. Of two verdicts the first stands; the same one comes again where a
/// learner was cut off before it saved.
fn outweighs(outcome: &Outcome, before: &Outcome) -> bool {
    let is_another_verdict = outcome.source == OutcomeSource::Feedback && outcome.at != before.at;
    before.source < outcome.source || before.source == outcome.source && !is_another_verdict
}

/// Holds a lesson against what was taken of the task before, and keeps out what has something weightier on record. Once all
/// that came before is published, since two verdicts on a task may come at once.
pub(crate) async fn recall(broker: &Broker, lesson: &mut Lesson) {
    let Some(Outcome { agent, task_id, task_seq, .. }) = lesson.learned.first().map(|judged| &judged.outcome)
    else {
        return;
    };
    let before = loop {
        match broker.last_outcome(agent, task_id).await {
            Ok(before) => break before.filter(|before| before.task_seq == *task_seq),
            Err(error) => tracing::warn!(%error, "cannot see what was learned of a task; trying again"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    };
    let known = lesson.learned.len();
    lesson.learned.retain(|judged| {
        let is_same = |before: &&Outcome| before.lane == judged.outcome.lane;
        before.as_ref().filter(is_same).is_none_or(|before| outweighs(&judged.outcome, before))
    });
    if lesson.learned.len() < known {
        lesson.unused = Some(Unused::Superseded);
    }
    lesson.before = before;
}

impl Lesson {
    fn of(log: Log, entry: &Entry) -> Self {
        Self {
            log,
            sequence: entry.sequence,
            stored_at: entry.stored_at,
            learned: Vec::new(),
            features: None,
            before: None,
            decision: None,
            asks: None,
            unused: None,
        }
    }

    /// Adds what learning needs of the task.
    fn with_task(self, example: &Example) -> Self {
        let features = (!self.learned.is_empty()).then(|| example.features());
        Self { features, ..self }
    }

    fn unused(self, unused: Unused) -> Self {
        Self { unused: Some(unused), ..self }
    }
}
