//! The one task that owns the worker's state: containers, attempts, builds, spares, outbox.
//!
//! It never waits for a container or the network: it is told everything as an [`Event`], and what
//! cannot be sent yet waits in the outbox. So nobody who waits for the manager can hold it up.

mod attend;
mod builds;
mod containers;
mod link;
mod orders;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metal9_types::{AttemptId, ContainerId, StubId};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use attend::Attendant;

use crate::container::{Addresses, Command, Tools};
use crate::devices;
use crate::event::Event;
use crate::machine::Gauge;
use crate::outbox::Outbox;
use crate::report::Report;
use crate::runner::Runner;
use crate::spares::{Key, Kind, Spares, Taken};

/// Builds that run at a time; the others wait.
const BUILDS: usize = 2;

/// How long a call runs before its start is reported by itself: the end of a shorter one says it
/// too, which saves a message.
const SHORT_CALL: Duration = Duration::from_millis(3);

/// How long the end of the worker may take.
const END_WITHIN: Duration = Duration::from_secs(8);

/// Who waits for a spare.
type SpareReply = oneshot::Sender<Option<Box<Runner>>>;
/// How much longer than they may, by the gateway's clock, calls may go on while the worker drains.
const OVERTIME: Duration = Duration::from_secs(2);

/// A container as the manager sees it.
#[derive(Debug)]
struct ContainerEntry {
    stub: StubId,
    /// Its devices, as places in the worker's list.
    devices: Vec<usize>,
    commands: mpsc::Sender<Command>,
    /// The attempt that runs in it.
    current: Option<AttemptId>,
    /// The attempt that ran in it last, or runs.
    last: AttemptId,
    /// `true` until its handler is loaded.
    starting: bool,
    /// `true` once it was told to stop.
    stopping: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Assigned,
    /// The user's code was called.
    Started,
    /// It is over and the gateway has yet to acknowledge that.
    Finished,
    /// The gateway wants to hear no end of it.
    Stopped,
}

impl State {
    fn is_running(self) -> bool {
        matches!(self, Self::Assigned | Self::Started)
    }
}

/// An attempt as the manager sees it. Every attempt here has a queue in the outbox, or is stopped.
#[derive(Debug)]
struct AttemptEntry {
    task_id: String,
    container: ContainerId,
    state: State,
}

/// A worker without a call for this long is quiet. Between two of many short calls there is none
/// for a moment.
const QUIET: Duration = Duration::from_millis(500);

/// The manager.
#[derive(Debug)]
pub(crate) struct Manager {
    tools: Arc<Tools>,
    addresses: Addresses,
    containers: HashMap<ContainerId, ContainerEntry>,
    attempts: HashMap<AttemptId, AttemptEntry>,
    /// What ends a build when it is dropped.
    builds: HashMap<u64, DropGuard>,
    build_slots: Arc<Semaphore>,
    spares: Spares<Box<Runner>, SpareReply>,
    /// When a call was last seen running.
    last_busy: Option<Instant>,
    outbox: Outbox,
    /// Reports that belong to no attempt, or overtake its outputs.
    control: VecDeque<Report>,
    /// Calls that have begun and have yet to be reported, in the order of the time for it.
    starts: VecDeque<(Instant, AttemptId)>,
    /// Where reports go while there is a session.
    link: Option<mpsc::Sender<Report>>,
    /// How many sessions were begun.
    session: u64,
    heartbeat: Interval,
    gauge: Gauge,
    condition: devices::Gauge,
    attendant: Attendant,
    attendance: Interval,
    /// What ended an earlier run while jobs ran; told to the gateway once.
    interruption: String,
    /// How long running calls may go on once the worker was told to end.
    drain: Duration,
    /// Until when they may, once it was.
    draining: Option<Instant>,
    /// Cancelled when the worker is ending.
    ending: CancellationToken,
    /// Set once the worker is ending.
    deadline: Option<Instant>,
}

impl Manager {
    /// A manager that keeps at most `spares` runners ready.
    pub(crate) fn new(
        tools: Arc<Tools>,
        outbox: PathBuf,
        spares: usize,
        condition: devices::Gauge,
    ) -> Self {
        Self {
            tools,
            addresses: Addresses::default(),
            containers: HashMap::new(),
            attempts: HashMap::new(),
            builds: HashMap::new(),
            build_slots: Arc::new(Semaphore::new(BUILDS)),
            spares: Spares::new(spares),
            last_busy: None,
            outbox: Outbox::new(outbox),
            control: VecDeque::new(),
            starts: VecDeque::new(),
            link: None,
            session: 0,
            heartbeat: interval(Duration::from_secs(1)),
            gauge: Gauge::new(),
            condition,
            attendant: Attendant::default(),
            attendance: interval(attend::EVERY),
            interruption: String::new(),
            drain: Duration::ZERO,
            draining: None,
            ending: CancellationToken::new(),
            deadline: None,
        }
    }

    /// Lets running calls go on for so long after the worker was told to end; `ending` is cancelled
    /// when that is over.
    pub(crate) fn draining_for(mut self, drain: Duration, ending: CancellationToken) -> Self {
        (self.drain, self.ending) = (drain, ending);
        self
    }

    /// Lets it look after the machine, and say what ended an earlier run.
    pub(crate) fn attended(mut self, attendant: Attendant, interruption: String) -> Self {
        (self.attendant, self.interruption) = (attendant, interruption);
        self
    }

    /// Runs until `shutdown`, then until the running calls are over or have had their time, and
    /// then until every container is gone.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        shutdown: CancellationToken,
    ) {
        loop {
            self.send_reports();
            if self.has_ended() {
                return;
            }
            if self.has_drained() {
                self.begin_end();
                continue;
            }
            let waits = self.draining.filter(|_| self.deadline.is_none());
            let sending = self.has_reports() && self.link.is_some();
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if self.draining.is_none() && self.deadline.is_none() => {
                    self.begin_drain();
                }
                // The gateway ends what still runs then; this is for when it does not.
                () = until(waits.map(|until| until + OVERTIME)), if waits.is_some() => {
                    self.begin_end();
                }
                () = until(self.deadline), if self.deadline.is_some() => {
                    tracing::warn!("the worker ends before everything was told to the gateway");
                    return;
                }
                _ = self.heartbeat.tick(), if self.link.is_some() => {
                    self.look_for_sleep();
                    self.beat();
                }
                _ = self.attendance.tick(), if self.needs_attendance() => self.attend(),
                () = until(self.starts.front().map(|(at, _)| *at)), if !self.starts.is_empty() => {
                    self.tell_starts();
                }
                () = room(self.link.as_ref()), if sending => {}
                event = events.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return,
                },
            }
            self.make_spare();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Opening { presence } => {
                let _ = presence.send(self.begin_session());
            }
            Event::Open { welcome, outgoing } => self.welcome(welcome, outgoing),
            Event::Closed => self.link = None,
            Event::Measured(gauge) => self.condition = *gauge,
            Event::Order(order) => self.obey(order),
            Event::ResultPushed { attempt, session, outcome } => {
                self.result_pushed(attempt, session, outcome);
            }
            Event::Progress { attempt, text } => {
                self.tell_if_connected(Report::Progress { attempt, text });
            }
            Event::Output { attempt, stream, text, room } => {
                self.outbox.output(attempt, stream, text, room);
            }
            Event::Started(attempt) => self.started(attempt),
            Event::Ended { attempt, ended } => self.ended(attempt, ended),
            Event::Loaded(container) => {
                if let Some(entry) = self.containers.get_mut(&container) {
                    entry.starting = false;
                }
            }
            Event::Gone { container, reason } => self.gone(container, reason),
            Event::Prepared(environment) => {
                if let Some(shape) = self.tools.workshop.usual() {
                    self.spares.prepare(Kind { environment, shape });
                }
            }
            Event::TakeSpare { kind, reply } => self.take_spare(kind, reply),
            Event::Spare { kind, runner } => {
                if let Some((reply, runner)) = self.spares.made(&kind, runner) {
                    self.hand_over(&kind, reply, runner);
                }
            }
            Event::BuildProgress { build, text } => {
                self.tell_if_connected(Report::BuildProgress { build, text });
            }
            Event::Built { build, outcome } => {
                self.builds.remove(&build);
                self.control.push_back(Report::Built { build, outcome });
            }
        }
    }

    /// The worker was told to end: nothing new, but what runs may go on for a while.
    fn begin_drain(&mut self) {
        if self.drain.is_zero() || self.containers.is_empty() {
            self.begin_end();
            return;
        }
        let (within, containers) = (self.drain, self.containers.len());
        tracing::info!(containers, ?within, "the worker leaves once its calls are over");
        self.draining = Some(Instant::now() + within);
        self.spares.clear();
        self.control.push_back(Report::Leaving { within });
        if self.link.is_none() {
            // Nobody can give these a call any more, nor end them.
            let idle = |entry: &ContainerEntry| entry.current.is_none();
            let idle = self.containers.iter().filter(|(_, entry)| idle(entry));
            for container in idle.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.stop_container(container);
            }
        }
    }

    /// `true` if the worker was told to end and nothing runs on it any more.
    fn has_drained(&self) -> bool {
        self.draining.is_some() && self.deadline.is_none() && self.containers.is_empty()
    }

    /// Nothing new, and everything that runs is ended.
    fn begin_end(&mut self) {
        tracing::info!(containers = self.containers.len(), "ending the worker");
        self.ending.cancel();
        self.deadline = Some(Instant::now() + END_WITHIN);
        self.spares.clear();
        self.control.push_back(Report::Leaving { within: Duration::ZERO });
        for container in self.containers.keys().copied().collect::<Vec<_>>() {
            self.stop_container(container);
        }
    }

    /// `true` once everything is gone and, if the gateway is there, told.
    fn has_ended(&self) -> bool {
        let told = self.link.is_none() || (!self.has_reports() && self.outbox.is_empty());
        self.deadline.is_some() && self.containers.is_empty() && told
    }

    fn take_spare(&mut self, kind: Kind, reply: SpareReply) {
        let key = kind.key();
        match self.spares.take(Instant::now().into_std(), kind, reply) {
            Taken::Ready(reply, runner) => self.hand_over(&key, reply, Some(runner)),
            Taken::Nothing(reply) => self.hand_over(&key, reply, None),
            Taken::Soon => {}
        }
    }

    fn hand_over(&mut self, kind: &Key, reply: SpareReply, runner: Option<Box<Runner>>) {
        // A container that was stopped meanwhile does not take it.
        if let Err(Some(runner)) = reply.send(runner) {
            self.spares.give_back(kind, runner);
        }
    }

    /// Spares are made only while no job is being started: they must not slow it down.
    fn make_spare(&mut self) {
        let busy = self.containers.values().any(|entry| entry.starting);
        if busy || self.draining.is_some() || self.deadline.is_some() {
            return;
        }
        let now = Instant::now();
        if self.attempts.values().any(|attempt| attempt.state.is_running()) {
            self.last_busy = Some(now);
        }
        let quiet = self.last_busy.is_none_or(|at| now.duration_since(at) >= QUIET);
        let Some(kind) = self.spares.wanted(now.into_std(), quiet) else { return };
        let tools = self.tools.clone();
        metal9_tasks::spawn_infallible("spare-runner", async move {
            let runner = tools.workshop.spare(&kind).await.map(Box::new);
            let _ = tools.events.send(Event::Spare { kind: kind.key(), runner }).await;
        });
    }
}

/// A timer that does not catch up on ticks it missed.
fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}

/// Waits until the session takes another report, or ends.
async fn room(link: Option<&mpsc::Sender<Report>>) {
    if let Some(link) = link {
        let _ = link.reserve().await;
    }
}

#[cfg(test)]
mod tests;
