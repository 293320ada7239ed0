//! Between a worker and the gateway: sessions, and what goes wrong with them.
//!
//! A session is a stream: it loses nothing in the middle and keeps its order, but it can stall,
//! be reset with what is on its way, or be held open by one side only. Beyond that, some of the
//! workers' reports may be made to arrive twice or out of order: that is harder than the real
//! thing, in which only reports of different sessions overtake one another.

use std::collections::BTreeMap;
use std::time::Duration;

use metal9_core::{Input, Reattach, WorkerHello};
use metal9_types::{Moment, SessionId, StubId, TaskId};
use rand::RngExt as _;

use super::World;
use super::event::{Event, Fault, Timer, ToGateway, ToWorker};
use super::worker::State;
use crate::draw::{self, Stream};
use crate::script::{Span, Way};

/// The first wait before dialling again, and the longest.
pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(100);
pub(super) const MOST_BACKOFF: Duration = Duration::from_secs(5);
/// A session that lasted this long was a good one: the next dial does not wait long.
const GOOD_SESSION: Duration = Duration::from_secs(5);
/// How long the gateway may take to answer a hello.
const WELCOME_WITHIN: Duration = Duration::from_secs(10);
/// When a side that has no answer to its pings gives up: a worker pings every 5 s and waits 5 s,
/// the gateway pings every 20 s and waits 10 s.
const WORKER_PATIENCE: Span = Span::millis(5_000, 10_000);
const GATEWAY_PATIENCE: Span = Span::millis(10_000, 30_000);

/// A connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) worker: usize,
    /// The worker holds its end open.
    pub(crate) worker_open: bool,
    /// The gateway has read a hello and holds its end open.
    pub(crate) gateway_open: bool,
    /// Nothing sent later arrives before these.
    up_clear: Moment,
    down_clear: Moment,
    stalled_up: Vec<ToGateway>,
    stalled_down: Vec<ToWorker>,
}

impl Session {
    pub(super) fn clear_at(&self) -> Moment {
        self.up_clear.max(self.down_clear)
    }

    /// `true` if something of it waits for a link.
    pub(super) fn waits(&self) -> bool {
        !self.stalled_up.is_empty()
    }
}

impl World {
    // ---- sending ----

    pub(super) fn send_up(&mut self, session: SessionId, message: ToGateway) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let worker = known.worker;
        if self.workers[worker].up_blocked {
            known.stalled_up.push(message);
            return;
        }
        let network = self.network;
        let mut draw = self.draw_for(worker, Stream::Messages);
        let mut at = self.now.after(draw::duration(&mut draw, network.delay));
        let Some(known) = self.sessions.get_mut(&session) else { return };
        if message.is_report() && draw::happens(&mut draw, network.reorder) {
            at = at.after(network.delay.most * draw.random_range(1..10));
        } else {
            at = at.max(known.up_clear);
            known.up_clear = at;
        }
        if message.is_report() && draw::happens(&mut draw, network.duplicate) {
            let again = at.after(draw::duration(&mut draw, network.delay));
            self.queue.push(again, Event::Up { session, message: message.clone() });
        }
        self.queue.push(at, Event::Up { session, message });
    }

    /// Orders are never out of order, and one that comes twice comes at once: the worker's end of
    /// a stream reads them one after another.
    pub(super) fn send_down(&mut self, session: SessionId, message: ToWorker) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let worker = known.worker;
        if self.workers[worker].down_blocked {
            known.stalled_down.push(message);
            return;
        }
        let network = self.network;
        let mut draw = self.draw_for(worker, Stream::Messages);
        let at = self.now.after(draw::duration(&mut draw, network.delay));
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let at = at.max(known.down_clear);
        known.down_clear = at;
        if message.is_order() && draw::happens(&mut draw, network.duplicate) {
            self.queue.push(at, Event::Down { session, message: message.clone() });
        }
        self.queue.push(at, Event::Down { session, message });
    }

    // ---- arriving ----

    pub(super) fn arrives_up(&mut self, session: SessionId, message: ToGateway) {
        self.summary.messages += 1;
        let Some(known) = self.sessions.get_mut(&session) else { return };
        match message {
            ToGateway::Hello(hello) if self.gateway.up => {
                known.gateway_open = true;
                let worker = known.worker;
                self.say(|names| format!("{} connects", names.worker(worker)));
                // What the worker has must be counted, whether or not a task of it is left.
                for (_, stub) in &hello.containers {
                    let spec = self.stubs[super::index_of(stub.0)].spec.clone();
                    self.feed(Input::DefineStub(spec), None);
                }
                self.feed(Input::WorkerHello(hello), None);
            }
            ToGateway::Close => self.gateway_closes(session),
            message if known.gateway_open => self.receive(session, message),
            // Nobody is there to hear it, and the machine says so.
            _ if known.worker_open => self.send_down(session, ToWorker::Close),
            _ => {}
        }
    }

    pub(super) fn arrives_down(&mut self, session: SessionId, message: ToWorker) {
        let Some(known) = self.sessions.get(&session) else { return };
        let (worker, open) = (known.worker, known.worker_open);
        if !self.workers[worker].on {
            return;
        }
        if self.workers[worker].frozen {
            let event = Event::Down { session, message };
            self.workers[worker].held.push(event);
            return;
        }
        self.summary.messages += 1;
        if open && self.workers[worker].session == Some(session) {
            self.obey(worker, session, message);
        } else if known.gateway_open && !open {
            self.send_up(session, ToGateway::Close);
        }
    }

    // ---- opening and closing ----

    /// The worker dials and says what it has.
    pub(super) fn dial(&mut self, worker: usize) {
        let it = &self.workers[worker];
        if it.session.is_some() {
            return;
        }
        let refused = !self.gateway.up && !it.up_blocked && !it.down_blocked;
        if it.cut || refused {
            let wait = self.next_backoff(worker);
            self.set_timer(worker, wait, Timer::Dial);
            return;
        }
        self.next_session += 1;
        let session = SessionId(self.next_session);
        let hello = self.hello(worker, session);
        let known = Session {
            worker,
            worker_open: true,
            gateway_open: false,
            up_clear: self.now,
            down_clear: self.now,
            stalled_up: Vec::new(),
            stalled_down: Vec::new(),
        };
        self.sessions.insert(session, known);
        self.summary.sessions += 1;
        let it = &mut self.workers[worker];
        it.sessions.push(session);
        it.session = Some(session);
        it.welcomed = false;
        // The hello says what containers there are.
        it.control.retain(|report| matches!(report, ToGateway::Leaving));
        let started = it.attempts.iter().filter(|(_, known)| matches!(known.state, State::Started));
        it.control.extend(started.map(|(attempt, _)| ToGateway::Started(*attempt)));
        self.send_up(session, ToGateway::Hello(Box::new(hello)));
        self.set_timer(worker, WELCOME_WITHIN, Timer::DialTimeout(session));
    }

    fn hello(&self, worker: usize, session: SessionId) -> WorkerHello {
        let it = &self.workers[worker];
        let listed = it.attempts.iter().filter(|(_, known)| known.listed);
        WorkerHello {
            worker: it.id,
            session,
            offer: it.offer.clone(),
            attempts: listed
                .map(|(attempt, known)| Reattach {
                    attempt: *attempt,
                    task: TaskId(super::id_of(super::TASKS, known.task)),
                    container: known.container,
                })
                .collect(),
            containers: it
                .containers
                .iter()
                .map(|(id, hull)| (*id, StubId(super::id_of(super::STUBS, hull.stub))))
                .collect(),
            devices: BTreeMap::new(),
            thermal: None,
            power: None,
            cached: it.cached.iter().cloned().collect(),
        }
    }

    /// The worker closes its end, if it has one, and dials again after a while.
    pub(super) fn worker_closes(&mut self, worker: usize) {
        let Some(session) = self.workers[worker].session.take() else { return };
        let it = &mut self.workers[worker];
        if it.welcomed && self.now.since(it.session_began) >= GOOD_SESSION {
            it.backoff = FIRST_BACKOFF;
        }
        it.welcomed = false;
        if let Some(known) = self.sessions.get_mut(&session) {
            known.worker_open = false;
        }
        self.send_up(session, ToGateway::Close);
        if self.workers[worker].on {
            let wait = self.next_backoff(worker);
            self.set_timer(worker, wait, Timer::Dial);
        }
    }

    /// The gateway's end closes, whoever began it.
    pub(super) fn gateway_closes(&mut self, session: SessionId) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let (worker, was_open) = (known.worker, known.gateway_open);
        known.gateway_open = false;
        if known.worker_open {
            self.send_down(session, ToWorker::Close);
        }
        if was_open && self.gateway.up {
            self.say(|names| format!("{} is disconnected", names.worker(worker)));
            let worker = self.workers[worker].id;
            self.feed(Input::WorkerDisconnected { worker, session }, None);
        }
    }

    // ---- faults ----

    pub(super) fn cut(&mut self, worker: usize, lasts: Option<Duration>) {
        let number = self.workers[worker].count_fault(Fault::Cut);
        self.workers[worker].cut = true;
        self.relieve_later(worker, Fault::Cut, number, lasts);
        for session in self.workers[worker].sessions.clone() {
            let Some(known) = self.sessions.get_mut(&session) else { continue };
            known.stalled_up.clear();
            known.stalled_down.clear();
            let was_open = std::mem::replace(&mut known.gateway_open, false);
            known.worker_open = false;
            if was_open {
                let mut draw = self.draw_for(worker, Stream::Messages);
                let delay = draw::duration(&mut draw, self.network.delay);
                self.queue.push(self.now.after(delay), Event::Reset { session });
            } else {
                self.sessions.remove(&session);
            }
        }
        let it = &mut self.workers[worker];
        it.sessions.clear();
        it.welcomed = false;
        let had_one = it.session.take().is_some();
        if had_one && self.workers[worker].on {
            let wait = self.next_backoff(worker);
            self.set_timer(worker, wait, Timer::Dial);
        }
    }

    /// The gateway finds out that a session was reset.
    pub(super) fn on_reset(&mut self, session: SessionId) {
        let Some(known) = self.sessions.remove(&session) else { return };
        if self.gateway.up {
            let index = known.worker;
            self.say(|names| format!("{} is disconnected", names.worker(index)));
            let worker = self.workers[index].id;
            self.feed(Input::WorkerDisconnected { worker, session }, None);
        }
    }

    pub(super) fn partition(&mut self, worker: usize, way: Way, lasts: Option<Duration>) {
        let number = self.workers[worker].count_fault(Fault::Partition);
        let it = &mut self.workers[worker];
        it.up_blocked |= way != Way::Down;
        it.down_blocked |= way != Way::Up;
        self.relieve_later(worker, Fault::Partition, number, lasts);
        self.trouble_begins(worker);
    }

    /// Pings are not answered any more: sooner or later each side gives up.
    pub(super) fn trouble_begins(&mut self, worker: usize) {
        self.workers[worker].trouble += 1;
        let trouble = self.workers[worker].trouble;
        for session in self.workers[worker].sessions.clone() {
            let mut draw = self.draw_for(worker, Stream::Sessions);
            let patience = draw::duration(&mut draw, WORKER_PATIENCE);
            self.queue.push(self.now.after(patience), Event::WorkerGivesUp { session, trouble });
            let patience = draw::duration(&mut draw, GATEWAY_PATIENCE);
            self.queue.push(self.now.after(patience), Event::GatewayGivesUp { session, trouble });
        }
    }

    pub(super) fn gives_up(&mut self, session: SessionId, trouble: u32, is_worker: bool) {
        let Some(known) = self.sessions.get(&session) else { return };
        let (worker, open) = (known.worker, known.gateway_open);
        let it = &self.workers[worker];
        if it.trouble != trouble || it.is_reachable() {
            return;
        }
        if !is_worker && open {
            self.gateway_closes(session);
        } else if is_worker && it.on && !it.frozen && it.session == Some(session) {
            self.worker_closes(worker);
        }
    }

    pub(super) fn end_partition(&mut self, worker: usize) {
        let it = &mut self.workers[worker];
        it.up_blocked = false;
        it.down_blocked = false;
        it.trouble += 1;
        for session in it.sessions.clone() {
            let Some(known) = self.sessions.get_mut(&session) else { continue };
            let up = std::mem::take(&mut known.stalled_up);
            let down = std::mem::take(&mut known.stalled_down);
            for message in up {
                self.send_up(session, message);
            }
            for message in down {
                self.send_down(session, message);
            }
        }
    }
}
