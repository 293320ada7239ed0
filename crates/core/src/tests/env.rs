//! A scheduler under test: a clock, short names for ids, and every action accounted for.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use metal9_types::{
    AttemptId, CallOutcome, ContainerId, Device, Failure, FailureKind, GpuRequest, Machine, Moment,
    Offer, OnBattery, Platform, Resources, Runtime, SessionId, StubId, TaskId, TaskStatus, Vendor,
    WorkerId, WorkspaceId,
};
use uuid::Uuid;

use crate::{
    Action, AttemptReport, Config, Core, Ignored, Input, Reattach, StubSpec, TaskSpec, Transition,
    WorkerHello, check,
};

pub(super) fn task(number: u64) -> TaskId {
    TaskId(Uuid::from_u128(0x7000_0000 + u128::from(number)))
}

pub(super) fn worker(number: u64) -> WorkerId {
    WorkerId(Uuid::from_u128(0xa000_0000 + u128::from(number)))
}

pub(super) fn stub(number: u64) -> StubId {
    StubId(Uuid::from_u128(0x5000_0000 + u128::from(number)))
}

pub(super) fn workspace(number: u64) -> WorkspaceId {
    WorkspaceId(Uuid::from_u128(0xc000_0000 + u128::from(number)))
}

/// A stub that asks for one core and 128 MiB and keeps idle containers for 10 s.
pub(super) fn stub_spec(number: u64) -> StubSpec {
    StubSpec {
        stub: stub(number),
        name: format!("f{number}"),
        resources: Resources { cpu_millicores: 1000, memory_mib: 128 },
        gpu: GpuRequest::default(),
        pool: None,
        runtime: None,
        root: metal9_types::RootSource::Host,
        allow_list: false,
        keep_warm: Duration::from_secs(10),
        image: "image".into(),
        object: format!("object-{number}"),
        priority: 0,
        max_containers: None,
        min_containers: 0,
        pace: None,
    }
}

/// A task of workspace 1 with 3 retries, no timeout and an hour to be begun.
pub(super) fn task_spec(number: u64, of: u64) -> TaskSpec {
    TaskSpec {
        task: task(number),
        workspace: workspace(1),
        stub: stub(of),
        attempts_used: 0,
        max_retries: 3,
        timeout: None,
        ttl: Duration::from_secs(3600),
        recovered: None,
        warm_up: false,
    }
}

/// A Linux worker of the default pool without accelerators and with an empty cache.
pub(super) fn hello(number: u64, session: u64, cores: u64, memory_mib: u64) -> WorkerHello {
    WorkerHello {
        worker: worker(number),
        session: SessionId(session),
        offer: Offer {
            hostname: format!("w{number}"),
            pool: "default".into(),
            platform: Platform::X86_64Linux,
            capacity: Resources { cpu_millicores: cores * 1000, memory_mib },
            machine: Machine::default(),
            devices: Vec::new(),
            on_battery: OnBattery::Run,
            runtimes: vec![Runtime::Native],
            root: metal9_types::RootSource::Host,
            allow_lists: false,
            pythons: vec!["3.11".into()],
            labels: BTreeMap::new(),
            version: "0.1.0".into(),
        },
        process: 0,
        attempts: Vec::new(),
        containers: Vec::new(),
        devices: BTreeMap::new(),
        thermal: None,
        power: None,
        cached: Vec::new(),
        interruption: String::new(),
    }
}

/// The same as a native worker on a Mac with one GPU.
pub(super) fn mac(number: u64, session: u64, family: &str, variant: &str) -> WorkerHello {
    let mut hello = hello(number, session, 8, 32_768);
    hello.offer.platform = Platform::Aarch64Darwin;
    hello.offer.devices = vec![device(Vendor::Apple, family, variant)];
    hello
}

pub(super) fn device(vendor: Vendor, family: &str, variant: &str) -> Device {
    Device {
        vendor,
        family: family.into(),
        variant: variant.into(),
        cores: 10,
        memory_mib: 24_000,
        slots: 1,
        simulated: false,
    }
}

/// An `Assign` together with the `Running` that comes with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    pub(super) task: TaskId,
    pub(super) attempt: AttemptId,
    pub(super) worker: WorkerId,
    pub(super) container: ContainerId,
    pub(super) fresh: bool,
    pub(super) number: u32,
}

impl Given {
    pub(super) fn reattach(self) -> Reattach {
        Reattach { attempt: self.attempt, task: self.task, container: self.container }
    }
}

pub(super) struct TestEnv {
    pub(super) core: Core,
    pub(super) now: Moment,
    pub(super) actions: VecDeque<Action>,
    /// The books are checked after every so many inputs.
    pub(super) check_every: u64,
    inputs: u64,
}

impl TestEnv {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        let now = Moment(1_000_000);
        let actions = VecDeque::new();
        Self { core: Core::new(config), now, actions, check_every: 1, inputs: 0 }
    }

    // ---- what happens ----

    pub(super) fn input(&mut self, input: Input) -> Result<(), Ignored> {
        let mut actions = Vec::new();
        let text = format!("{input:?}");
        let result = self.core.handle(self.now, input, &mut actions);
        if result.is_err() {
            assert!(actions.is_empty(), "an ignored input caused {actions:?}");
        }
        self.inputs += 1;
        if self.inputs.is_multiple_of(self.check_every)
            && let Err(violation) = check(&self.core)
        {
            panic!("after {text}: {violation}");
        }
        self.actions.extend(actions);
        result
    }

    pub(super) fn ok(&mut self, input: Input) {
        let text = format!("{input:?}");
        assert_eq!(self.input(input), Ok(()), "{text}");
    }

    /// Lets time pass and hears every deadline on the way.
    pub(super) fn pass(&mut self, duration: Duration) {
        let until = self.now.after(duration);
        let mut steps = 0;
        while let Some(next) = self.core.next_deadline().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.ok(Input::Timer);
            steps += 1;
            assert!(steps < 100_000, "deadlines never end: {next:?}");
        }
        self.now = until;
    }

    pub(super) fn millis(&mut self, millis: u64) {
        self.pass(Duration::from_millis(millis));
    }

    /// The same while the workers of these sessions keep saying something.
    pub(super) fn millis_alive(&mut self, millis: u64, sessions: &[(u64, u64)]) {
        let mut left = millis;
        while left > 0 {
            let step = left.min(1000);
            self.millis(step);
            left -= step;
            for &(number, session) in sessions {
                self.alive(number, session);
            }
        }
    }

    pub(super) fn alive(&mut self, number: u64, session: u64) {
        let session = SessionId(session);
        self.ok(Input::WorkerAlive { worker: worker(number), session });
    }

    pub(super) fn define(&mut self, spec: StubSpec) {
        self.ok(Input::DefineStub(spec));
    }

    /// Defines stub 1 as it comes.
    pub(super) fn stub(mut self) -> Self {
        self.define(stub_spec(1));
        self
    }

    pub(super) fn submit(&mut self, number: u64) {
        self.ok(Input::Submit(task_spec(number, 1)));
    }

    pub(super) fn hello(&mut self, number: u64, session: u64, cores: u64) {
        self.connect(hello(number, session, cores, 16_384));
    }

    /// Connects a worker that has nothing unwanted.
    pub(super) fn connect(&mut self, hello: WorkerHello) {
        assert_eq!(self.reconnect(hello), (Vec::new(), Vec::new()));
    }

    /// Connects a worker; what it is told to drop.
    pub(super) fn reconnect(&mut self, hello: WorkerHello) -> (Vec<AttemptId>, Vec<ContainerId>) {
        assert!(self.actions.is_empty(), "left over before a hello: {:?}", self.actions);
        let (id, present) = (hello.worker, hello.session);
        self.ok(Input::WorkerHello(Box::new(hello)));
        match self.next() {
            Action::Welcome { worker, session, drop_attempts, drop_containers } => {
                assert_eq!((worker, session), (id, present));
                (drop_attempts, drop_containers)
            }
            other => panic!("expected a welcome, got {other:?}"),
        }
    }

    pub(super) fn started(&mut self, given: Given) {
        let report = AttemptReport::Started;
        self.ok(Input::Attempt { attempt: given.attempt, report });
    }

    pub(super) fn report(&mut self, attempt: AttemptId, outcome: CallOutcome, reusable: bool) {
        let report = AttemptReport::Finished { outcome, reusable };
        self.ok(Input::Attempt { attempt, report });
    }

    /// The attempt returns and its container can go on.
    pub(super) fn finish(&mut self, given: Given) {
        self.report(given.attempt, CallOutcome::Returned, true);
        assert_eq!(self.ended(given.task).status, TaskStatus::Complete);
    }

    pub(super) fn fail(&mut self, given: Given, kind: FailureKind) {
        let failure = Failure::new(kind, "it failed");
        self.report(given.attempt, CallOutcome::Failed(failure), false);
    }

    pub(super) fn cancel(&mut self, id: TaskId) {
        let failure = Failure::new(FailureKind::Cancelled, "cancelled");
        self.ok(Input::Cancel { task: id, failure });
    }

    pub(super) fn gone(&mut self, container: ContainerId) {
        self.ok(Input::ContainerGone { container });
    }

    pub(super) fn disconnect(&mut self, number: u64, session: u64) {
        let session = SessionId(session);
        self.ok(Input::WorkerDisconnected { worker: worker(number), session });
    }

    // ---- what is to be done about it ----

    pub(super) fn next(&mut self) -> Action {
        self.actions.pop_front().expect("there is no action")
    }

    pub(super) fn nothing(&self) {
        assert!(self.actions.is_empty(), "unexpected: {:?}", self.actions);
    }

    pub(super) fn given(&mut self) -> Given {
        let Action::Assign { worker, attempt, attempt_number, task, container, fresh, .. } =
            self.next()
        else {
            panic!("expected an assignment before {:?}", self.actions)
        };
        let running = self.transition();
        assert_eq!((running.task, running.status), (task, TaskStatus::Running));
        assert_eq!((running.attempt, running.attempts_used), (Some(attempt), attempt_number));
        assert_eq!((running.worker, running.container), (Some(worker), Some(container)));
        Given { task, attempt, worker, container, fresh, number: attempt_number }
    }

    /// All assignments up to the next action of another kind.
    pub(super) fn all_given(&mut self) -> Vec<Given> {
        let mut all = Vec::new();
        while matches!(self.actions.front(), Some(Action::Assign { .. })) {
            all.push(self.given());
        }
        all
    }

    pub(super) fn transition(&mut self) -> Transition {
        match self.next() {
            Action::Transition(transition) => transition,
            other => panic!("expected a transition, got {other:?}"),
        }
    }

    pub(super) fn ended(&mut self, id: TaskId) -> Transition {
        let transition = self.transition();
        assert_eq!(transition.task, id);
        assert!(transition.status.is_terminal(), "{transition:?}");
        assert_eq!(self.core.task(id), None, "an ended task is forgotten");
        transition
    }

    pub(super) fn retried(&mut self, id: TaskId, kind: FailureKind) -> Transition {
        let transition = self.transition();
        assert_eq!((transition.task, transition.status), (id, TaskStatus::Retry));
        assert_eq!(transition.failure.as_ref().map(|failure| failure.kind), Some(kind));
        transition
    }

    pub(super) fn waiting(&mut self, id: TaskId) -> String {
        match self.next() {
            Action::Waiting { task, sentence } if task == id => sentence,
            other => panic!("expected a sentence for {id}, got {other:?}"),
        }
    }

    pub(super) fn stopped_container(&mut self) -> ContainerId {
        match self.next() {
            Action::StopContainer { container, .. } => container,
            other => panic!("expected the end of a container, got {other:?}"),
        }
    }

    pub(super) fn stopped_attempt(&mut self, kind: FailureKind) -> AttemptId {
        match self.next() {
            Action::StopAttempt { attempt, reason, .. } if reason == kind => attempt,
            other => panic!("expected the end of an attempt, got {other:?}"),
        }
    }

    pub(super) fn worker_left(&mut self, number: u64) {
        assert_eq!(self.next(), Action::WorkerLeft { worker: worker(number) });
    }

    pub(super) fn worker_lost(&mut self, number: u64) {
        assert_eq!(self.next(), Action::WorkerLost { worker: worker(number) });
    }

    /// Workers and tasks that are there; for asking about all of them.
    pub(super) fn sentence(&self, number: u64) -> String {
        self.core.explain(self.now, task(number)).expect("the task is there").sentence
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.nothing();
        }
    }
}
