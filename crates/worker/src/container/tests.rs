use std::sync::Arc;

use metal9_sandbox::Exit;
use metal9_types::FailureKind;
use tokio::sync::{Mutex, Semaphore};

use super::*;
use crate::runner::scripted::{Peer, Say};

const FIRST: AttemptId = AttemptId(11);
const SECOND: AttemptId = AttemptId(12);
const ID: ContainerId = ContainerId(7);

fn job(attempt: AttemptId) -> Job {
    let call = Call {
        attempt,
        task_id: format!("task-{attempt}"),
        arguments: Arguments::Here(Bytes::from_static(b"pickle")),
        timeout: Some(Duration::from_secs(60)),
        job_token: "token".into(),
        attempt_number: 1,
        warm_up: false,
    };
    Job { call, sink: Sink { attempt, budget: Arc::new(Semaphore::new(1 << 20)) } }
}

/// A container whose runner is the test.
struct Rig {
    peer: Peer,
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<Event>,
}

impl Rig {
    /// A container with its first call.
    async fn start(memory_mib: u64) -> Self {
        let (rig, runners, runner) = Self::without_runner(memory_mib);
        runners.send(runner).await.unwrap();
        rig
    }

    fn without_runner(memory_mib: u64) -> (Self, mpsc::Sender<Runner>, Runner) {
        let (sender, events) = mpsc::channel(64);
        let (runners, handed_in) = mpsc::channel(1);
        let (runner, peer) = Peer::new(sender.clone());
        let (commands, inbox) = mpsc::channel(8);
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
            events: sender,
        });
        let spec = ContainerSpec {
            handler: "app:f".into(),
            memory_mib,
            env: vec![("COLOUR".into(), "blue".into())],
            ..ContainerSpec::empty()
        };
        let container = Container {
            id: ID,
            spec: Box::new(spec),
            addresses: Addresses::default(),
            tools,
            commands: inbox,
            anew: false,
        };
        metal9_tasks::spawn_infallible("container", run(container, job(FIRST)));
        (Self { peer, commands, events }, runners, runner)
    }

    /// A container whose first call has begun.
    async fn in_a_call() -> Self {
        let mut rig = Self::start(0).await;
        rig.peer.load().await;
        rig.peer.begin().await;
        assert!(matches!(rig.event().await, Event::Loaded(ID)));
        assert!(matches!(rig.event().await, Event::Started(FIRST)));
        rig
    }

    /// A container that has answered its first call.
    async fn idle() -> Self {
        let mut rig = Self::in_a_call().await;
        rig.peer.give(FIRST.0, b"one").await;
        assert_eq!(rig.ended(FIRST).await.outcome, Ok(Bytes::from_static(b"one")));
        rig
    }

    async fn event(&mut self) -> Event {
        self.events.recv().await.unwrap()
    }

    async fn ended(&mut self, wanted: AttemptId) -> Ended {
        match self.event().await {
            Event::Ended { attempt, ended } if attempt == wanted => ended,
            other => panic!("expected the end of {wanted}, got {other:?}"),
        }
    }

    async fn failure(&mut self) -> (Failure, Ended) {
        let ended = self.ended(FIRST).await;
        (ended.outcome.clone().unwrap_err(), ended)
    }

    /// The container's end, which is the last thing it tells.
    async fn gone(&mut self) -> String {
        let Event::Gone { container: ID, reason } = self.event().await else {
            panic!("expected the end of the container");
        };
        assert!(self.peer.supervisor.is_gone(), "its processes are gone before it is");
        reason
    }
}

#[tokio::test]
async fn a_call_is_loaded_called_and_answered_after_its_output() {
    let mut rig = Rig::start(0).await;
    let load = rig.peer.load().await;
    assert_eq!(load.handler, "app:f");
    assert_eq!(load.env.get("COLOUR").map(String::as_str), Some("blue"));
    assert_eq!(load.env.get("BETA9_TOKEN").map(String::as_str), Some("token"));
    let call = rig.peer.begin().await;
    assert_eq!((call.id, call.args.as_slice()), (FIRST.0, &b"pickle"[..]));
    rig.peer.print("hello").await;
    rig.peer.give(call.id, b"result").await;

    assert!(matches!(rig.event().await, Event::Loaded(ID)));
    assert!(matches!(rig.event().await, Event::Started(FIRST)));
    let Event::Output { attempt: FIRST, text, .. } = rig.event().await else {
        panic!("expected what the call wrote");
    };
    assert_eq!(text, "hello");
    let ended = rig.ended(FIRST).await;
    assert_eq!(ended.outcome, Ok(Bytes::from_static(b"result")));
    assert!(ended.reusable);
    let names: Vec<&str> = ended.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(names, ["import", "call"]);
    assert_eq!(rig.peer.supervisor.calls(), (1, 1), "marked before and reaped after the call");
}

#[tokio::test]
async fn a_second_call_uses_the_loaded_process() {
    let mut rig = Rig::idle().await;
    rig.commands.send(Command::Call(Box::new(job(SECOND)))).await.unwrap();
    let call = rig.peer.begin().await;
    assert_eq!(call.task_id, format!("task-{SECOND}"));
    rig.peer.give(call.id, b"two").await;
    assert!(matches!(rig.event().await, Event::Started(SECOND)));
    let ended = rig.ended(SECOND).await;
    assert_eq!(ended.outcome, Ok(Bytes::from_static(b"two")));
    assert_eq!(ended.phases.len(), 1, "nothing had to be prepared");
    assert_eq!(rig.peer.supervisor.calls(), (1, 2), "one mark serves every call");
}

#[tokio::test]
async fn an_exception_leaves_the_container_usable() {
    let mut rig = Rig::in_a_call().await;
    let (kind, text) = ("exception".to_owned(), "ValueError: no".to_owned());
    rig.peer.say(Say::Error { id: FIRST.0, kind, text }).await;
    let (failure, ended) = rig.failure().await;
    assert_eq!((failure.kind, failure.exit_code), (FailureKind::Exception, 1));
    assert_eq!(failure.message, "ValueError: no");
    assert!(ended.reusable);
}

#[tokio::test]
async fn an_answer_to_another_call_is_ignored() {
    let mut rig = Rig::in_a_call().await;
    rig.peer.give(999, b"forged").await;
    rig.peer.give(FIRST.0, b"real").await;
    assert_eq!(rig.ended(FIRST).await.outcome, Ok(Bytes::from_static(b"real")));
}

#[tokio::test]
async fn a_process_that_ends_during_a_call_is_a_crash_told_after_its_output() {
    let mut rig = Rig::in_a_call().await;
    rig.peer.print("last words").await;
    rig.peer.supervisor.end(Exit::Code(3));
    let Event::Output { text, .. } = rig.event().await else { panic!("expected the output") };
    assert_eq!(text, "last words");
    let (failure, ended) = rig.failure().await;
    assert_eq!(failure.kind, FailureKind::Crash);
    assert_eq!(failure.message, "the function's process exited with code 3 before it returned");
    assert!(!ended.reusable);
    rig.gone().await;
}

#[tokio::test]
async fn a_result_sent_just_before_the_process_ended_counts() {
    let mut rig = Rig::in_a_call().await;
    rig.peer.supervisor.end(Exit::Code(0));
    rig.peer.give(FIRST.0, b"in time").await;
    let ended = rig.ended(FIRST).await;
    assert_eq!(ended.outcome, Ok(Bytes::from_static(b"in time")));
}

#[tokio::test]
async fn a_handler_that_does_not_load_fails_the_call_and_ends_the_container() {
    let mut rig = Rig::start(0).await;
    rig.peer.expect("load").await;
    rig.peer.say(Say::LoadFailed { text: "ImportError: no module".into() }).await;
    let (failure, ended) = rig.failure().await;
    assert_eq!(failure.message, "ImportError: no module");
    assert!(!ended.reusable);
    rig.gone().await;
}

#[tokio::test]
async fn a_cancelled_call_may_clean_up_and_its_end_is_not_told() {
    let mut rig = Rig::in_a_call().await;
    let reason = CancelReason::Timeout;
    rig.commands.send(Command::Cancel { attempt: FIRST, reason }).await.unwrap();
    let cancel = rig.peer.expect("cancel").await;
    assert_eq!((cancel.id, cancel.reason.as_str()), (FIRST.0, "timeout"));
    rig.peer.print("cleaning up").await;
    rig.peer.supervisor.end(Exit::Code(0));
    let Event::Output { text, .. } = rig.event().await else { panic!("expected the output") };
    assert_eq!(text, "cleaning up");
    rig.gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_heed_its_cancellation_is_killed() {
    let mut rig = Rig::in_a_call().await;
    let begun = tokio::time::Instant::now();
    let reason = CancelReason::Cancelled;
    rig.commands.send(Command::Cancel { attempt: FIRST, reason }).await.unwrap();
    rig.gone().await;
    assert_eq!(begun.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_gateway_did_not_end_in_time_is_ended_here() {
    let mut rig = Rig::in_a_call().await;
    let begun = tokio::time::Instant::now();
    let (failure, _) = rig.failure().await;
    assert_eq!((failure.kind, failure.exit_code), (FailureKind::Timeout, 124));
    // The timeout, its grace, and the grace of the cancellation.
    assert_eq!(begun.elapsed().as_secs(), 60 + 5 + 3);
    rig.gone().await;
}

#[tokio::test]
async fn a_call_that_uses_too_much_memory_is_killed() {
    let mut rig = Rig::start(128).await;
    rig.peer.load().await;
    rig.peer.begin().await;
    assert!(matches!(rig.event().await, Event::Loaded(ID)));
    assert!(matches!(rig.event().await, Event::Started(FIRST)));
    rig.peer.supervisor.use_memory(301 << 20, 301 << 20);
    let (failure, _) = rig.failure().await;
    assert_eq!(failure.kind, FailureKind::Memory);
    assert!(failure.message.contains("asked for 128 MiB and used 301 MiB"), "{failure:?}");
    rig.gone().await;
}

#[tokio::test]
async fn an_idle_container_that_is_stopped_is_asked_first() {
    let mut rig = Rig::idle().await;
    rig.commands.send(Command::Stop).await.unwrap();
    rig.peer.expect("shutdown").await;
    rig.peer.supervisor.end(Exit::Code(0));
    assert_eq!(rig.gone().await, "it was stopped");
}

#[tokio::test]
async fn an_idle_container_that_dies_is_gone() {
    let mut rig = Rig::idle().await;
    rig.peer.supervisor.end(Exit::Signal(9));
    let reason = rig.gone().await;
    assert!(reason.contains("SIGKILL"), "{reason}");
}

#[tokio::test]
async fn a_container_can_be_stopped_before_it_is_ready() {
    let (mut rig, _runners, _runner) = Rig::without_runner(0);
    rig.commands.send(Command::Stop).await.unwrap();
    let Event::Gone { reason, .. } = rig.event().await else { panic!("expected its end") };
    assert_eq!(reason, "it was stopped before it was ready");
}

#[tokio::test]
async fn a_container_that_cannot_be_made_says_why_to_the_user() {
    let (mut rig, runners, _runner) = Rig::without_runner(0);
    drop(runners);
    let Event::Output { text, .. } = rig.event().await else { panic!("expected the reason") };
    assert_eq!(text, "no runner was handed in\n");
    assert_eq!(rig.failure().await.0.kind, FailureKind::Setup);
    assert!(matches!(rig.event().await, Event::Gone { .. }));
}

#[tokio::test]
async fn nonsense_on_the_socket_ends_the_call() {
    let mut rig = Rig::in_a_call().await;
    rig.peer.garble().await;
    let (failure, _) = rig.failure().await;
    assert_eq!(failure.kind, FailureKind::Crash);
    rig.gone().await;
}
