//! Messages for free slots only. A pull asks for no more than there are slots, higher priorities first; what
//! waits in a client's buffer would burn its lease. Spare messages (shadows) come one at a time, where nothing else
//! waits and a slot is left for what comes next.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{Consumer, pull};
use futures_util::stream::{BoxStream, SelectAll};
use futures_util::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use trilane_protocol::task::Priority;
use trilane_protocol::{LaneName, Zone};

use crate::connect::Broker;
use crate::delivery::Delivery;
use crate::topology::{
    self, ADVISORIES, ALERTS, CANCEL, CANCELS, CLASSIFY, DUE, JANITOR, LATER, NOTIFY, RETURNS, RETURNS_CLOUD,
    SHADOW, SHADOWS, TAKE_BACK, TASKS,
};

/// How long a pull on an empty queue waits before it is renewed.
const LONG_WAIT: Duration = Duration::from_secs(2);

/// The same when slots are too few to wait on every priority at once.
const SHORT_WAIT: Duration = Duration::from_millis(100);

/// How much longer than the server's wait a pull may stay without an answer: its request was lost.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

/// Delay before a failed pull is repeated.
const PULL_RETRY_DELAY: Duration = Duration::from_millis(500);

/// Between two looks for a spare message.
const SPARE_EVERY: Duration = Duration::from_secs(1);

/// Slots that must be free before a spare message takes one; a process with fewer gives its only one.
const FREE_FOR_SPARE: usize = 2;

/// Spare messages in hand at once.
const MAX_SPARE: usize = 1;

/// In one sweep out of this many the lowest priority is asked first, so that it never starves.
const LOW_FIRST_EVERY: u32 = 8;

/// A message with the slot it occupies. The slot is free again when this is dropped.
#[derive(Debug)]
pub struct Slotted {
    /// The message.
    pub delivery: Delivery,
    /// Its slot.
    pub slot: OwnedSemaphorePermit,
    /// Held by a spare message: the next one comes when this one is done.
    pub spare: Option<OwnedSemaphorePermit>,
}

/// Why nothing can be pulled.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot pull from consumer `{consumer}` of stream `{stream}`: {reason}; was the fleet provisioned (`trilane provision`)?"
)]
pub struct PullError {
    consumer: String,
    stream: &'static str,
    reason: String,
}

/// The consumers that one process pulls from, most urgent first.
#[derive(Debug)]
pub struct Puller {
    consumers: Vec<Consumer<pull::Config>>,
    /// Asked only where none of the others has anything.
    spare: Option<Consumer<pull::Config>>,
}

impl Broker {
    /// The intake, for a classifier. What workers hand back goes first: they wait for the room.
    ///
    /// # Errors
    /// [`PullError`] where a consumer is not there.
    pub async fn pull_intake(&self) -> Result<Puller, PullError> {
        let mut consumers = Vec::new();
        for (stream, consumer) in
            [(RETURNS, TAKE_BACK), (RETURNS_CLOUD, TAKE_BACK), (LATER, DUE), (TASKS, CLASSIFY)]
        {
            consumers.push(self.consumer(stream, consumer.into()).await?);
        }
        Ok(Puller { consumers, spare: None })
    }

    /// What the learner wants to be tried once more, for a classifier.
    ///
    /// # Errors
    /// [`PullError`] where the consumer is not there.
    pub async fn pull_shadows(&self) -> Result<Puller, PullError> {
        self.pull_one(SHADOWS, SHADOW).await
    }

    /// What producers cancel, for a classifier.
    ///
    /// # Errors
    /// [`PullError`] where the consumer is not there.
    pub async fn pull_cancels(&self) -> Result<Puller, PullError> {
        self.pull_one(CANCELS, CANCEL).await
    }

    /// What the server tells of messages that it will not deliver again, for a janitor.
    ///
    /// # Errors
    /// [`PullError`] where the consumer is not there.
    pub async fn pull_advisories(&self) -> Result<Puller, PullError> {
        self.pull_one(ADVISORIES, JANITOR).await
    }

    /// What monitors say of alerts, for a notifier.
    ///
    /// # Errors
    /// [`PullError`] where the consumer is not there.
    pub async fn pull_alerts(&self) -> Result<Puller, PullError> {
        self.pull_one(ALERTS, NOTIFY).await
    }

    /// One lane, for a worker; where it is local, its shadows too, as spare messages.
    ///
    /// # Errors
    /// [`PullError`] where a consumer is not there.
    pub async fn pull_lane(&self, lane: &LaneName, zone: Zone) -> Result<Puller, PullError> {
        let mut consumers = Vec::with_capacity(Priority::ALL.len());
        for priority in Priority::ALL {
            let consumer = topology::consumer_of(lane, priority);
            consumers.push(self.consumer(topology::stream_of(zone), consumer).await?);
        }
        let spare = match zone {
            Zone::Local => {
                let name = topology::shadow_consumer_of(lane);
                Some(self.consumer(topology::stream_of(zone), name).await?)
            }
            Zone::Cloud => None,
        };
        Ok(Puller { consumers, spare })
    }

    async fn pull_one(&self, stream: &'static str, consumer: &str) -> Result<Puller, PullError> {
        Ok(Puller { consumers: vec![self.consumer(stream, consumer.into()).await?], spare: None })
    }

    async fn consumer(
        &self,
        stream: &'static str,
        name: String,
    ) -> Result<Consumer<pull::Config>, PullError> {
        let found = self.context().get_consumer_from_stream(&name, stream).await;
        found.map_err(|error| PullError { consumer: name, stream, reason: error.to_string() })
    }
}

impl Puller {
    /// Pulls for the free permits of `slots` until `stop` resolves, then hands back what was on its way.
    ///
    /// The receiving end must keep reading until the channel closes.
    pub fn start(
        self,
        slots: Arc<Semaphore>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> mpsc::Receiver<Slotted> {
        // A message is only ever sent along with its permit, so the slots bound the channel; 1 is enough.
        let (sender, receiver) = mpsc::channel(1);
        let pulling = Pulling {
            waiting: vec![false; self.consumers.len()],
            consumers: self.consumers,
            spare: self.spare,
            free_for_spare: slots.available_permits().min(FREE_FOR_SPARE),
            spare_slots: Arc::new(Semaphore::new(MAX_SPARE)),
            spare_slot: None,
            spare_asked_at: None,
            slots,
            free: Vec::new(),
            pulls: SelectAll::new(),
            reserved: 0,
            sweeps: 0,
            is_sweep_due: true,
            is_sweeping: false,
            next_waiting: 0,
            sender,
        };
        tokio::spawn(pulling.run(stop));
        receiver
    }
}

/// What comes out of a pull: messages, then its end.
enum Event {
    Message(Box<Delivery>, Kind),
    Ended { consumer: usize, unused: usize, kind: Kind, failed: bool },
}

/// Why a pull was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It takes what is there, consumer after consumer.
    Sweep,
    /// It waits for the first message of one consumer.
    Wait(Duration),
    /// It looks for one spare message.
    Spare,
}

struct Pulling {
    consumers: Vec<Consumer<pull::Config>>,
    spare: Option<Consumer<pull::Config>>,
    free_for_spare: usize,
    spare_slots: Arc<Semaphore>,
    /// Kept for the spare message that is asked for.
    spare_slot: Option<OwnedSemaphorePermit>,
    spare_asked_at: Option<Instant>,
    slots: Arc<Semaphore>,
    free: Vec<OwnedSemaphorePermit>,
    pulls: SelectAll<BoxStream<'static, Event>>,
    /// Permits of `free` that running pulls may still fill.
    reserved: usize,
    /// Which consumers have a waiting pull.
    waiting: Vec<bool>,
    sweeps: u32,
    is_sweep_due: bool,
    is_sweeping: bool,
    next_waiting: usize,
    sender: mpsc::Sender<Slotted>,
}

impl Pulling {
    async fn run(mut self, stop: impl Future<Output = ()> + Send) {
        let mut stop: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(stop);
        loop {
            self.collect_slots();
            self.ask();
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(event) = self.pulls.next(), if !self.pulls.is_empty() => self.handle(event).await,
                permit = self.slots.clone().acquire_owned() => {
                    self.free.extend(permit);
                }
            }
        }
        self.hand_back_the_rest().await;
    }

    fn collect_slots(&mut self) {
        while let Ok(permit) = self.slots.clone().try_acquire_owned() {
            self.free.push(permit);
        }
    }

    fn unreserved(&self) -> usize {
        self.free.len() - self.reserved
    }

    /// Asks for as much as there are slots: a sweep over the consumers while there is something to be had,
    /// a pull that waits on each when there was not.
    fn ask(&mut self) {
        if self.unreserved() == 0 {
            return;
        }
        if self.is_sweep_due && !self.is_sweeping {
            self.is_sweep_due = false;
            self.is_sweeping = true;
            self.sweeps = self.sweeps.wrapping_add(1);
            let order = self.order();
            // One consumer at a time: the next is asked when the pull of this one has ended.
            if let Some(first) = order.first() {
                let count = self.unreserved();
                self.pull(*first, count, Kind::Sweep, order[1..].to_vec());
            }
            return;
        }
        if !self.is_sweeping {
            self.ask_for_spare();
            self.wait_for_more();
        }
    }

    /// A sweep has just found nothing, so nothing else waits.
    fn ask_for_spare(&mut self) {
        let Some(spare) = &self.spare else { return };
        let is_due = self.spare_asked_at.is_none_or(|asked_at| asked_at.elapsed() >= SPARE_EVERY);
        if !is_due || self.free.len() < self.free_for_spare || self.spare_slot.is_some() {
            return;
        }
        let Ok(slot) = self.spare_slots.clone().try_acquire_owned() else { return };
        self.spare_slot = Some(slot);
        self.spare_asked_at = Some(Instant::now());
        self.reserved += 1;
        self.pulls.push(pull_stream(vec![spare.clone()], 0, 1, Kind::Spare, Vec::new()).boxed());
    }

    /// Most urgent first, and now and then the other way round.
    fn order(&self) -> Vec<usize> {
        let urgent_first = 0..self.consumers.len();
        if self.sweeps.is_multiple_of(LOW_FIRST_EVERY) {
            urgent_first.rev().collect()
        } else {
            urgent_first.collect()
        }
    }

    fn wait_for_more(&mut self) {
        let count = self.consumers.len();
        let wait = if self.free.len() >= count { LONG_WAIT } else { SHORT_WAIT };
        for _ in 0..count {
            if self.unreserved() == 0 {
                return;
            }
            let consumer = self.next_waiting % count;
            self.next_waiting = (consumer + 1) % count;
            if !self.waiting[consumer] {
                self.waiting[consumer] = true;
                self.pull(consumer, 1, Kind::Wait(wait), Vec::new());
            }
        }
    }

    fn pull(&mut self, consumer: usize, count: usize, kind: Kind, rest: Vec<usize>) {
        self.reserved += count;
        let stream = pull_stream(self.consumers.clone(), consumer, count, kind, rest);
        self.pulls.push(stream.boxed());
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Message(delivery, kind) => {
                self.reserved -= 1;
                let spare = match kind {
                    Kind::Spare => self.spare_slot.take(),
                    Kind::Sweep | Kind::Wait(_) => {
                        self.is_sweep_due = true;
                        None
                    }
                };
                let Some(slot) = self.free.pop() else {
                    tracing::error!("a message came without a slot for it; it goes back");
                    return delivery.hand_back().await;
                };
                if let Err(unread) = self.sender.send(Slotted { delivery: *delivery, slot, spare }).await {
                    unread.0.delivery.hand_back().await;
                }
            }
            Event::Ended { consumer, unused, kind, failed } => {
                self.reserved -= unused;
                match kind {
                    Kind::Sweep => self.is_sweeping = false,
                    Kind::Wait(_) => self.waiting[consumer] = false,
                    Kind::Spare => self.spare_slot = None,
                }
                if failed {
                    tokio::time::sleep(PULL_RETRY_DELAY).await;
                }
            }
        }
    }

    /// The channel closes only after this, so that the process does not end while a message is on its way to
    /// it: the next worker would have to wait for the lease to run out.
    async fn hand_back_the_rest(mut self) {
        self.slots.close();
        while let Some(event) = self.pulls.next().await {
            if let Event::Message(delivery, _) = event {
                delivery.hand_back().await;
            }
        }
    }
}

/// One pull. One that does not wait takes what is there and then asks the `rest` of the consumers for what is
/// still missing; one that does takes the first message that comes.
fn pull_stream(
    consumers: Vec<Consumer<pull::Config>>,
    consumer: usize,
    count: usize,
    kind: Kind,
    rest: Vec<usize>,
) -> impl Stream<Item = Event> + Send {
    async_stream(move |sender| async move {
        let mut unused = count;
        let mut failed = false;
        for index in std::iter::once(consumer).chain(rest) {
            if unused == 0 {
                break;
            }
            let (taken, failure) = one_pull(&consumers[index], unused, kind, &sender).await;
            unused -= taken;
            if let Some(reason) = failure {
                tracing::warn!(reason, "a pull failed; trying again");
                failed = true;
            }
        }
        let ended = Event::Ended { consumer, unused, kind, failed };
        let _ = sender.send(ended).await;
    })
}

/// Messages taken, and what went wrong after them.
async fn one_pull(
    consumer: &Consumer<pull::Config>,
    count: usize,
    kind: Kind,
    sender: &mpsc::Sender<Event>,
) -> (usize, Option<String>) {
    let wait = match kind {
        Kind::Wait(wait) => Some(wait),
        Kind::Sweep | Kind::Spare => None,
    };
    let request = consumer.fetch().max_messages(count);
    let request = match wait {
        Some(wait) => request.expires(wait),
        None => request,
    };
    let batch = match request.messages().await {
        Ok(batch) => batch,
        Err(error) => return (0, Some(error.to_string())),
    };
    let lost = tokio::time::sleep(wait.unwrap_or_default() + ANSWER_GRACE);
    let mut batch = Box::pin(batch.take_until(lost));
    let mut taken = 0;
    while let Some(message) = batch.next().await {
        let delivery = match message {
            Ok(message) => Delivery::new(message),
            Err(error) => return (taken, Some(error.to_string())),
        };
        let Some(delivery) = delivery else { continue };
        taken += 1;
        if sender.send(Event::Message(Box::new(delivery), kind)).await.is_err() {
            break;
        }
    }
    (taken, None)
}

/// Events of one pull on their way to the loop.
const EVENTS_IN_FLIGHT: usize = 16;

/// A stream fed by a task of its own, so that a pull that has been sent is always read to its end.
fn async_stream<F, Fut>(feed: F) -> impl Stream<Item = Event> + Send
where
    F: FnOnce(mpsc::Sender<Event>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(EVENTS_IN_FLIGHT);
    tokio::spawn(feed(sender));
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|event| (event, receiver))
    })
}
