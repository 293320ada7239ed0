use bytes::Bytes;
use metal9_types::FailureKind;
use tempfile::TempDir;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::container::{Arguments, Call, ContainerSpec, Workshop};
use crate::devices::{self, Outfit};
use crate::event::{BuildTask, Order, Welcome};
use crate::gateway::{Gateway, TransferError};
use crate::outbox::Next;
use crate::report::{Ended, Presence};
use crate::roots::Means;
use crate::runner::scripted::Peer;

const CONTAINER: ContainerId = ContainerId(7);
const FIRST: AttemptId = AttemptId(1);
const SECOND: AttemptId = AttemptId(2);

fn call(attempt: AttemptId) -> Call {
    Call {
        attempt,
        task_id: format!("task-{attempt}"),
        arguments: Arguments::Here(Bytes::new()),
        timeout: None,
        job_token: String::new(),
        attempt_number: 1,
        warm_up: false,
    }
}

fn fresh(attempt: AttemptId) -> Order {
    let spec = Some(Box::new(ContainerSpec::empty()));
    Order::Assign { container: CONTAINER, spec, call: call(attempt) }
}

fn further(attempt: AttemptId) -> Order {
    Order::Assign { container: CONTAINER, spec: None, call: call(attempt) }
}

/// A manager whose gateway and runners are the test.
struct Rig {
    events: mpsc::Sender<Event>,
    runners: mpsc::Sender<Runner>,
    reports: mpsc::Receiver<Report>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    _root: TempDir,
}

impl Rig {
    async fn start() -> Self {
        Self::start_with(|manager| manager).await
    }

    /// With a manager that is not only what [`Manager::new`] makes.
    async fn start_with(change: impl FnOnce(Manager) -> Manager) -> Self {
        let root = tempfile::tempdir().unwrap();
        let (events, inbox) = mpsc::channel(64);
        let (runners, handed_in) = mpsc::channel(4);
        let tools = Arc::new(Tools {
            containment: Arc::default(),
            sockets: crate::tunnel::Sockets::default(),
            workspaces: crate::workspace::Workspaces::default(),
            workshop: Workshop::Scripted(Mutex::new(handed_in)),
            gateway: Gateway::new(
                &crate::dial::Dial::new("127.0.0.1:9", None).unwrap(),
                "credential",
            )
            .unwrap(),
            hostname: "host".into(),
            equipment: Outfit::default(),
            events: events.clone(),
        });
        let shutdown = CancellationToken::new();
        let gauge = devices::Gauge::without_devices();
        let manager = change(Manager::new(tools, root.path().to_owned(), 1, gauge));
        let manager = manager.run(inbox, shutdown.clone());
        let task = metal9_tasks::spawn_infallible("manager", manager);
        let reports = mpsc::channel(1).1;
        let mut rig = Self { events, runners, reports, shutdown, task, _root: root };
        rig.connect(Vec::new(), Vec::new()).await;
        rig
    }

    async fn send(&self, event: Event) {
        self.events.send(event).await.unwrap();
    }

    async fn order(&self, order: Order) {
        self.send(Event::Order(order)).await;
    }

    async fn hello(&self) -> Presence {
        let (presence, answer) = oneshot::channel();
        self.send(Event::Opening { presence }).await;
        answer.await.unwrap()
    }

    /// Begins a session and returns what the worker said it has.
    async fn connect(
        &mut self,
        drop_attempts: Vec<AttemptId>,
        drop_containers: Vec<ContainerId>,
    ) -> Presence {
        let presence = self.hello().await;
        let (outgoing, reports) = mpsc::channel(32);
        self.reports = reports;
        let welcome = Welcome {
            only_wheels: false,
            heartbeat: Duration::from_secs(3600),
            drop_attempts,
            drop_containers,
            grpc: ("host".into(), "1".into()),
            http: ("host".into(), "2".into()),
        };
        self.send(Event::Open { welcome, outgoing }).await;
        presence
    }

    async fn disconnect(&mut self) {
        self.reports.close();
        self.send(Event::Closed).await;
    }

    async fn report(&mut self) -> Report {
        self.reports.recv().await.unwrap()
    }

    /// Assigns the first call and plays its runner up to the user's code.
    async fn in_a_call(&mut self) -> Peer {
        let (runner, mut peer) = Peer::new(self.events.clone());
        self.runners.send(runner).await.unwrap();
        self.order(fresh(FIRST)).await;
        peer.load().await;
        peer.begin().await;
        assert_eq!(self.report().await, Report::Started(FIRST));
        peer
    }

    async fn idle(&mut self) -> Peer {
        let mut peer = self.in_a_call().await;
        peer.give(FIRST.0, b"one").await;
        self.finished(FIRST).await;
        peer
    }

    async fn finished(&mut self, wanted: AttemptId) -> crate::report::Ended {
        match self.report().await {
            Report::Finished { attempt, ended, .. } if attempt == wanted => ended,
            other => panic!("expected the end of {wanted}, got {other:?}"),
        }
    }

    async fn gone(&mut self) {
        match self.report().await {
            Report::ContainerGone { container: CONTAINER, .. } => {}
            other => panic!("expected the end of the container, got {other:?}"),
        }
    }

    /// Nothing is kept any more: a hello is empty.
    async fn assert_empty(&self) {
        assert_eq!(self.hello().await, Presence::default());
    }
}

#[tokio::test]
async fn a_result_whose_way_to_the_gateway_was_cut_is_not_given_up() {
    let root = tempfile::tempdir().unwrap();
    let (events, _inbox) = mpsc::channel(1);
    let tools = Arc::new(Tools {
        containment: Arc::default(),
        sockets: crate::tunnel::Sockets::default(),
        workspaces: crate::workspace::Workspaces::default(),
        workshop: Workshop::Scripted(Mutex::new(mpsc::channel(1).1)),
        gateway: Gateway::new(&crate::dial::Dial::new("127.0.0.1:9", None).unwrap(), "credential")
            .unwrap(),
        hostname: "host".into(),
        equipment: Outfit::default(),
        events,
    });
    let mut manager =
        Manager::new(tools, root.path().to_owned(), 1, devices::Gauge::without_devices());
    let result = Bytes::from(vec![7; 2_000_000]);
    let ended = Ended { outcome: Ok(result.clone()), phases: Vec::new(), reusable: true };
    manager.outbox.open(FIRST);
    manager.outbox.finish(FIRST, ended);
    let push = Some(Next::Push { attempt: FIRST, result: result.clone() });
    assert_eq!(manager.outbox.next(), push);
    let cut = TransferError::Unreachable(tonic::Status::unavailable("cut"));
    manager.result_pushed(FIRST, 0, Err(cut));
    assert_eq!(manager.outbox.next(), push, "it is pushed again");
    manager.result_pushed(FIRST, 0, Ok(()));
    match manager.outbox.next() {
        Some(Next::Send(Report::Finished { ended, .. })) => assert_eq!(ended.outcome, Ok(result)),
        other => panic!("expected the end, got {other:?}"),
    }
}

#[tokio::test]
async fn a_call_is_reported_from_its_start_to_its_end() {
    let mut rig = Rig::start().await;
    let mut peer = rig.in_a_call().await;
    peer.print("hello").await;
    peer.give(FIRST.0, b"one").await;
    let Report::Output { sequence: 1, text, .. } = rig.report().await else {
        panic!("expected what it wrote");
    };
    assert_eq!(text, "hello");
    assert!(rig.finished(FIRST).await.reusable);
    rig.order(Order::FinishedAck(FIRST)).await;
    let presence = rig.hello().await;
    assert!(presence.attempts.is_empty(), "an acknowledged attempt is forgotten");
    assert_eq!(presence.containers.len(), 1, "its container is still there");
}

#[tokio::test]
async fn the_start_of_a_call_is_told_once_by_itself_or_with_its_end() {
    let mut rig = Rig::start().await;
    let (runner, mut peer) = Peer::new(rig.events.clone());
    rig.runners.send(runner).await.unwrap();
    rig.order(fresh(FIRST)).await;
    peer.load().await;
    peer.begin().await;
    peer.give(FIRST.0, b"one").await;
    // Which of the two depends on how quick the machine is.
    let first = rig.report().await;
    let (told, last) = match first {
        Report::Started(FIRST) => (true, rig.report().await),
        report => (false, report),
    };
    let Report::Finished { attempt: FIRST, started_unsaid, .. } = last else {
        panic!("expected the end, got {last:?}");
    };
    assert_eq!(started_unsaid, !told);
}

#[tokio::test]
async fn a_further_call_goes_to_the_idle_container() {
    let mut rig = Rig::start().await;
    let mut peer = rig.idle().await;
    rig.order(further(SECOND)).await;
    peer.begin().await;
    assert_eq!(rig.report().await, Report::Started(SECOND));
    peer.give(SECOND.0, b"two").await;
    rig.finished(SECOND).await;
}

#[tokio::test]
async fn a_further_call_of_a_container_that_is_not_there_fails_and_says_so() {
    let mut rig = Rig::start().await;
    rig.order(further(FIRST)).await;
    let failure = rig.finished(FIRST).await.outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Internal);
    rig.gone().await;
    rig.order(Order::FinishedAck(FIRST)).await;
    rig.assert_empty().await;
}

#[tokio::test]
async fn a_stopped_attempt_has_no_end_but_its_container_has() {
    let mut rig = Rig::start().await;
    let mut peer = rig.in_a_call().await;
    let reason = "cancelled".to_owned();
    rig.order(Order::StopAttempt { attempt: FIRST, reason }).await;
    peer.expect("cancel").await;
    peer.print("cleaning").await;
    peer.supervisor.end(metal9_sandbox::Exit::Code(0));
    assert!(matches!(rig.report().await, Report::Output { sequence: 1, .. }));
    rig.gone().await;
    rig.order(Order::OutputAck { attempt: FIRST, sequence: 1 }).await;
    rig.assert_empty().await;
}

#[tokio::test]
async fn a_stop_that_crosses_with_the_end_ends_the_idle_container() {
    let mut rig = Rig::start().await;
    let mut peer = rig.idle().await;
    let reason = "timeout".to_owned();
    rig.order(Order::StopAttempt { attempt: FIRST, reason }).await;
    peer.expect("shutdown").await;
    peer.supervisor.end(metal9_sandbox::Exit::Code(0));
    rig.gone().await;
    rig.assert_empty().await;
}

#[tokio::test]
async fn stopping_a_container_that_is_not_there_is_answered() {
    let mut rig = Rig::start().await;
    rig.order(Order::StopContainer(CONTAINER)).await;
    rig.gone().await;
}

#[tokio::test]
async fn a_job_runs_on_while_the_gateway_is_away_and_all_is_told_later() {
    let mut rig = Rig::start().await;
    let mut peer = rig.in_a_call().await;
    peer.print("before").await;
    assert!(matches!(rig.report().await, Report::Output { sequence: 1, .. }));
    rig.disconnect().await;
    peer.print("during").await;
    peer.give(FIRST.0, b"one").await;
    let presence = rig.connect(Vec::new(), Vec::new()).await;
    let mut outputs = Vec::new();
    let last = loop {
        match rig.report().await {
            Report::Output { sequence, text, .. } => outputs.push((sequence, text)),
            Report::Finished { attempt: FIRST, last_sequence, .. } => break last_sequence,
            // The end may come only after the new session has begun.
            Report::Started(FIRST) => {}
            other => panic!("expected output or the end, got {other:?}"),
        }
    };
    assert_eq!(outputs, [(1, "before".to_owned()), (2, "during".to_owned())]);
    assert_eq!(last, 2);
    assert_eq!(presence.attempts, [(FIRST, format!("task-{FIRST}"), CONTAINER)]);
}

#[tokio::test]
async fn the_start_of_a_running_call_is_told_to_every_session() {
    let mut rig = Rig::start().await;
    let _peer = rig.in_a_call().await;
    rig.disconnect().await;
    rig.connect(Vec::new(), Vec::new()).await;
    assert_eq!(rig.report().await, Report::Started(FIRST));
}

#[tokio::test]
async fn an_attempt_that_the_gateway_does_not_want_is_ended_and_forgotten() {
    let mut rig = Rig::start().await;
    let mut peer = rig.in_a_call().await;
    rig.disconnect().await;
    rig.connect(vec![FIRST], Vec::new()).await;
    peer.expect("cancel").await;
    peer.supervisor.end(metal9_sandbox::Exit::Code(0));
    rig.gone().await;
    rig.assert_empty().await;
}

#[tokio::test]
async fn an_assignment_that_comes_twice_runs_once() {
    let mut rig = Rig::start().await;
    let mut peer = rig.in_a_call().await;
    rig.order(fresh(FIRST)).await;
    peer.give(FIRST.0, b"one").await;
    assert!(rig.finished(FIRST).await.outcome.is_ok());
}

#[tokio::test]
async fn a_worker_that_ends_says_what_it_could_not_finish() {
    let mut rig = Rig::start().await;
    let mut peer = rig.in_a_call().await;
    rig.shutdown.cancel();
    assert_eq!(rig.report().await, Report::Leaving { within: Duration::ZERO });
    peer.expect("shutdown").await;
    peer.supervisor.end(metal9_sandbox::Exit::Code(0));
    let failure = rig.finished(FIRST).await.outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::WorkerLost);
    rig.gone().await;
    assert!(!rig.task.is_finished(), "it waits until the gateway has it");
    rig.order(Order::FinishedAck(FIRST)).await;
    rig.task.await.unwrap();
}

#[tokio::test]
async fn a_worker_with_nothing_to_do_says_that_it_leaves_and_ends() {
    let mut rig = Rig::start().await;
    // An answer means that the session is open.
    rig.order(Order::Ping).await;
    assert!(matches!(rig.report().await, Report::Heartbeat(..)));
    rig.shutdown.cancel();
    assert_eq!(rig.report().await, Report::Leaving { within: Duration::ZERO });
    let ended = tokio::time::timeout(END_WITHIN / 2, rig.task);
    assert!(ended.await.is_ok(), "there is nothing to wait for");
}

#[tokio::test]
async fn a_worker_without_a_gateway_ends_at_once() {
    let mut rig = Rig::start().await;
    rig.disconnect().await;
    rig.shutdown.cancel();
    rig.task.await.unwrap();
}

#[tokio::test]
async fn a_build_that_cannot_be_read_is_answered() {
    let mut rig = Rig::start().await;
    rig.order(Order::Build {
        build: 3,
        image_spec: "{".into(),
        task: BuildTask::Here { macos: None, means: Means::default() },
    })
    .await;
    let Report::Built { build: 3, outcome: Err(error) } = rig.report().await else {
        panic!("expected the end of the build");
    };
    assert!(error.text.contains("could not be understood"), "{error:?}");
}

#[tokio::test]
async fn a_ping_is_answered() {
    let mut rig = Rig::start().await;
    rig.order(Order::Ping).await;
    assert!(matches!(rig.report().await, Report::Heartbeat(..)));
}

#[derive(Debug)]
struct Told(mpsc::UnboundedSender<&'static str>);

impl crate::awake::Inhibitor for Told {
    fn hold(&mut self) -> std::io::Result<()> {
        self.0.send("hold").map_err(std::io::Error::other)
    }

    fn release(&mut self) {
        let _ = self.0.send("release");
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_job_runs_the_machine_is_kept_awake_and_the_job_is_noted() {
    let root = tempfile::tempdir().unwrap();
    let (told, mut heard) = mpsc::unbounded_channel();
    let note = root.path().join("running.json");
    let keeper = crate::awake::Keeper::new(Some(Box::new(Told(told))));
    let boot = crate::interrupted::Boot::now();
    let attendant = Attendant::new(keeper, note.clone(), boot.clone());
    let mut rig =
        Rig::start_with(|manager| manager.attended(attendant, "the machine rebooted".to_owned()))
            .await;
    assert_eq!(rig.hello().await.interruption, "", "it was told with the first session");
    rig.connect(Vec::new(), Vec::new()).await;
    let mut peer = rig.in_a_call().await;
    assert_eq!(heard.recv().await, Some("hold"));
    while !note.exists() {
        tokio::task::yield_now().await;
    }
    peer.give(FIRST.0, b"one").await;
    rig.finished(FIRST).await;
    assert_eq!(heard.recv().await, Some("release"), "nothing runs any more");
    while note.exists() {
        tokio::task::yield_now().await;
    }
}
