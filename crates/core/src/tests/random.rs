//! Whatever comes in, in whatever order: the books balance, nothing panics, and each task ends at
//! most once.

use std::collections::BTreeSet;
use std::time::Duration;

use metal9_types::{
    AttemptId, CallOutcome, ContainerId, Failure, FailureKind, GpuRequest, OnBattery, Power,
    SessionId, Thermal, Vendor,
};
use proptest::prelude::*;

use super::env::{TestEnv, device, hello, stub, stub_spec, task, task_spec, worker, workspace};
use crate::{Action, AttemptReport, Config, Input, Reattach, TaskSpec, WorkspaceRules};

/// One thing that happens. Ids are small numbers, so that they often mean something.
#[derive(Clone, Debug)]
enum Step {
    Submit { task: u64, stub: u64, workspace: u64, retries: u32, limits: u64, recovered: bool },
    Cancel { task: u64 },
    Hello { worker: u64, cores: u64, keeps: u64, lies: u64 },
    Alive { worker: u64, stale: bool },
    Disconnect { worker: u64, stale: bool },
    Leave { worker: u64, within: u64 },
    Cordon { worker: u64, on: bool },
    Drain { worker: u64, within: u64 },
    Condition { worker: u64, thermal: usize, battery: bool },
    Rules { workspace: u64, cores: u64 },
    Started { attempt: usize },
    Finished { attempt: usize, kind: u64, reusable: bool },
    Gone { container: usize },
    Stop { container: usize },
    Pass { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let pick = 0..12_usize;
    prop_oneof![
        6 => (0..30_u64, 1..6_u64, 1..4_u64, 0..3_u32, 0..5_u64, prop::bool::weighted(0.1)).prop_map(
            |(task, stub, workspace, retries, limits, recovered)| {
                Step::Submit { task, stub, workspace, retries, limits, recovered }
            }
        ),
        1 => (0..30_u64).prop_map(|task| Step::Cancel { task }),
        2 => (1..4_u64, 1..5_u64, 0..4_u64, 0..4_u64)
            .prop_map(|(worker, cores, keeps, lies)| Step::Hello { worker, cores, keeps, lies }),
        2 => (1..4_u64, any::<bool>()).prop_map(|(worker, stale)| Step::Alive { worker, stale }),
        1 => (1..4_u64, any::<bool>())
            .prop_map(|(worker, stale)| Step::Disconnect { worker, stale }),
        1 => (1..4_u64, 0..3_u64).prop_map(|(worker, within)| Step::Leave { worker, within }),
        1 => (1..4_u64, any::<bool>()).prop_map(|(worker, on)| Step::Cordon { worker, on }),
        1 => (1..4_u64, 0..4_u64).prop_map(|(worker, within)| Step::Drain { worker, within }),
        2 => (1..4_u64, 0..6_usize, any::<bool>()).prop_map(|(worker, thermal, battery)| {
            Step::Condition { worker, thermal, battery }
        }),
        1 => (1..4_u64, 0..4_u64).prop_map(|(workspace, cores)| Step::Rules { workspace, cores }),
        4 => pick.clone().prop_map(|attempt| Step::Started { attempt }),
        6 => (pick.clone(), 0..6_u64, any::<bool>())
            .prop_map(|(attempt, kind, reusable)| Step::Finished { attempt, kind, reusable }),
        4 => pick.clone().prop_map(|container| Step::Gone { container }),
        1 => pick.prop_map(|container| Step::Stop { container }),
        4 => (0..4000_u64).prop_map(|millis| Step::Pass { millis }),
    ]
}

const THERMAL: [Option<Thermal>; 6] = [
    None,
    Some(Thermal::Nominal),
    Some(Thermal::Moderate),
    Some(Thermal::Heavy),
    Some(Thermal::Trapping),
    Some(Thermal::Sleeping),
];

struct Chaos {
    env: TestEnv,
    session: u64,
    /// Attempts and containers ever heard of, the newest last.
    attempts: Vec<Reattach>,
    containers: Vec<(ContainerId, u64)>,
    ended: BTreeSet<metal9_types::TaskId>,
}

impl Chaos {
    fn new() -> Self {
        let mut env = TestEnv::with(Config { epoch: 3, ..Config::default() });
        for number in 1..=5 {
            let mut spec = stub_spec(number);
            match number {
                2 => spec.resources.cpu_millicores = 2500,
                3 => spec.keep_warm = Duration::ZERO,
                4 => {
                    spec.gpu = GpuRequest::parse("MPS,H100", 1);
                    // One that comes first within its workspace.
                    spec.priority = 1;
                }
                5 => {
                    spec.resources.cpu_millicores = 300;
                    spec.max_containers = Some(2);
                    spec.priority = 2;
                }
                _ => {}
            }
            env.define(spec);
        }
        let known = (AttemptId(1 << 32 | 1), ContainerId(1 << 32 | 1));
        let old = Reattach { attempt: known.0, task: task(1), container: known.1 };
        let containers = vec![(known.1, 1), (ContainerId(1 << 40), 1), (ContainerId(5), 77)];
        Self { env, session: 0, attempts: vec![old], containers, ended: BTreeSet::new() }
    }

    fn attempt(&self, index: usize) -> Reattach {
        self.attempts[self.attempts.len().saturating_sub(1 + index)]
    }

    fn container(&self, index: usize) -> (ContainerId, u64) {
        self.containers[self.containers.len().saturating_sub(1 + index)]
    }

    fn apply(&mut self, step: &Step) {
        let session =
            |session: u64, stale: bool| SessionId(session - u64::from(stale).min(session));
        let input = match *step {
            Step::Submit { task: number, stub, workspace: whose, retries, limits, recovered } => {
                // The store never hands out an id again.
                if self.ended.contains(&task(number)) {
                    return;
                }
                Input::Submit(TaskSpec {
                    workspace: workspace(whose),
                    max_retries: retries,
                    timeout: (limits > 0).then(|| Duration::from_millis(500 * limits)),
                    ttl: Duration::from_millis(2000 * limits),
                    attempts_used: u32::from(recovered),
                    recovered,
                    ..task_spec(number, stub)
                })
            }
            Step::Cancel { task: number } => {
                let failure = Failure::new(FailureKind::Cancelled, "cancelled");
                Input::Cancel { task: task(number), failure }
            }
            Step::Hello { worker, cores, keeps, lies } => self.hello(worker, cores, keeps, lies),
            Step::Alive { worker: number, stale } => Input::WorkerAlive {
                worker: worker(number),
                session: session(self.session_of(number), stale),
            },
            Step::Disconnect { worker: number, stale } => Input::WorkerDisconnected {
                worker: worker(number),
                session: session(self.session_of(number), stale),
            },
            Step::Leave { worker: number, within: 0 } => {
                Input::WorkerLeaving { worker: worker(number) }
            }
            Step::Leave { worker: number, within } => Input::WorkerLeavingWithin {
                worker: worker(number),
                within: Duration::from_secs(within),
            },
            Step::Cordon { worker: number, on } => Input::Cordon { worker: worker(number), on },
            Step::Drain { worker: number, within } => {
                Input::Drain { worker: worker(number), within: Duration::from_secs(within) }
            }
            Step::Condition { worker: number, thermal, battery } => Input::WorkerCondition {
                worker: worker(number),
                session: session(self.session_of(number), false),
                thermal: THERMAL[thermal],
                power: Some(if battery { Power::Battery } else { Power::Ac }),
            },
            Step::Rules { workspace: whose, cores } => {
                let most = (cores > 0).then_some(cores * 1000);
                let rules =
                    WorkspaceRules { max_cpu_millicores: most, ..WorkspaceRules::default() };
                Input::SetWorkspace { workspace: workspace(whose), rules }
            }
            Step::Started { attempt } => {
                let report = AttemptReport::Started;
                Input::Attempt { attempt: self.attempt(attempt).attempt, report }
            }
            Step::Finished { attempt, kind, reusable } => {
                let failed = |kind| CallOutcome::Failed(Failure::new(kind, "failed"));
                let outcome = match kind {
                    0 => failed(FailureKind::Crash),
                    1 => failed(FailureKind::Exception),
                    _ => CallOutcome::Returned,
                };
                let report = AttemptReport::Finished { outcome, reusable };
                Input::Attempt { attempt: self.attempt(attempt).attempt, report }
            }
            Step::Gone { container } => {
                Input::ContainerGone { container: self.container(container).0 }
            }
            Step::Stop { container } => {
                Input::StopContainer { container: self.container(container).0 }
            }
            Step::Pass { millis } => {
                self.env.millis(millis);
                self.note();
                return;
            }
        };
        // Whether it is ignored is not the point here.
        let _ = self.env.input(input);
        self.note();
    }

    fn session_of(&self, number: u64) -> u64 {
        let workers = self.env.core.workers();
        let found = workers.iter().find(|view| view.worker == worker(number));
        found.and_then(|view| view.session).map_or(0, |session| session.0)
    }

    /// A worker that tells the truth about some of what it has, and a few things besides.
    fn hello(&mut self, number: u64, cores: u64, keeps: u64, lies: u64) -> Input {
        self.session += 1;
        let mut hello = hello(number, self.session, cores, 4096);
        if number == 1 {
            hello.offer.devices = vec![device(Vendor::Nvidia, "H100", ""); cores as usize % 3];
        }
        if number == 2 && cores > 1 {
            // Room for two of the GPU stub, but for memory only if it is small.
            let mut gpu = device(Vendor::Apple, "M3", "Max");
            (gpu.slots, gpu.memory_mib, gpu.simulated) = (3, 300 * (cores - 1), true);
            hello.offer.devices = vec![gpu];
        }
        hello.offer.on_battery =
            [OnBattery::Run, OnBattery::NoGpu, OnBattery::Rest][self.session as usize % 3];
        hello.thermal = THERMAL[self.session as usize % 4];
        let has = self.env.core.containers();
        let has = has.iter().filter(|view| view.worker == worker(number));
        for view in has.take(keeps as usize) {
            hello.containers.push((view.container, view.stub));
            // Sometimes it is true.
            hello.devices.insert(view.container, vec![lies as usize % 2]);
            if let Some((attempt, task)) = view.attempt.zip(view.task) {
                let container = view.container;
                hello.attempts.push(Reattach { attempt, task, container });
            }
        }
        for index in 0..lies as usize {
            let mut claim = self.attempt(index * 3);
            let (container, of) = self.container(index * 2);
            // Sometimes nothing of it goes together.
            if lies > 1 && index == 0 {
                claim.task = task(self.session % 30);
            }
            if lies > 2 && index == 1 {
                claim.container = container;
            }
            hello.attempts.push(claim);
            hello.containers.push((container, stub(of)));
        }
        Input::WorkerHello(Box::new(hello))
    }

    /// Takes note of what is to be done.
    fn note(&mut self) {
        while let Some(action) = self.env.actions.pop_front() {
            match action {
                Action::Assign {
                    attempt, task, container, stub: of, session, worker: on, ..
                } => {
                    self.attempts.push(Reattach { attempt, task, container });
                    let number = (1..=5).find(|number| stub(*number) == of).unwrap_or(0);
                    self.containers.push((container, number));
                    let view = self.env.core.workers();
                    let view = view.iter().find(|view| view.worker == on);
                    // The worker may have been told and have gone within one stretch of time.
                    if let Some(view) = view.filter(|view| view.session == Some(session)) {
                        assert!(!view.leaving || view.running > 0 || view.drain_until.is_some());
                    }
                }
                Action::Transition(transition) => {
                    let id = transition.task;
                    assert!(!self.ended.contains(&id), "{transition:?} after the end");
                    if transition.status.is_terminal() {
                        self.ended.insert(id);
                    }
                }
                _ => {}
            }
        }
    }

    /// Lets everybody behave for a while: all that is left ends.
    fn settle(&mut self) {
        for number in 1..=3 {
            let rules = WorkspaceRules::default();
            self.env.ok(Input::SetWorkspace { workspace: workspace(number), rules });
            self.env.ok(Input::Cordon { worker: worker(number), on: false });
            self.note();
            let mut hello = hello(number, 1_000_000 + number, 4, 16_384);
            hello.offer.devices = vec![device(Vendor::Nvidia, "H100", "")];
            self.env.ok(Input::WorkerHello(Box::new(hello)));
            self.note();
        }
        for _ in 0..400 {
            self.env.millis(500);
            self.note();
            let counts = self.env.core.counts();
            if (counts.queued, counts.recovering, counts.containers) == (0, 0, 0) {
                break;
            }
            for number in 1..=3 {
                self.env.alive(number, 1_000_000 + number);
            }
            for view in self.env.core.containers() {
                let input = match (view.phase, view.attempt) {
                    (crate::ContainerPhase::Stopping, _) => {
                        Input::ContainerGone { container: view.container }
                    }
                    (_, Some(attempt)) => {
                        let outcome = CallOutcome::Returned;
                        let report = AttemptReport::Finished { outcome, reusable: true };
                        Input::Attempt { attempt, report }
                    }
                    _ => continue,
                };
                self.env.ok(input);
                self.note();
            }
        }
        let counts = self.env.core.counts();
        assert_eq!((counts.queued, counts.recovering, counts.assigned), (0, 0, 0));
        assert_eq!(counts.containers, 0, "all idle containers have ended");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_books_balance_whatever_happens(steps in prop::collection::vec(step(), 1..120)) {
        let mut chaos = Chaos::new();
        for step in &steps {
            chaos.apply(step);
        }
        chaos.settle();
        chaos.env.actions.clear();
    }
}
